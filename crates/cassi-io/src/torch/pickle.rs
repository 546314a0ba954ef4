//! A reader of Python pickles that executes nothing.
//!
//! The pickle machine (protocols 0 to 5, the opcodes that PyTorch writes) runs on a stack of [`Value`]s over an arena
//! of [`Node`]s. A class or function is only its name; calling it makes an inert [`Node::Object`], but for the few
//! constructors that hold a checkpoint together (ordered dictionaries, storages, tensors, parameters). The arena
//! grows by at most one node an opcode, and cycles and deep nesting cost nothing to hold or to drop.

use std::collections::HashMap;

use crate::bytes::Cursor;
use crate::{Endian, ParseError};

/// A pickled value: small ones here, the others in the arena.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Value {
    None,
    Bool(bool),
    Int(i64),
    Float,
    Node(usize),
}

/// A pickled value with parts.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Node {
    Text(String),
    Bytes,
    Tuple(Vec<Value>),
    List(Vec<Value>),
    Dict(Vec<(Value, Value)>),
    /// `module name` of a class or function.
    Global(String),
    /// An instance of a class that is not known: its class, its state once built, what was set on it.
    Object {
        class: Value,
        state: Value,
        items: Vec<(Value, Value)>,
    },
    /// A storage by type, key and number of elements.
    Storage {
        kind: String,
        key: String,
    },
    /// A strided view of a storage. `dtype` is given where the storage has no type of its own.
    Tensor {
        storage: Value,
        offset: i64,
        size: Vec<i64>,
        stride: Vec<i64>,
        dtype: Option<String>,
    },
}

/// The finished pickle.
#[derive(Debug)]
pub(crate) struct Pickle {
    pub(crate) nodes: Vec<Node>,
    pub(crate) root: Value,
}

impl Pickle {
    pub(crate) fn node(&self, value: Value) -> Option<&Node> {
        match value {
            Value::Node(at) => self.nodes.get(at),
            _ => None,
        }
    }

    pub(crate) fn text(&self, value: Value) -> Option<&str> {
        match self.node(value) {
            Some(Node::Text(text)) => Some(text),
            _ => None,
        }
    }

    /// Entries of a dictionary, or those set on an object that behaves like one.
    pub(crate) fn entries(&self, value: Value) -> Option<&[(Value, Value)]> {
        match self.node(value)? {
            Node::Dict(entries) => Some(entries),
            Node::Object { items, .. } if !items.is_empty() => Some(items),
            _ => None,
        }
    }

    /// The entry of a dictionary under a string.
    pub(crate) fn entry(&self, dict: Value, key: &str) -> Option<Value> {
        self.entries(dict)?.iter().rev().find(|(k, _)| self.text(*k) == Some(key)).map(|(_, v)| *v)
    }

    /// The strings inside a list, tuple or set.
    pub(crate) fn strings(&self, value: Value) -> Vec<&str> {
        match self.node(value) {
            Some(Node::List(items) | Node::Tuple(items)) => {
                items.iter().filter_map(|&v| self.text(v)).collect()
            }
            _ => Vec::new(),
        }
    }
}

struct Machine<'a> {
    cursor: Cursor<'a>,
    stack: Vec<Value>,
    marks: Vec<usize>,
    memo: HashMap<u64, Value>,
    nodes: Vec<Node>,
    /// What may still be copied: parts that many opcodes share would otherwise grow with the square of the file.
    copies: usize,
}

/// Runs the pickle to its end.
///
/// # Errors
/// If it is damaged, or uses an opcode that checkpoints do not.
pub(crate) fn parse(bytes: &[u8]) -> Result<Pickle, ParseError> {
    let cursor = Cursor::new(bytes, Endian::Little);
    let copies = 64 * bytes.len() + 4096;
    let (stack, marks, memo, nodes) = (Vec::new(), Vec::new(), HashMap::new(), Vec::new());
    let mut machine = Machine { cursor, stack, marks, memo, nodes, copies };
    while !machine.step()? {}
    let root = machine.pop()?;
    Ok(Pickle { nodes: machine.nodes, root })
}

fn damaged(what: &str, at: usize) -> ParseError {
    ParseError::invalid(format!("pickle at offset {at}"), what, "a well-formed one")
}

impl Machine<'_> {
    fn fail<T>(&self, what: &str) -> Result<T, ParseError> {
        Err(damaged(what, self.cursor.at()))
    }

    /// Pays for copying `n` parts or bytes.
    fn pay(&mut self, n: usize) -> Result<(), ParseError> {
        match self.copies.checked_sub(n) {
            Some(left) => self.copies = left,
            None => return self.fail("parts repeated beyond all measure"),
        }
        Ok(())
    }

    fn pop(&mut self) -> Result<Value, ParseError> {
        // What lies below the last mark is out of reach.
        if self.marks.last().is_some_and(|&mark| self.stack.len() <= mark) {
            return self.fail("a stack that is empty above its mark");
        }
        self.stack.pop().ok_or_else(|| damaged("an empty stack", self.cursor.at()))
    }

    fn top(&self) -> Result<Value, ParseError> {
        self.stack.last().copied().ok_or_else(|| damaged("an empty stack", self.cursor.at()))
    }

    fn pop_to_mark(&mut self) -> Result<Vec<Value>, ParseError> {
        match self.marks.pop() {
            Some(mark) if mark <= self.stack.len() => Ok(self.stack.split_off(mark)),
            _ => self.fail("a missing mark"),
        }
    }

    fn push_node(&mut self, node: Node) {
        self.nodes.push(node);
        self.stack.push(Value::Node(self.nodes.len() - 1));
    }

    fn push_text(&mut self, bytes: &[u8]) {
        self.push_node(Node::Text(String::from_utf8_lossy(bytes).into_owned()));
    }

    fn node(&self, value: Value) -> Option<&Node> {
        match value {
            Value::Node(at) => self.nodes.get(at),
            _ => None,
        }
    }

    fn text(&self, value: Value) -> Option<&str> {
        match self.node(value) {
            Some(Node::Text(text)) => Some(text),
            _ => None,
        }
    }

    fn tuple(&self, value: Value) -> Option<&[Value]> {
        match self.node(value) {
            Some(Node::Tuple(items)) => Some(items),
            _ => None,
        }
    }

    fn integers(&self, value: Value) -> Option<Vec<i64>> {
        let (Node::Tuple(items) | Node::List(items)) = self.node(value)? else { return None };
        items.iter().map(|v| if let Value::Int(i) = v { Some(*i) } else { None }).collect()
    }

    /// A length that must lie within what is left.
    fn sized(&mut self, bytes: u32) -> Result<&'_ [u8], ParseError> {
        let length = match bytes {
            1 => u64::from(self.cursor.u8("pickled length")?),
            4 => u64::from(self.cursor.u32("pickled length")?),
            _ => self.cursor.u64("pickled length")?,
        };
        self.cursor.take(usize::try_from(length).unwrap_or(usize::MAX), "pickled bytes")
    }

    /// One opcode; true at the end of the pickle.
    fn step(&mut self) -> Result<bool, ParseError> {
        let op = self.cursor.u8("pickle opcode")?;
        match op {
            0x80 => drop(self.cursor.u8("pickle protocol")?),
            0x95 => drop(self.cursor.u64("pickle frame")?),
            b'.' => return Ok(true),
            b'(' => self.marks.push(self.stack.len()),
            b'0' => drop(self.pop()?),
            b'1' => drop(self.pop_to_mark()?),
            b'2' => self.stack.push(self.top()?),
            b'N' => self.stack.push(Value::None),
            0x88 => self.stack.push(Value::Bool(true)),
            0x89 => self.stack.push(Value::Bool(false)),
            b'K' => {
                let v = self.cursor.u8("integer")?;
                self.stack.push(Value::Int(v.into()));
            }
            b'M' => {
                let v = self.cursor.u16("integer")?;
                self.stack.push(Value::Int(v.into()));
            }
            b'J' => {
                let v = self.cursor.u32("integer")?.cast_signed();
                self.stack.push(Value::Int(v.into()));
            }
            0x8a => self.long()?,
            b'I' | b'L' => self.decimal()?,
            b'G' => {
                self.cursor.u64("float")?;
                self.stack.push(Value::Float);
            }
            b'F' => {
                self.cursor.line("float")?;
                self.stack.push(Value::Float);
            }
            b'X' | b'T' | b'U' | 0x8c | 0x8d => {
                let text = self.sized(match op {
                    b'U' | 0x8c => 1,
                    b'X' | b'T' => 4,
                    _ => 8,
                })?;
                let text = text.to_vec();
                self.push_text(&text);
            }
            b'B' | b'C' | 0x8e | 0x96 => {
                self.sized(match op {
                    b'C' => 1,
                    b'B' => 4,
                    _ => 8,
                })?;
                self.push_node(Node::Bytes);
            }
            b')' => self.push_node(Node::Tuple(Vec::new())),
            b't' => {
                let items = self.pop_to_mark()?;
                self.push_node(Node::Tuple(items));
            }
            0x85..=0x87 => {
                let mut items = (0..op - 0x84).map(|_| self.pop()).collect::<Result<Vec<_>, _>>()?;
                items.reverse();
                self.push_node(Node::Tuple(items));
            }
            b']' | 0x8f => self.push_node(Node::List(Vec::new())),
            b'l' | 0x91 => {
                let items = self.pop_to_mark()?;
                self.push_node(Node::List(items));
            }
            b'a' => {
                let item = self.pop()?;
                self.append(vec![item])?;
            }
            b'e' | 0x90 => {
                let items = self.pop_to_mark()?;
                self.append(items)?;
            }
            b'}' => self.push_node(Node::Dict(Vec::new())),
            b'd' => {
                let items = self.pop_to_mark()?;
                self.push_node(Node::Dict(pairs(&items)));
            }
            b's' => {
                let (value, key) = (self.pop()?, self.pop()?);
                self.set_items(&[key, value])?;
            }
            b'u' => {
                let items = self.pop_to_mark()?;
                self.set_items(&items)?;
            }
            b'c' => {
                let module = String::from_utf8_lossy(self.cursor.line("module name")?).into_owned();
                let name = String::from_utf8_lossy(self.cursor.line("class name")?).into_owned();
                self.push_node(Node::Global(format!("{module} {name}")));
            }
            0x93 => {
                let (name, module) = (self.pop()?, self.pop()?);
                let (Some(name), Some(module)) = (self.text(name), self.text(module)) else {
                    return self.fail("a class without a name");
                };
                let global = format!("{module} {name}");
                self.pay(global.len())?;
                self.push_node(Node::Global(global));
            }
            b'R' | 0x81 => {
                let (arguments, callable) = (self.pop()?, self.pop()?);
                self.call(callable, arguments)?;
            }
            0x92 => {
                let (_keywords, arguments, callable) = (self.pop()?, self.pop()?, self.pop()?);
                self.call(callable, arguments)?;
            }
            b'b' => self.build()?,
            b'q' => {
                let key = self.cursor.u8("memo")?.into();
                self.memo.insert(key, self.top()?);
            }
            b'r' => {
                let key = self.cursor.u32("memo")?.into();
                self.memo.insert(key, self.top()?);
            }
            0x94 => drop(self.memo.insert(self.memo.len() as u64, self.top()?)),
            b'h' => {
                let key = self.cursor.u8("memo")?.into();
                self.recall(key)?;
            }
            b'j' => {
                let key = self.cursor.u32("memo")?.into();
                self.recall(key)?;
            }
            b'Q' => {
                let id = self.pop()?;
                self.storage(id)?;
            }
            other => {
                let at = self.cursor.at() - 1;
                let hint = "save the state dict again with torch.save, or as safetensors";
                return Err(ParseError::unsupported(
                    format!("pickle opcode {other:#04x} at offset {at}"),
                    hint,
                ));
            }
        }
        Ok(false)
    }

    fn recall(&mut self, key: u64) -> Result<(), ParseError> {
        match self.memo.get(&key) {
            Some(&value) => self.stack.push(value),
            None => return self.fail("a memo that was never set"),
        }
        Ok(())
    }

    /// Little-endian two's complement of up to 8 bytes; longer ones (hashes, seeds) are inert.
    fn long(&mut self) -> Result<(), ParseError> {
        let bytes = self.sized(1)?;
        let value = if bytes.len() <= 8 {
            let negative = bytes.last().is_some_and(|b| b & 0x80 != 0);
            let mut all = [if negative { 0xff } else { 0 }; 8];
            all[..bytes.len()].copy_from_slice(bytes);
            Value::Int(i64::from_le_bytes(all))
        } else {
            Value::None
        };
        self.stack.push(value);
        Ok(())
    }

    fn decimal(&mut self) -> Result<(), ParseError> {
        let line = String::from_utf8_lossy(self.cursor.line("integer")?).into_owned();
        let value = match line.as_str() {
            "00" => Value::Bool(false),
            "01" => Value::Bool(true),
            digits => match digits.trim_end_matches('L').parse() {
                Ok(i) => Value::Int(i),
                Err(_) => return self.fail("an integer that is none"),
            },
        };
        self.stack.push(value);
        Ok(())
    }

    fn append(&mut self, mut items: Vec<Value>) -> Result<(), ParseError> {
        match self.top()? {
            Value::Node(at) => match &mut self.nodes[at] {
                Node::List(list) => list.append(&mut items),
                Node::Object { .. } => {} // a subclass of list: its parts are of no use here
                _ => return self.fail("an append to what is no list"),
            },
            _ => return self.fail("an append to what is no list"),
        }
        Ok(())
    }

    fn set_items(&mut self, items: &[Value]) -> Result<(), ParseError> {
        match self.top()? {
            Value::Node(at) => match &mut self.nodes[at] {
                Node::Dict(entries) | Node::Object { items: entries, .. } => entries.extend(pairs(items)),
                _ => return self.fail("an item set on what is no dictionary"),
            },
            _ => return self.fail("an item set on what is no dictionary"),
        }
        Ok(())
    }

    /// What a call would make, if it matters to a checkpoint; otherwise an inert object.
    fn call(&mut self, callable: Value, arguments: Value) -> Result<(), ParseError> {
        let name = match self.node(callable) {
            Some(Node::Global(name)) => name.clone(),
            _ => String::new(),
        };
        let arguments = self.tuple(arguments).unwrap_or_default().to_vec();
        self.pay(name.len() + arguments.len())?;
        match name.as_str() {
            "collections OrderedDict" | "builtins dict" | "__builtin__ dict" => {
                let entries = match arguments.first().and_then(|&a| self.node(a)) {
                    Some(Node::List(items)) => items
                        .iter()
                        .filter_map(|&item| match (self.tuple(item), self.node(item)) {
                            (Some(&[key, value]), _) => Some((key, value)),
                            (_, Some(Node::List(pair))) if pair.len() == 2 => Some((pair[0], pair[1])),
                            _ => None,
                        })
                        .collect(),
                    _ => Vec::new(),
                };
                let entries: Vec<_> = entries;
                self.pay(entries.len())?;
                self.push_node(Node::Dict(entries));
            }
            "builtins set"
            | "__builtin__ set"
            | "builtins list"
            | "__builtin__ list"
            | "builtins frozenset"
            | "__builtin__ frozenset" => match arguments.first() {
                Some(&items) => self.stack.push(items),
                None => self.push_node(Node::List(Vec::new())),
            },
            "torch._utils _rebuild_parameter" | "torch._utils _rebuild_parameter_with_state" => {
                match arguments.first() {
                    Some(&tensor) => self.stack.push(tensor),
                    None => return self.fail("a parameter without its tensor"),
                }
            }
            "torch._utils _rebuild_tensor"
            | "torch._utils _rebuild_tensor_v2"
            | "torch._utils _rebuild_tensor_v3" => {
                self.tensor(&arguments)?;
            }
            "torch._tensor _rebuild_from_type_v2" => {
                let (Some(&function), Some(&inner)) = (arguments.first(), arguments.get(2)) else {
                    return self.fail("a tensor without its parts");
                };
                // A function that is this one again would go on for ever.
                if self.node(function) == self.node(callable) {
                    return self.fail("a tensor inside itself");
                }
                self.call(function, inner)?;
            }
            _ => self.push_node(Node::Object { class: callable, state: Value::None, items: Vec::new() }),
        }
        Ok(())
    }

    fn tensor(&mut self, arguments: &[Value]) -> Result<(), ParseError> {
        let &[storage, Value::Int(offset), size, stride, ..] = arguments else {
            return self.fail("a tensor without storage, offset, size and stride");
        };
        let (Some(size), Some(stride)) = (self.integers(size), self.integers(stride)) else {
            return self.fail("a tensor whose size is no tuple of integers");
        };
        self.pay(size.len() + stride.len())?;
        let dtype = match arguments.get(6).and_then(|&v| self.node(v)) {
            Some(Node::Global(name)) => Some(name.clone()),
            _ => None,
        };
        self.push_node(Node::Tensor { storage, offset, size, stride, dtype });
        Ok(())
    }

    fn build(&mut self) -> Result<(), ParseError> {
        let state = self.pop()?;
        let state = match self.tuple(state) {
            Some(&[dict, _slots]) => dict,
            _ => state,
        };
        if let Value::Node(at) = self.top()?
            && let Node::Object { state: old, .. } = &mut self.nodes[at]
        {
            *old = state;
        }
        Ok(())
    }

    /// `('storage', type, key, location, elements)`.
    fn storage(&mut self, id: Value) -> Result<(), ParseError> {
        let Some(&[tag, kind, key, ..]) = self.tuple(id) else {
            return self.fail("a persistent id that is no storage");
        };
        let (Some("storage"), Some(Node::Global(kind)), Some(key)) =
            (self.text(tag), self.node(kind), self.text(key))
        else {
            return self.fail("a persistent id that is no storage");
        };
        let (kind, key) = (kind.clone(), key.to_string());
        self.pay(kind.len() + key.len())?;
        self.push_node(Node::Storage { kind, key });
        Ok(())
    }
}

fn pairs(items: &[Value]) -> Vec<(Value, Value)> {
    items.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_never_made() {
        // cos.system('echo') as a malicious pickle would have it: an inert object comes out.
        let pickle = parse(b"cos\nsystem\n(X\x04\x00\x00\x00echotR.").unwrap();
        let Some(Node::Object { class, .. }) = pickle.node(pickle.root) else { panic!("{pickle:?}") };
        assert_eq!(pickle.node(*class), Some(&Node::Global("os system".into())));
    }

    #[test]
    fn numbers_of_every_width() {
        let pickle = parse(b"\x80\x02(K\x07M\x00\x01J\xff\xff\xff\xff\x8a\x02\xff\xffI12\nL-3L\nt.").unwrap();
        let expected: Vec<_> = [7, 256, -1, -1, 12, -3].map(Value::Int).to_vec();
        assert_eq!(pickle.node(pickle.root), Some(&Node::Tuple(expected)));
    }

    #[test]
    fn nesting_a_million_deep_is_held_and_dropped() {
        let mut bytes = b")".to_vec();
        bytes.extend([0x85; 1_000_000]);
        bytes.push(b'.');
        assert_eq!(parse(&bytes).unwrap().nodes.len(), 1_000_001);
    }

    #[test]
    fn what_is_damaged_is_said() {
        for bytes in
            [&b""[..], b".", b"t.", b"(0.", b"h\x05.", b"X\xff\xff\xff\xffa.", b"K\x01K\x02s.", b"\xfe."]
        {
            assert!(parse(bytes).is_err(), "{bytes:?}");
        }
    }
}

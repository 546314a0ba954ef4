//! PyTorch checkpoints in the zip format (since 1.6): state dicts, and whole pickled modules.
//!
//! Nothing is executed: [`pickle`] gives a tree of inert values, and the tensors in it are named here as
//! `state_dict()` would name them. A dictionary that wraps the state dict (`{"state_dict": ..., "epoch": ...}`) is
//! opened; data-parallel prefixes (`module.`) are left for the reader of the weights to strip.

mod pickle;

use std::collections::{HashMap, HashSet};

use crate::bytes::{Cursor, count};
use crate::zip_file::Archive;
use crate::{Contents, Endian, Kind, Order, ParseError, Values, Variable};
use pickle::{Node, Pickle, Value};

/// Keys under which training scripts keep the state dict among other things, in the order of preference.
const WRAPPERS: [&str; 7] =
    ["state_dict", "model_state_dict", "params_ema", "params", "model", "net", "network"];

/// Modules within modules beyond this are no network.
const DEEPEST: usize = 64;

/// Parses a PyTorch zip checkpoint: every tensor is a variable, named as in its state dict.
///
/// # Errors
/// If the archive or the pickle in it is damaged, for the legacy format from before PyTorch 1.6, for tensors that
/// are not strided ones of plain numbers, and if there is no tensor at all.
pub fn parse_torch(bytes: &[u8]) -> Result<Contents, ParseError> {
    if bytes.starts_with(&[0x80, 2, 0x8a, 10]) {
        let hint = "load it in PyTorch and save it again with torch.save (zip format)";
        return Err(ParseError::unsupported("the PyTorch format from before version 1.6", hint));
    }
    let mut archive = Archive::open(bytes)?;
    let names = archive.names()?;
    let index: HashMap<&str, usize> = names.iter().enumerate().map(|(i, name)| (name.as_str(), i)).collect();
    let pickled = (names.iter().find(|name| name.ends_with("data.pkl"))).ok_or_else(|| {
        ParseError::invalid("PyTorch archive", "an archive without data.pkl", "a checkpoint")
    })?;
    if names.iter().any(|name| name.ends_with("/constants.pkl")) {
        let hint = "save its state_dict() with torch.save, or as safetensors";
        return Err(ParseError::unsupported("a TorchScript archive", hint));
    }
    let prefix = pickled.strip_suffix("data.pkl").expect("it ends so");
    let endian = match index.get(format!("{prefix}byteorder").as_str()) {
        Some(&i) if archive.read(i)?.starts_with(b"big") => Endian::Big,
        _ => Endian::Little,
    };
    let pickle = pickle::parse(&archive.read(index[pickled.as_str()])?)?;
    let named = Walker::collect(&pickle)?;
    if named.is_empty() {
        return Err(ParseError::invalid("PyTorch checkpoint", "no tensor", "a state dict or a module"));
    }
    let mut reader = Storages {
        pickle: &pickle,
        archive,
        index,
        prefix,
        endian,
        read: HashMap::new(),
        budget: budget(bytes),
    };
    let variables = (named.into_iter())
        .map(|(name, tensor)| reader.variable(name, tensor))
        .collect::<Result<Vec<_>, _>>()?;
    Ok(Contents::new("PyTorch checkpoint (zip)", variables))
}

/// Names of the tensors that the pickle inside a checkpoint (`data.pkl`) describes, without their values.
///
/// # Errors
/// If the pickle is damaged.
pub fn torch_tensor_names(pickle: &[u8]) -> Result<Vec<String>, ParseError> {
    let pickle = pickle::parse(pickle)?;
    Ok(Walker::collect(&pickle)?.into_iter().map(|(name, _)| name).collect())
}

/// Many tensors may view one storage; in all they may not be much larger than the file.
fn budget(bytes: &[u8]) -> usize {
    bytes.len().saturating_mul(16).saturating_add(1 << 20)
}

fn is_tensor(pickle: &Pickle, value: Value) -> bool {
    matches!(pickle.node(value), Some(Node::Tensor { .. }))
}

fn joined(prefix: &str, name: &str) -> String {
    if prefix.is_empty() { name.to_string() } else { format!("{prefix}.{name}") }
}

/// Names the tensors of a pickle.
struct Walker<'a> {
    pickle: &'a Pickle,
    named: Vec<(String, Value)>,
    /// The nodes on the way here, so that a cycle ends.
    open: HashSet<usize>,
    /// Bytes of names that may still be spelt out: a graph that shares its parts has endless paths.
    names_left: usize,
}

impl<'a> Walker<'a> {
    /// Finds the state dict or module in the root and names its tensors.
    fn collect(pickle: &'a Pickle) -> Result<Vec<(String, Value)>, ParseError> {
        let mut dict = pickle.root;
        // A wrapper may lie in a wrapper, not deeper.
        for _ in 0..2 {
            let direct = pickle.entries(dict).is_some_and(|e| e.iter().any(|(_, v)| is_tensor(pickle, *v)));
            match WRAPPERS.iter().find_map(|key| pickle.entry(dict, key)) {
                Some(inner) if !direct => dict = inner,
                _ => break,
            }
        }
        let names_left = 256 * pickle.nodes.len() + 4096;
        let mut walker = Self { pickle, named: Vec::new(), open: HashSet::new(), names_left };
        walker.walk(dict, String::new())?;
        Ok(walker.named)
    }

    fn walk_part(&mut self, prefix: &str, name: &str, part: Value) -> Result<(), ParseError> {
        let Value::Node(_) = part else { return Ok(()) };
        let path = joined(prefix, name);
        self.names_left = (self.names_left.checked_sub(path.len() + 1)).ok_or_else(|| {
            ParseError::invalid(
                "PyTorch checkpoint",
                "parts that share their parts without end",
                "a state dict or a module",
            )
        })?;
        self.walk(part, path)
    }

    fn walk(&mut self, value: Value, prefix: String) -> Result<(), ParseError> {
        let Value::Node(at) = value else { return Ok(()) };
        if self.open.len() >= DEEPEST || !self.open.insert(at) {
            return Ok(());
        }
        let pickle = self.pickle;
        match &pickle.nodes[at] {
            Node::Tensor { .. } => {
                self.named.push((if prefix.is_empty() { "tensor".into() } else { prefix }, value));
            }
            Node::Object { state, .. } if pickle.entry(*state, "_modules").is_some() => {
                self.walk_module(*state, &prefix)?;
            }
            Node::Dict(entries) | Node::Object { items: entries, .. } => {
                for &(key, part) in entries {
                    if let Some(name) = pickle.text(key) {
                        self.walk_part(&prefix, name, part)?;
                    }
                }
            }
            Node::List(items) | Node::Tuple(items) => {
                for (i, &part) in items.iter().enumerate() {
                    self.walk_part(&prefix, &i.to_string(), part)?;
                }
            }
            _ => {}
        }
        self.open.remove(&at);
        Ok(())
    }

    /// Parameters, then persistent buffers, then sub-modules: the order of `state_dict()`.
    fn walk_module(&mut self, state: Value, prefix: &str) -> Result<(), ParseError> {
        let pickle = self.pickle;
        let passing = pickle.entry(state, "_non_persistent_buffers_set");
        let passing = passing.map(|names| pickle.strings(names)).unwrap_or_default();
        for group in ["_parameters", "_buffers", "_modules"] {
            let Some(entries) = pickle.entry(state, group).and_then(|dict| pickle.entries(dict)) else {
                continue;
            };
            for &(key, part) in entries {
                let Some(name) = pickle.text(key) else { continue };
                let kept = match group {
                    "_modules" => true,
                    "_buffers" => is_tensor(pickle, part) && !passing.contains(&name),
                    _ => is_tensor(pickle, part),
                };
                if kept {
                    self.walk_part(prefix, name, part)?;
                }
            }
        }
        Ok(())
    }
}

/// The type behind `torch FloatStorage`, `torch float32` and the like.
fn kind(name: &str) -> Option<Kind> {
    Some(match name.rsplit(' ').next().unwrap_or_default() {
        "FloatStorage" | "float32" => Kind::F32,
        "DoubleStorage" | "float64" => Kind::F64,
        "HalfStorage" | "float16" => Kind::F16,
        "BFloat16Storage" | "bfloat16" => Kind::Bf16,
        "LongStorage" | "int64" => Kind::I64,
        "IntStorage" | "int32" => Kind::I32,
        "ShortStorage" | "int16" => Kind::I16,
        "CharStorage" | "int8" => Kind::I8,
        "ByteStorage" | "uint8" | "BoolStorage" | "bool" => Kind::U8,
        "uint16" => Kind::U16,
        "uint32" => Kind::U32,
        "uint64" => Kind::U64,
        _ => return None,
    })
}

struct Storages<'a> {
    pickle: &'a Pickle,
    archive: Archive<'a>,
    index: HashMap<&'a str, usize>,
    prefix: &'a str,
    endian: Endian,
    read: HashMap<String, Vec<u8>>,
    budget: usize,
}

impl Storages<'_> {
    fn variable(&mut self, name: String, tensor: Value) -> Result<Variable, ParseError> {
        let Some(Node::Tensor { storage, offset, size, stride, dtype }) = self.pickle.node(tensor) else {
            return Err(ParseError::invalid(name, "no tensor", "a tensor"));
        };
        let Some(Node::Storage { kind: class, key }) = self.pickle.node(*storage) else {
            return Err(ParseError::invalid(name, "a tensor without storage", "a strided tensor"));
        };
        let class = dtype.as_ref().unwrap_or(class);
        let kind = kind(class).ok_or_else(|| {
            ParseError::unsupported(
                format!("`{name}` of type {class}"),
                "convert it to float32 and save it again",
            )
        })?;
        let wrong = |what: &str| {
            ParseError::invalid(format!("tensor `{name}`"), what, "one that lies in its storage")
        };
        let shape = (size.iter().map(|&n| usize::try_from(n))).collect::<Result<Vec<_>, _>>();
        let steps = (stride.iter().map(|&n| usize::try_from(n))).collect::<Result<Vec<_>, _>>();
        let (Ok(shape), Ok(steps), Ok(offset)) = (shape, steps, usize::try_from(*offset)) else {
            return Err(wrong("a negative size, stride or offset"));
        };
        if shape.len() != steps.len() {
            return Err(wrong("a size and a stride of different lengths"));
        }
        let n = count(&name, &shape)?;
        let bytes = n * kind.size();
        if bytes > self.budget {
            let what = format!("tensor `{name}`");
            return Err(ParseError::TooLarge { what, bytes: bytes as u64, limit: self.budget as u64 });
        }
        self.budget -= bytes;
        if !self.read.contains_key(key) {
            let entry = format!("{}data/{key}", self.prefix);
            let at =
                *self.index.get(entry.as_str()).ok_or_else(|| wrong("a tensor whose storage is missing"))?;
            let data = self.archive.read(at)?;
            self.read.insert(key.clone(), data);
        }
        let data = &self.read[key];
        let last = (shape.iter().zip(&steps))
            .try_fold(offset, |at, (&n, &step)| at.checked_add(n.saturating_sub(1).checked_mul(step)?));
        if n > 0 && last.is_none_or(|last| last >= data.len() / kind.size()) {
            return Err(wrong("a tensor that leaves its storage"));
        }
        let values = gather(kind, data, self.endian, &shape, &steps, offset, n);
        Variable::numbers(name, class.rsplit(' ').next().unwrap_or_default(), shape, Order::RowMajor, values)
    }
}

/// The elements of a strided view in C order; every index was checked before.
fn gather(
    kind: Kind,
    data: &[u8],
    endian: Endian,
    shape: &[usize],
    steps: &[usize],
    offset: usize,
    n: usize,
) -> Values {
    let size = kind.size();
    let mut expected = 1;
    let contiguous = shape.iter().zip(steps).rev().all(|(&axis, &step)| {
        let fits = axis <= 1 || step == expected;
        expected *= axis.max(1);
        fits
    });
    if contiguous {
        let start = if n == 0 { 0 } else { offset * size };
        return kind.decode(&data[start..start + n * size], endian);
    }
    let mut bytes = Vec::with_capacity(n * size);
    let mut place = vec![0; shape.len()];
    for _ in 0..n {
        let at = size * (offset + place.iter().zip(steps).map(|(i, step)| i * step).sum::<usize>());
        bytes.extend(&data[at..at + size]);
        for (i, &axis) in place.iter_mut().zip(shape).rev() {
            *i += 1;
            if *i < axis {
                break;
            }
            *i = 0;
        }
    }
    kind.decode(&bytes, endian)
}

/// Whether a zip archive looks like a checkpoint rather than like an NPZ file.
pub(crate) fn is_checkpoint(bytes: &[u8]) -> bool {
    Archive::open(bytes)
        .and_then(|mut a| a.names())
        .is_ok_and(|names| names.iter().any(|n| n.ends_with("data.pkl")))
}

/// Whether the bytes begin as a pickle does (the legacy format).
pub(crate) fn is_legacy(bytes: &[u8]) -> bool {
    let mut cursor = Cursor::new(bytes, Endian::Little);
    matches!(cursor.u8("protocol mark"), Ok(0x80)) && matches!(cursor.u8("protocol"), Ok(2..=5))
}

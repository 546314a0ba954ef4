//! The packed file `.cbin`: ternary weights as bits, everything else as f32, a checksum over all of it.
//! `docs/bit-engine.md` has the byte layout.
//!
//! A file holds, by name, exactly what building the network asks for, in the order in which it asks: writing is a
//! recording of that, reading is a replay. Numbers are little-endian.

use cassi_core::NamedTensors;
use sha2::{Digest, Sha256};

use super::source::{Binary, Checkpoint, Names, Rule, Source, check_tensors};
use super::{BinaryNetwork, Layout, Method, build};
use crate::WeightsError;

/// First bytes of every file.
const MAGIC: [u8; 8] = *b"CASSIBIN";
/// The version that is written; the only one that is read.
const VERSION: u32 = 1;
/// No network has as many sections; a file that claims more is refused before anything is allocated.
const MAX_SECTIONS: usize = 4096;

/// Kinds of sections.
const FLOATS: u8 = 0;
const BITS: u8 = 1;
const TERNARY: u8 = 2;

/// Why bytes are not a packed network.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum CbinError {
    /// Another kind of file.
    #[error("not a packed network: the file does not begin with CASSIBIN")]
    Magic,
    /// A version of the future.
    #[error("packed network of version {found}, expected {VERSION}; use a program as new as the file")]
    Version {
        /// The version found.
        found: u32,
    },
    /// The file ends too early.
    #[error("packed network ends at byte {length}, within {what}; copy the file again")]
    Truncated {
        /// Bytes there are.
        length: usize,
        /// What was being read.
        what: &'static str,
    },
    /// Content and checksum differ.
    #[error("packed network is corrupted: its SHA-256 is {found}, the file says {expected}; copy it again")]
    Checksum {
        /// Of the content.
        found: String,
        /// As stored.
        expected: String,
    },
    /// The checksum is right and the content makes no sense.
    #[error("packed network: {what} is {found}, expected {expected}")]
    Content {
        /// Which part.
        what: String,
        /// What it is.
        found: String,
        /// What would be right.
        expected: String,
    },
}

/// What a packed network weighs.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct SizeReport {
    /// Binary weights, one bit each.
    pub binary_weights_bits: usize,
    /// Further bits: which of those weights are zero, where some are.
    pub zero_mask_bits: usize,
    /// Bytes of everything kept as floats, scales of binary weights included.
    pub float_bytes: usize,
    /// Bytes of the whole file.
    pub file_bytes: usize,
    /// Parameters of the float checkpoint times four bytes.
    pub float_checkpoint_bytes: usize,
    /// What the paper's count would be in bytes (all parameters, floats too, as bits).
    pub paper_claim: usize,
}

/// One section: name, shape, payload.
struct Section {
    name: String,
    shape: Vec<usize>,
    kind: u8,
    payload: Vec<u8>,
}

fn float_bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

/// Bits in order, the first in the lowest bit of the first byte.
fn bit_bytes(bits: impl Iterator<Item = bool>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (i, bit) in bits.enumerate() {
        if i % 8 == 0 {
            bytes.push(0);
        }
        *bytes.last_mut().expect("a byte was pushed") |= u8::from(bit) << (i % 8);
    }
    bytes
}

fn bit(bytes: &[u8], i: usize) -> bool {
    bytes[i / 8] >> (i % 8) & 1 == 1
}

/// Passes requests on and writes down the answers.
struct Recorder<'a, S> {
    source: S,
    sections: &'a mut Vec<Section>,
}

impl<S: Source> Source for Recorder<'_, S> {
    fn binary(&mut self, name: &str, shape: [usize; 4], rule: Rule) -> Binary {
        let weights = self.source.binary(name, shape, rule);
        let mut payload = float_bytes(&weights.scale);
        payload.extend(bit_bytes(weights.signs.iter().map(|&s| s > 0)));
        let ternary = weights.signs.contains(&0);
        if ternary {
            payload.extend(bit_bytes(weights.signs.iter().map(|&s| s == 0)));
        }
        let kind = if ternary { TERNARY } else { BITS };
        self.sections.push(Section { name: name.into(), shape: shape.to_vec(), kind, payload });
        weights
    }

    fn floats(&mut self, name: &str, shape: &[usize]) -> Vec<f32> {
        let values = self.source.floats(name, shape);
        let payload = float_bytes(&values);
        self.sections.push(Section { name: name.into(), shape: shape.to_vec(), kind: FLOATS, payload });
        values
    }

    fn batch_norm(&mut self, prefix: &str, channels: usize) -> (Vec<f32>, Vec<f32>) {
        let (scale, shift) = self.source.batch_norm(prefix, channels);
        let payload = [float_bytes(&scale), float_bytes(&shift)].concat();
        self.sections.push(Section { name: prefix.into(), shape: vec![2, channels], kind: FLOATS, payload });
        (scale, shift)
    }

    fn unused(&mut self, name: &str, shape: &[usize]) {
        self.source.unused(name, shape);
    }
}

/// Packs a float checkpoint into the bytes of a `.cbin` file.
///
/// # Errors
/// As [`BinaryNetwork::from_tensors`].
pub fn compile(tensors: &NamedTensors, method: Method, layout: Layout) -> Result<Vec<u8>, WeightsError> {
    let mut sections = Vec::new();
    check_tensors(tensors, method, |checkpoint: &mut Checkpoint<'_>| {
        build(&mut Recorder { source: checkpoint, sections: &mut sections }, method, layout);
    })?;
    let mut bytes = MAGIC.to_vec();
    bytes.extend(VERSION.to_le_bytes());
    let put_name = |bytes: &mut Vec<u8>, name: &str| {
        bytes.extend((name.len() as u16).to_le_bytes());
        bytes.extend(name.as_bytes());
    };
    put_name(&mut bytes, method.name());
    put_name(&mut bytes, layout.name());
    bytes.extend((sections.len() as u32).to_le_bytes());
    for section in &sections {
        put_name(&mut bytes, &section.name);
        bytes.extend([section.kind, section.shape.len() as u8]);
        bytes.extend(section.shape.iter().flat_map(|&n| (n as u32).to_le_bytes()));
        bytes.extend((section.payload.len() as u32).to_le_bytes());
        bytes.extend(&section.payload);
    }
    let digest = Sha256::digest(&bytes);
    bytes.extend(digest);
    Ok(bytes)
}

/// Reads the bytes front to back, never beyond their end.
struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn take(&mut self, count: usize, what: &'static str) -> Result<&'a [u8], CbinError> {
        let rest = &self.bytes[self.at..];
        let taken = rest.get(..count).ok_or(CbinError::Truncated { length: self.bytes.len(), what })?;
        self.at += count;
        Ok(taken)
    }

    fn number<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], CbinError> {
        Ok(self.take(N, what)?.try_into().expect("N bytes"))
    }

    fn u32(&mut self, what: &'static str) -> Result<u32, CbinError> {
        self.number(what).map(u32::from_le_bytes)
    }

    fn name(&mut self, what: &'static str) -> Result<&'a str, CbinError> {
        let length = u16::from_le_bytes(self.number(what)?);
        let bytes = self.take(length.into(), what)?;
        std::str::from_utf8(bytes).map_err(|_| content(what, "not UTF-8", "text"))
    }
}

fn content(what: impl Into<String>, found: impl Into<String>, expected: impl Into<String>) -> CbinError {
    CbinError::Content { what: what.into(), found: found.into(), expected: expected.into() }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// A section of a file, borrowed.
struct Stored<'a> {
    name: &'a str,
    shape: Vec<usize>,
    kind: u8,
    payload: &'a [u8],
}

struct Parsed<'a> {
    method: Method,
    layout: Layout,
    sections: Vec<Stored<'a>>,
}

fn parse(bytes: &[u8]) -> Result<Parsed<'_>, CbinError> {
    let mut cursor = Cursor { bytes, at: 0 };
    if bytes.len() >= MAGIC.len() && bytes[..MAGIC.len()] != MAGIC {
        return Err(CbinError::Magic);
    }
    cursor.take(MAGIC.len(), "the magic number")?;
    let version = cursor.u32("the version")?;
    if version != VERSION {
        return Err(CbinError::Version { found: version });
    }
    let method = cursor.name("the method")?;
    let layout = cursor.name("the layout")?;
    let count = cursor.u32("the number of sections")? as usize;
    let mut sections = Vec::with_capacity(count.min(MAX_SECTIONS));
    for _ in 0..count {
        if sections.len() == MAX_SECTIONS {
            return Err(content(
                "the number of sections",
                count.to_string(),
                format!("at most {MAX_SECTIONS}"),
            ));
        }
        let name = cursor.name("the name of a section")?;
        let [kind, rank] = cursor.number("the kind of a section")?;
        let mut shape = Vec::with_capacity(rank.into());
        for _ in 0..rank {
            shape.push(cursor.u32("the shape of a section")? as usize);
        }
        let length = cursor.u32("the length of a section")? as usize;
        sections.push(Stored { name, shape, kind, payload: cursor.take(length, "a section")? });
    }
    let end = cursor.at;
    let stored = cursor.take(32, "the checksum")?;
    let found = Sha256::digest(&bytes[..end]);
    if found.as_slice() != stored {
        return Err(CbinError::Checksum { found: hex(&found), expected: hex(stored) });
    }
    if cursor.at != bytes.len() {
        return Err(content("the file's length", bytes.len().to_string(), cursor.at.to_string()));
    }
    let known = |names: &[&str]| format!("one of {}", names.join(", "));
    let method = Method::from_name(method)
        .ok_or_else(|| content("the method", method, known(&Method::ALL.map(Method::name))))?;
    let layout = Layout::from_name(layout)
        .ok_or_else(|| content("the layout", layout, known(&Layout::ALL.map(Layout::name))))?;
    Ok(Parsed { method, layout, sections })
}

/// Answers requests from the sections in order; keeps the first error.
struct Replay<'a> {
    sections: std::vec::IntoIter<Stored<'a>>,
    error: Option<CbinError>,
}

impl<'a> Replay<'a> {
    fn next(
        &mut self,
        name: &str,
        shape: &[usize],
        kinds: &[u8],
        bytes: impl Fn(u8) -> usize,
    ) -> Option<Stored<'a>> {
        if self.error.is_some() {
            return None;
        }
        let describe = |name: &str, shape: &[usize]| format!("`{name}` {shape:?}");
        let section = self.sections.next();
        match section {
            Some(s)
                if s.name == name
                    && s.shape == shape
                    && kinds.contains(&s.kind)
                    && s.payload.len() == bytes(s.kind) =>
            {
                return Some(s);
            }
            other => {
                let found = other.map_or("missing".into(), |s| {
                    format!(
                        "{} of kind {} with {} bytes",
                        describe(s.name, &s.shape),
                        s.kind,
                        s.payload.len()
                    )
                });
                self.error = Some(content("a section", found, describe(name, shape)));
            }
        }
        None
    }

    fn finite(&mut self, name: &str, bytes: &[u8]) -> Vec<f32> {
        let values: Vec<f32> = bytes.as_chunks().0.iter().map(|&b| f32::from_le_bytes(b)).collect();
        if let Some(bad) = values.iter().find(|v| !v.is_finite()) {
            self.error.get_or_insert(content(format!("`{name}`"), bad.to_string(), "finite numbers"));
        }
        values
    }
}

impl Source for Replay<'_> {
    fn binary(&mut self, name: &str, shape: [usize; 4], _: Rule) -> Binary {
        let [outputs, inputs, side, _] = shape;
        let count = shape.iter().product::<usize>();
        let plane = count.div_ceil(8);
        let size = |kind| 4 * outputs + plane * if kind == TERNARY { 2 } else { 1 };
        let (scale, signs) = match self.next(name, &shape, &[BITS, TERNARY], size) {
            None => (vec![1.0; outputs], vec![1; count]),
            Some(section) => {
                let (scale, bits) = section.payload.split_at(4 * outputs);
                let sign = |i| match section.kind {
                    TERNARY if bit(&bits[plane..], i) => 0,
                    _ => 2 * i8::from(bit(bits, i)) - 1,
                };
                (self.finite(name, scale), (0..count).map(sign).collect())
            }
        };
        Binary { outputs, inputs, taps: side * side, signs, scale }
    }

    fn floats(&mut self, name: &str, shape: &[usize]) -> Vec<f32> {
        let count = shape.iter().product::<usize>();
        match self.next(name, shape, &[FLOATS], |_| 4 * count) {
            None => vec![0.0; count],
            Some(section) => self.finite(name, section.payload),
        }
    }

    fn batch_norm(&mut self, prefix: &str, channels: usize) -> (Vec<f32>, Vec<f32>) {
        let mut scale = self.floats(prefix, &[2, channels]);
        let shift = scale.split_off(channels);
        (scale, shift)
    }

    fn unused(&mut self, _: &str, _: &[usize]) {}
}

/// Builds a network from the bytes of a `.cbin` file. Never panics, whatever the bytes are.
///
/// # Errors
/// If the bytes are another kind of file, of another version, cut short, corrupted, or no network.
pub fn parse_cbin(bytes: &[u8]) -> Result<BinaryNetwork, CbinError> {
    let parsed = parse(bytes)?;
    let mut replay = Replay { sections: parsed.sections.into_iter(), error: None };
    let parts = build(&mut replay, parsed.method, parsed.layout);
    if let Some(error) = replay.error {
        return Err(error);
    }
    match replay.sections.next() {
        None => Ok(BinaryNetwork::from_parts(parts)),
        Some(section) => Err(content("a section", format!("`{}`", section.name), "the end of the file")),
    }
}

impl SizeReport {
    /// Counts what a packed file holds.
    ///
    /// # Errors
    /// As [`parse_cbin`].
    pub fn of(bytes: &[u8]) -> Result<Self, CbinError> {
        parse_cbin(bytes)?;
        let parsed = parse(bytes)?;
        let mut names = Names(vec![]);
        build(&mut names, parsed.method, parsed.layout);
        let parameters: usize = names.0.iter().map(|(_, shape)| shape.iter().product::<usize>()).sum();
        let (mut bits, mut zero_mask_bits, mut float_bytes) = (0, 0, 0);
        for section in &parsed.sections {
            let count: usize = section.shape.iter().product();
            match section.kind {
                FLOATS => float_bytes += section.payload.len(),
                kind => {
                    bits += count;
                    zero_mask_bits += if kind == TERNARY { count } else { 0 };
                    float_bytes += 4 * section.shape[0];
                }
            }
        }
        Ok(Self {
            binary_weights_bits: bits,
            zero_mask_bits,
            float_bytes,
            file_bytes: bytes.len(),
            float_checkpoint_bytes: 4 * parameters,
            paper_claim: parameters.div_ceil(8),
        })
    }
}

//! A cursor over bytes that never reads past the end, in either byte order, and the limits on declared sizes.

use crate::ParseError;

/// Byte order of numbers in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Endian {
    /// Least significant byte first.
    Little,
    /// Most significant byte first.
    Big,
}

/// Deflate cannot pack better than 1032 to 1: whatever declares more is lying.
pub(crate) const DEFLATE_RATIO: u64 = 1032;

/// Fails if something that declares `bytes` cannot come out of `stored` deflated bytes.
pub(crate) fn believable(what: &str, bytes: u64, stored: usize) -> Result<usize, ParseError> {
    let limit = DEFLATE_RATIO * stored as u64 + 4096;
    if bytes > limit {
        return Err(ParseError::TooLarge { what: what.into(), bytes, limit });
    }
    usize::try_from(bytes).map_err(|_| ParseError::TooLarge { what: what.into(), bytes, limit })
}

/// The product of a shape, or an error if it overflows. The axes beside an empty one count, too: no array type takes
/// a shape whose other axes overflow.
pub(crate) fn count(what: &str, shape: &[usize]) -> Result<usize, ParseError> {
    (shape.iter().try_fold(1usize, |n, &axis| n.checked_mul(axis.max(1))))
        .filter(|&n| n <= isize::MAX as usize / 8)
        .map(|n| if shape.contains(&0) { 0 } else { n })
        .ok_or_else(|| {
            ParseError::invalid(format!("shape of {what}"), format!("{shape:?}"), "a size that fits memory")
        })
}

/// A position in some bytes.
#[derive(Debug, Clone)]
pub(crate) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
    pub(crate) endian: Endian,
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(bytes: &'a [u8], endian: Endian) -> Self {
        Self { bytes, at: 0, endian }
    }

    pub(crate) fn at(&self) -> usize {
        self.at
    }

    pub(crate) fn left(&self) -> usize {
        self.bytes.len() - self.at
    }

    pub(crate) fn take(&mut self, needed: usize, what: &'static str) -> Result<&'a [u8], ParseError> {
        if needed > self.left() {
            return Err(ParseError::Truncated { what, at: self.at, needed, left: self.left() });
        }
        let taken = &self.bytes[self.at..self.at + needed];
        self.at += needed;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], ParseError> {
        Ok(self.take(N, what)?.try_into().expect("as many bytes as asked for"))
    }

    pub(crate) fn u8(&mut self, what: &'static str) -> Result<u8, ParseError> {
        Ok(self.array::<1>(what)?[0])
    }

    pub(crate) fn u16(&mut self, what: &'static str) -> Result<u16, ParseError> {
        let bytes = self.array(what)?;
        Ok(if self.endian == Endian::Little { u16::from_le_bytes(bytes) } else { u16::from_be_bytes(bytes) })
    }

    pub(crate) fn u32(&mut self, what: &'static str) -> Result<u32, ParseError> {
        let bytes = self.array(what)?;
        Ok(if self.endian == Endian::Little { u32::from_le_bytes(bytes) } else { u32::from_be_bytes(bytes) })
    }

    pub(crate) fn u64(&mut self, what: &'static str) -> Result<u64, ParseError> {
        let bytes = self.array(what)?;
        Ok(if self.endian == Endian::Little { u64::from_le_bytes(bytes) } else { u64::from_be_bytes(bytes) })
    }

    /// Bytes up to a line feed, which is taken but not returned.
    pub(crate) fn line(&mut self, what: &'static str) -> Result<&'a [u8], ParseError> {
        let rest = &self.bytes[self.at..];
        let end = (rest.iter().position(|&b| b == b'\n')).ok_or(ParseError::Truncated {
            what,
            at: self.at,
            needed: rest.len() + 1,
            left: rest.len(),
        })?;
        self.at += end + 1;
        Ok(&rest[..end])
    }
}

/// The first bytes in hexadecimal, for messages.
pub(crate) fn first_bytes(bytes: &[u8]) -> String {
    if bytes.is_empty() {
        return "nothing (the file is empty)".into();
    }
    bytes.iter().take(8).map(|b| format!("{b:02x}")).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_both_orders_and_stops_at_the_end() {
        let bytes = [1, 0, 0, 2, 0, 0];
        let mut little = Cursor::new(&bytes, Endian::Little);
        assert_eq!(little.u32("n").unwrap(), 0x0200_0001);
        let mut big = Cursor::new(&bytes, Endian::Big);
        assert_eq!((big.u16("n").unwrap(), big.u16("n").unwrap()), (256, 2));
        assert!(matches!(big.u32("n"), Err(ParseError::Truncated { at: 4, needed: 4, left: 2, .. })));
        assert_eq!(big.u16("n").unwrap(), 0);
    }

    #[test]
    fn a_size_that_overflows_is_no_size() {
        assert!(count("x", &[usize::MAX, 2]).is_err());
        assert!(count("x", &[1 << 62]).is_err());
        assert!(count("x", &[0, 1 << 40, 1 << 40]).is_err());
        assert_eq!((count("x", &[]).unwrap(), count("x", &[3, 0, 5]).unwrap()), (1, 0));
        assert!(believable("x", 10_000_000, 10).is_err());
    }
}

//! Zip archives in memory, with limits: NPZ files and PyTorch checkpoints.

use std::io::{Cursor, Read};

use crate::{ParseError, bytes::believable, bytes::first_bytes};

/// An archive over bytes. What its entries inflate to is bounded by what deflate can do, entry by entry and in all.
pub(crate) struct Archive<'a> {
    zip: zip::ZipArchive<Cursor<&'a [u8]>>,
    stored: usize,
    inflated: u64,
}

impl<'a> Archive<'a> {
    pub(crate) fn open(bytes: &'a [u8]) -> Result<Self, ParseError> {
        if !bytes.starts_with(b"PK") {
            return Err(ParseError::Magic { format: "zip", found: first_bytes(bytes), expected: "50 4b" });
        }
        let zip =
            zip::ZipArchive::new(Cursor::new(bytes)).map_err(|e| ParseError::library("zip archive", e))?;
        Ok(Self { zip, stored: bytes.len(), inflated: 0 })
    }

    /// Names of the entries, by index.
    pub(crate) fn names(&mut self) -> Result<Vec<String>, ParseError> {
        (0..self.zip.len())
            .map(|i| {
                let entry = self.zip.by_index_raw(i).map_err(|e| ParseError::library("zip archive", e))?;
                Ok(entry.name().map_err(|e| ParseError::library("zip archive", e))?.to_string())
            })
            .collect()
    }

    /// The inflated bytes of an entry.
    pub(crate) fn read(&mut self, index: usize) -> Result<Vec<u8>, ParseError> {
        let mut entry = self.zip.by_index(index).map_err(|e| ParseError::library("zip archive", e))?;
        let size = believable("a zip entry", entry.size(), self.stored)?;
        self.inflated += size as u64;
        // Entries may share their stored bytes, so their sum is bounded, too.
        believable("a zip archive", self.inflated, self.stored)?;
        let mut bytes = Vec::with_capacity(size);
        (entry.by_ref().take(size as u64 + 1).read_to_end(&mut bytes))
            .map_err(|e| ParseError::library("zip archive", e))?;
        if bytes.len() != size {
            let found = format!("{} bytes or more", bytes.len());
            return Err(ParseError::invalid(
                "a zip entry",
                found,
                format!("{size} bytes as its header says"),
            ));
        }
        Ok(bytes)
    }
}

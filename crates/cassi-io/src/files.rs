//! The one thin layer that touches the file system: whole reads, atomic writes, new folders, hashes.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::IoError;
use crate::unfinished::{self, Unfinished};

/// All bytes of a file.
///
/// # Errors
/// If it cannot be read.
pub fn read_bytes(path: &Path) -> Result<Vec<u8>, IoError> {
    fs::read(path).map_err(|source| IoError::Read { path: path.into(), source })
}

/// A text file.
///
/// # Errors
/// If it cannot be read, or is not UTF-8.
pub fn read_text(path: &Path) -> Result<String, IoError> {
    fs::read_to_string(path).map_err(|source| IoError::Read { path: path.into(), source })
}

/// Writes a file so that it is there whole or not at all: `write` fills a temporary one beside it, which then takes
/// its name. Folders on the way are made.
///
/// # Errors
/// Whatever `write` gives, or the operating system refuses; then no file is left behind.
pub fn write_atomically<E: From<IoError>>(
    path: &Path,
    write: impl FnOnce(&mut File) -> Result<(), E>,
) -> Result<(), E> {
    let error = |source| IoError::Write { path: path.into(), source };
    let mut temporary = beside(path).map_err(error)?;
    write(temporary.file.as_file_mut())?;
    temporary.file.as_file_mut().flush().map_err(error)?;
    keep(temporary, path).map_err(error)?;
    Ok(())
}

/// Writes these bytes, whole or not at all.
///
/// # Errors
/// If the operating system refuses.
pub fn write_bytes(path: &Path, bytes: &[u8]) -> Result<(), IoError> {
    write_atomically(path, |file| {
        file.write_all(bytes).map_err(|source| IoError::Write { path: path.into(), source })
    })
}

/// Where the bytes of `path` go: to the file behind a symbolic link, and never in the place of a folder or a device.
fn destination(path: &Path) -> io::Result<PathBuf> {
    let refused = |kind, text| Err(io::Error::new(kind, text));
    match fs::metadata(path) {
        Ok(there) if there.is_dir() => refused(io::ErrorKind::IsADirectory, "a folder of that name is there"),
        Ok(there) if !there.is_file() => {
            refused(io::ErrorKind::InvalidInput, "it is a device, pipe or socket; name a file")
        }
        Ok(_) if path.is_symlink() => path.canonicalize(),
        _ => Ok(path.into()),
    }
}

/// A file under way, gone when it is dropped or a signal ends the process.
pub(crate) struct Temporary {
    file: tempfile::NamedTempFile,
    _unfinished: Option<Unfinished>,
}

impl Temporary {
    pub(crate) fn path(&self) -> &Path {
        self.file.path()
    }
}

/// A temporary file in the folder of `path`, which is made if need be.
pub(crate) fn beside(path: &Path) -> io::Result<Temporary> {
    let path = destination(path)?;
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_path_buf(),
        _ => PathBuf::from("."),
    };
    fs::create_dir_all(&folder)?;
    let mut builder = tempfile::Builder::new();
    builder.prefix(".cassi-").suffix(".part");
    let mut unfinished = None;
    let file = builder.make_in(folder, |path| {
        // Known before it is there, so that no signal comes between. Made as any new file: with the mode that the
        // user's umask leaves of 0666, not the 0600 of a secret.
        unfinished = Some(unfinished::register(path));
        fs::OpenOptions::new().read(true).write(true).create_new(true).open(path)
    })?;
    Ok(Temporary { file, _unfinished: unfinished })
}

/// Gives a finished temporary file its name.
pub(crate) fn keep(temporary: Temporary, path: &Path) -> io::Result<()> {
    temporary.file.persist(destination(path)?).map(drop).map_err(|e| e.error)
}

/// Makes a folder that must not be there yet (parents may be).
///
/// # Errors
/// [`IoError::Exists`] if it is there, [`IoError::Write`] if it cannot be made.
pub fn create_new_folder(path: &Path) -> Result<(), IoError> {
    let error = |source| IoError::Write { path: path.into(), source };
    if let Some(parent) = path.parent().filter(|p| !p.as_os_str().is_empty()) {
        fs::create_dir_all(parent).map_err(error)?;
    }
    fs::create_dir(path).map_err(|source| match source.kind() {
        io::ErrorKind::AlreadyExists => IoError::Exists { path: path.into() },
        _ => error(source),
    })
}

/// Makes a folder if it is not there.
///
/// # Errors
/// If it cannot be made.
pub fn ensure_folder(path: &Path) -> Result<(), IoError> {
    fs::create_dir_all(path).map_err(|source| IoError::Write { path: path.into(), source })
}

/// Paths in a folder, sorted by name.
///
/// # Errors
/// If the folder cannot be read.
pub fn list_folder(path: &Path) -> Result<Vec<PathBuf>, IoError> {
    let error = |source| IoError::Read { path: path.into(), source };
    let mut entries = (fs::read_dir(path).map_err(error)?)
        .map(|entry| entry.map(|e| e.path()).map_err(error))
        .collect::<Result<Vec<_>, _>>()?;
    entries.sort();
    Ok(entries)
}

/// SHA-256 of some bytes, in lower-case hexadecimal.
pub fn sha256_hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// SHA-256 of a file, in lower-case hexadecimal.
///
/// # Errors
/// If it cannot be read.
pub fn sha256_file(path: &Path) -> Result<String, IoError> {
    let error = |source| IoError::Read { path: path.into(), source };
    let mut hash = Sha256::new();
    io::copy(&mut File::open(path).map_err(error)?, &mut hash).map_err(error)?;
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_write_leaves_nothing_and_spoils_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/x.bin");
        write_bytes(&path, b"first").unwrap();
        let failed = write_atomically(&path, |file| {
            file.write_all(b"half").unwrap();
            Err(IoError::Exists { path: "x".into() })
        });
        assert!(failed.is_err());
        assert_eq!(read_bytes(&path).unwrap(), b"first");
        assert_eq!(list_folder(path.parent().unwrap()).unwrap(), [path.as_path()]);
    }

    #[cfg(unix)]
    #[test]
    fn links_are_followed_and_devices_are_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (folder.path().join("real/x.bin"), folder.path().join("link"));
        write_bytes(&file, b"first").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        write_bytes(&link, b"second").unwrap();
        assert!(link.is_symlink());
        assert_eq!(read_bytes(&file).unwrap(), b"second");
        // A socket stands for all that is neither file nor folder: rename would replace it.
        let socket = folder.path().join("socket");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        let error = write_bytes(&socket, b"x").unwrap_err().to_string();
        assert!(error.contains("socket") && error.contains("device"), "{error}");
        assert!(!fs::metadata(&socket).unwrap().is_file());
    }

    #[test]
    fn hash_of_a_known_text() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("abc");
        write_bytes(&path, b"abc").unwrap();
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(sha256_file(&path).unwrap(), expected);
        assert_eq!(sha256_hex(b"abc"), expected);
    }

    #[test]
    fn a_new_folder_is_new() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b");
        create_new_folder(&path).unwrap();
        assert!(matches!(create_new_folder(&path), Err(IoError::Exists { .. })));
        assert!(matches!(write_bytes(&path, b""), Err(IoError::Write { .. })));
    }
}

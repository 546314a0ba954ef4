//! Naming an input: a file, or one variable of it, as `file.mat:variable` or `file.mat:pred[3]`.

use std::fmt;
use std::path::{Path, PathBuf};

/// A file and, where it holds more than one thing, the variable meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The file.
    pub path: PathBuf,
    /// The variable, where one was named: `x`, or `x[3]` for one item of a stack.
    pub variable: Option<String>,
}

impl Source {
    /// Parses `FILE` or `FILE:VARIABLE`. A file that exists under the whole text wins; a variable in a group
    /// (`x.h5:group/name`) has to be one of a file that exists, since a colon may also be part of a folder's name.
    ///
    /// ```
    /// use cassi_io::Source;
    /// let source = Source::parse("results/Test_result.mat:pred[3]");
    /// assert_eq!(source.path.to_str(), Some("results/Test_result.mat"));
    /// assert_eq!(source.item(), (Some("pred"), Some(3)));
    /// ```
    pub fn parse(text: &str) -> Self {
        if !Path::new(text).exists()
            && let Some((path, variable)) = text.rsplit_once(':')
            && !path.is_empty()
            && !variable.is_empty()
            && (!variable.contains('/') || Path::new(path).is_file())
        {
            return Self { path: path.into(), variable: Some(variable.into()) };
        }
        Self { path: text.into(), variable: None }
    }

    /// The variable's name and the item of it that is meant, e.g. `pred` and 3 of `pred[3]`.
    pub fn item(&self) -> (Option<&str>, Option<usize>) {
        let Some(variable) = self.variable.as_deref() else { return (None, None) };
        let indexed = (variable.strip_suffix(']').and_then(|v| v.split_once('[')))
            .and_then(|(name, index)| Some((name, index.trim().parse().ok()?)));
        match indexed {
            Some(("", index)) => (None, Some(index)),
            Some((name, index)) => (Some(name), Some(index)),
            None => (Some(variable), None),
        }
    }
}

impl From<&Path> for Source {
    fn from(path: &Path) -> Self {
        Self { path: path.into(), variable: None }
    }
}

impl From<PathBuf> for Source {
    fn from(path: PathBuf) -> Self {
        Self { path, variable: None }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.variable {
            Some(variable) => write!(f, "{}:{variable}", self.path.display()),
            None => write!(f, "{}", self.path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_exists_wins() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a:b");
        crate::write_bytes(&path, b"").unwrap();
        assert_eq!(Source::parse(path.to_str().unwrap()).variable, None);
        let grouped = format!("{}:group/name", path.display());
        assert_eq!(Source::parse(&grouped).variable.as_deref(), Some("group/name"));
        let elsewhere = format!("{}:x/name", folder.path().join("none").display());
        assert_eq!(Source::parse(&elsewhere).variable, None);
        let other = folder.path().join("a:c");
        assert_eq!(Source::parse(other.to_str().unwrap()).variable.as_deref(), Some("c"));
    }

    #[test]
    fn items() {
        let item = |text: &str| {
            let source = Source::parse(text);
            let (name, index) = source.item();
            (name.map(str::to_string), index)
        };
        assert_eq!(item("x.mat"), (None, None));
        assert_eq!(item("x.mat:truth"), (Some("truth".into()), None));
        assert_eq!(item("x.mat:[2]"), (None, Some(2)));
        assert_eq!(item("x.mat:odd]"), (Some("odd]".into()), None));
        assert_eq!(item("no:such/folder"), (None, None));
    }
}

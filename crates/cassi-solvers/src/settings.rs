//! Settings from `key=value` pairs: unknown keys get the nearest known one as a hint, values their range.

use cassi_core::ReconstructError;

/// The settings of one method, as given; later pairs override earlier ones.
pub(crate) struct Settings<'a> {
    method: &'static str,
    pairs: &'a [(String, String)],
}

impl<'a> Settings<'a> {
    /// Takes the pairs after checking every key against the known ones.
    pub(crate) fn new(
        method: &'static str,
        known: &[&str],
        pairs: &'a [(String, String)],
    ) -> Result<Self, ReconstructError> {
        let settings = Self { method, pairs };
        match pairs.iter().find(|(key, _)| !known.contains(&key.as_str())) {
            None => Ok(settings),
            Some((key, value)) => {
                let nearest = (known.iter().copied())
                    .map(|name| (strsim::damerau_levenshtein(key, name), name))
                    .min()
                    .filter(|(distance, _)| *distance <= 3)
                    .map_or(String::new(), |(_, name)| format!("did you mean `{name}`? "));
                Err(settings.error(key, value, format!("{nearest}this method takes {}", known.join(", "))))
            }
        }
    }

    fn error(&self, key: &str, value: &str, expected: String) -> ReconstructError {
        ReconstructError::Setting {
            method: self.method.into(),
            key: key.into(),
            value: value.into(),
            expected,
        }
    }

    /// The value of `key` through `parse`, if it is given; `expected` says what would do.
    pub(crate) fn get<T>(
        &self,
        key: &str,
        expected: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<T>, ReconstructError> {
        let Some((_, value)) = self.pairs.iter().rev().find(|(name, _)| name == key) else { return Ok(None) };
        parse(value.trim()).map(Some).ok_or_else(|| self.error(key, value, expected.into()))
    }
}

/// A finite number that `accept` takes.
pub(crate) fn number(text: &str, accept: impl Fn(f64) -> bool) -> Option<f64> {
    text.parse().ok().filter(|&v: &f64| v.is_finite() && accept(v))
}

/// `true` or `false`, also as `yes`, `no`, `on`, `off`.
pub(crate) fn switch(text: &str) -> Option<bool> {
    match text {
        "true" | "yes" | "on" => Some(true),
        "false" | "no" | "off" => Some(false),
        _ => None,
    }
}

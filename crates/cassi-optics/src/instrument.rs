//! Instruments as TOML: reading with errors that name the line, writing, and the two that are built in.

use cassi_core::InstrumentDescription;
use serde::de::DeserializeOwned;

use crate::OpticsError;

/// The built-in instruments, name and TOML text.
const BUILT_IN: [(&str, &str); 2] = [
    ("standard", include_str!("../instruments/standard.toml")),
    ("tsa-real", include_str!("../instruments/tsa-real.toml")),
];

/// Names of the built-in instruments, the default first.
pub fn builtin_names() -> impl Iterator<Item = &'static str> {
    BUILT_IN.iter().map(|(name, _)| *name)
}

/// The built-in instrument of this name.
///
/// ```
/// let camera = cassi_optics::builtin("standard").unwrap();
/// assert_eq!(camera.snapshot_shape(256, 256), [256, 310]);
/// ```
pub fn builtin(name: &str) -> Option<InstrumentDescription> {
    let (name, text) = BUILT_IN.iter().find(|(known, _)| *known == name)?;
    Some(parse_instrument(text, name).expect("built-in descriptions are valid, as their test shows"))
}

/// Reads a description; `origin` is what messages call its source, e.g. the path of the file.
///
/// # Errors
/// Text that is not TOML, unknown or missing keys, wrong types, values that no camera can have: with origin and line.
pub fn parse_instrument(text: &str, origin: &str) -> Result<InstrumentDescription, OpticsError> {
    let description: InstrumentDescription = parse_toml(text, origin)?;
    description.validate().map_err(|source| OpticsError::Instrument { origin: origin.into(), source })?;
    Ok(description)
}

/// Writes a description so that [`parse_instrument`] gives the same one back.
pub fn to_toml(instrument: &InstrumentDescription) -> String {
    toml::to_string_pretty(instrument).expect("a description is a table of plain values")
}

/// Reads any value from TOML with an error that names the line and, for an unknown key, the nearest known one.
pub(crate) fn parse_toml<T: DeserializeOwned>(text: &str, origin: &str) -> Result<T, OpticsError> {
    toml::from_str(text).map_err(|error: toml::de::Error| {
        let start = error.span().map_or(0, |span| span.start.min(text.len()));
        OpticsError::Toml {
            origin: origin.into(),
            line: 1 + text.as_bytes()[..start].iter().filter(|&&byte| byte == b'\n').count(),
            message: error.message().into(),
            nearest: nearest_expected(error.message()),
        }
    })
}

/// The expected name nearest to the unknown one, out of serde's "unknown field `a`, expected one of `b`, `c`".
fn nearest_expected(message: &str) -> Option<String> {
    if !message.starts_with("unknown") {
        return None;
    }
    let mut quoted = message.split('`').skip(1).step_by(2);
    let found = quoted.next()?;
    nearest(found, quoted).map(str::to_string)
}

/// The name most like `found`, if any is alike enough to be meant.
pub(crate) fn nearest<'a>(found: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let alike = |name: &str| strsim::damerau_levenshtein(found, name);
    let (distance, name) = known.into_iter().map(|name| (alike(name), name)).min_by_key(|(d, _)| *d)?;
    // Up to two slips, or half of a longer name.
    (distance <= 2.max(name.len() / 2)).then_some(name)
}

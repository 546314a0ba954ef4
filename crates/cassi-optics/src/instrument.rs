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

#[cfg(test)]
mod tests {
    use cassi_core::{InputConvention, NoiseModel, Wavelengths};

    use super::*;

    #[test]
    fn built_in_instruments_are_what_they_are_called() {
        for name in builtin_names() {
            let instrument = builtin(name).unwrap();
            assert_eq!(instrument.name, name);
            assert_eq!(instrument.wavelengths_nm, Wavelengths::benchmark());
            assert_eq!(instrument.step(), 2);
            assert_eq!(instrument.camera.noise, NoiseModel::None);
        }
        let standard = builtin("standard").unwrap();
        assert_eq!(standard.snapshot_shape(256, 256), [256, 310]);
        assert_eq!(standard.network_input, InputConvention::Unsheared { gain: 2.0 });
        let default_mask = crate::mask::shipped(&standard.default_mask.unwrap()).unwrap();
        assert_eq!(default_mask.shape(), [256, 256]);
        let real = builtin("tsa-real").unwrap();
        assert_eq!(real.snapshot_shape(real.scene.rows, real.scene.columns), [660, 714]);
        assert_eq!(real.network_input, InputConvention::Normalised { peak: 0.8 });
        assert_eq!(real.default_mask, None);
        assert!(builtin("nosuch").is_none());
    }

    #[test]
    fn descriptions_come_back_from_their_toml() {
        for name in builtin_names() {
            let mut instrument = builtin(name).unwrap();
            for noise in [
                NoiseModel::None,
                NoiseModel::Gaussian { sigma: 0.02 },
                NoiseModel::Binomial { qe: 0.4, levels: 2048.0 },
            ] {
                instrument.camera.noise = noise;
                assert_eq!(parse_instrument(&to_toml(&instrument), "again").unwrap(), instrument);
            }
        }
    }

    #[test]
    fn faults_are_named_with_file_line_and_nearest_key() {
        let standard = to_toml(&builtin("standard").unwrap());
        let line_of = |part: &str| 1 + standard.lines().position(|line| line.contains(part)).unwrap();
        for (from, to, at, says) in [
            ("columns_per_band", "colums_per_band", "columns_per_band", "did you mean `columns_per_band`"),
            ("columns_per_band = 2", "columns_per_band = \"2\"", "columns_per_band", "expected usize"),
            ("columns_per_band = 2", "columns_per_band = -2", "columns_per_band", "expected usize"),
            ("rows = 256", "rows = 2.5", "rows", "expected usize"),
            ("rows = 256", "row = 256", "rows", "did you mean `rows`"),
            ("[camera]", "[camra]", "[camera]", "did you mean `camera`"),
            ("noise = \"none\"", "noise = \"gausian\"", "noise", "did you mean `gaussian`"),
            ("kind = \"unsheared\"", "kind = \"unshered\"", "kind = ", "did you mean `unsheared`"),
            ("gain = 2.0", "gian = 2.0", "[network_input]", "did you mean `gain`"),
            ("name = \"standard\"", "name = standard", "name = ", ""),
        ] {
            assert!(standard.contains(from), "{from}");
            let message =
                parse_instrument(&standard.replacen(from, to, 1), "a.toml").unwrap_err().to_string();
            assert!(message.contains(says), "{to}: {message}");
            assert!(message.starts_with(&format!("a.toml:{}: ", line_of(at))), "{to}: {message}");
        }
        for (from, to, says) in [
            ("453.5", "nan", "wavelength 0"),
            ("457.5", "453.5", "wavelength 1"),
            ("rows = 256", "rows = 0", "scene"),
            ("gain = 2.0", "gain = -1.0", "network_input"),
            ("name = \"standard\"", "", "missing field `name`"),
            ("noise = \"none\"", "noise = { gaussian = { sigma = -1.0 } }", "sigma"),
        ] {
            let message =
                parse_instrument(&standard.replacen(from, to, 1), "a.toml").unwrap_err().to_string();
            assert!(message.starts_with("a.toml") && message.contains(says), "{to}: {message}");
        }
        assert!(
            parse_instrument("", "empty.toml").unwrap_err().to_string().starts_with("empty.toml:1: missing")
        );
    }

    #[test]
    fn two_hundred_damaged_files_are_errors_or_descriptions_but_never_panics() {
        let standard = to_toml(&builtin("standard").unwrap());
        let mut refused = 0;
        for index in 0..300 {
            let mut stream = cassi_core::random::Stream::new(1, "damage", index);
            let mut bytes = standard.clone().into_bytes();
            for _ in 0..1 + stream.below(4) {
                let at = stream.below(bytes.len());
                match stream.below(3) {
                    0 => bytes[at] = stream.below(128) as u8,
                    1 => bytes.truncate(at.max(1)),
                    _ => bytes.insert(at, b"=[]{}\"'.,-#\n0a"[stream.below(14)]),
                }
            }
            let text = String::from_utf8(bytes).expect("ASCII");
            if let Err(error) = parse_instrument(&text, "damaged.toml") {
                refused += 1;
                assert!(error.to_string().starts_with("damaged.toml"), "{error}");
            }
        }
        assert!(refused > 200, "{refused}");
    }
}

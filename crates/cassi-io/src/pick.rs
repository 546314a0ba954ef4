//! Which variable of a file is meant: by name, by the names the field uses, or the only one that can be.

use ndarray::{ArrayD, Axis};

use crate::{Content, Contents, IoError, Source, Variable};

/// What is being looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    Cube,
    Snapshot,
    Mask,
    Array,
}

impl Wanted {
    pub(crate) fn what(self) -> &'static str {
        match self {
            Self::Cube => "cube",
            Self::Snapshot => "snapshot",
            Self::Mask => "mask",
            Self::Array => "array",
        }
    }

    /// Names in use, best first.
    fn names(self) -> &'static [&'static str] {
        match self {
            Self::Cube => &["cube", "img", "img_expand", "HSI", "hsi", "rad", "ref", "pred", "truth"],
            Self::Snapshot => &["snapshot", "meas_real", "meas", "measurement", "y"],
            Self::Mask => &["mask", "mask_3d_shift", "mask_3d"],
            Self::Array => &[],
        }
    }

    /// Whether a name says that it is something else: a cube is no stack of snapshots, whatever its shape.
    fn is_foreign(self, name: &str) -> bool {
        let others: &[Self] = match self {
            Self::Cube => &[Self::Snapshot, Self::Mask],
            Self::Snapshot => &[Self::Cube, Self::Mask],
            Self::Mask | Self::Array => &[],
        };
        others.iter().any(|other| other.names().contains(&name))
    }

    /// Numbers of axes that can serve, one more where a stack of items can.
    fn ranks(self) -> std::ops::RangeInclusive<usize> {
        match self {
            Self::Cube => 3..=4,
            Self::Snapshot => 2..=3,
            Self::Mask => 2..=4,
            Self::Array => 0..=usize::MAX,
        }
    }

    /// The number of axes that needs no guess.
    fn plain_rank(self) -> usize {
        if self == Self::Cube { 3 } else { 2 }
    }
}

/// Names that other things than scenes, snapshots and masks have.
pub(crate) const WAVELENGTH_NAMES: [&str; 6] =
    ["wavelengths_nm", "wavelengths", "wavelength", "bands", "lambda", "wl"];

fn last_name(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or(name)
}

/// What a file holds, for messages: names with shapes.
pub(crate) fn listing(contents: &Contents) -> String {
    if contents.variables.is_empty() {
        return "nothing".into();
    }
    let mut names: Vec<String> = (contents.variables.iter().take(20))
        .map(|v| {
            let name = if v.name.is_empty() { "an array without a name" } else { &v.name };
            match v.content {
                Content::Numbers { .. } => format!("{name} {:?}", v.shape),
                _ => format!("{name} ({})", v.class),
            }
        })
        .collect();
    if contents.variables.len() > 20 {
        names.push(format!("{} more", contents.variables.len() - 20));
    }
    names.join(", ")
}

/// The variable that is meant.
pub(crate) fn pick<'a>(
    contents: &'a Contents,
    source: &Source,
    wanted: Wanted,
) -> Result<&'a Variable, IoError> {
    if let (Some(name), _) = source.item() {
        // A name in brackets may be the name itself.
        let whole = source.variable.as_deref().and_then(|v| contents.get(v));
        return whole.or_else(|| contents.get(name)).ok_or_else(|| IoError::NoVariable {
            path: source.path.clone(),
            name: name.into(),
            available: listing(contents),
        });
    }
    let serves = |v: &&Variable| v.values().is_some() && wanted.ranks().contains(&v.shape.len());
    for name in wanted.names() {
        let found = contents.variables.iter().filter(serves).find(|v| last_name(&v.name) == *name);
        if let Some(variable) = found {
            return Ok(variable);
        }
    }
    let beside = |v: &&Variable| {
        WAVELENGTH_NAMES.contains(&last_name(&v.name))
            || wanted != Wanted::Array && v.shape.contains(&1) && v.shape.len() < 3
    };
    let foreign = |v: &&Variable| wanted.is_foreign(last_name(&v.name));
    let may_serve = contents.variables.iter().filter(serves).filter(|v| !beside(v) && !foreign(v));
    let serving: Vec<&Variable> = may_serve.collect();
    let plain: Vec<&Variable> =
        serving.iter().copied().filter(|v| v.shape.len() == wanted.plain_rank()).collect();
    let ambiguous = || IoError::Ambiguous {
        path: source.path.clone(),
        what: wanted.what(),
        available: listing(contents),
    };
    match (plain.as_slice(), serving.as_slice()) {
        ([only], _) if wanted != Wanted::Array => Ok(only),
        (_, [only]) => Ok(only),
        // The only variable there is may be of the wrong shape: saying so helps more than saying that it is not there.
        ([], []) => match contents.variables.as_slice() {
            [only] if !foreign(&only) => Ok(only),
            _ => Err(ambiguous()),
        },
        _ => Err(ambiguous()),
    }
}

/// The numbers of a variable in C order, and one item of it where one was named or where `rank` axes are wanted and
/// there is one more.
pub(crate) fn numbers(
    variable: &Variable,
    source: &Source,
    rank: Option<usize>,
    notes: &mut Vec<String>,
) -> Result<ArrayD<f32>, IoError> {
    let name = display_name(variable);
    let array = variable.to_array().ok_or_else(|| IoError::NotNumeric {
        path: source.path.clone(),
        name: name.clone(),
        reason: match &variable.content {
            Content::Skipped(reason) => reason.clone(),
            _ => "it is a text".into(),
        },
    })?;
    let named_whole = source.variable.as_deref() == Some(&variable.name);
    let item = if named_whole { None } else { source.item().1 };
    let stacked = rank.is_some_and(|rank| array.ndim() == rank + 1);
    let Some(index) = item.or(stacked.then_some(0)) else { return Ok(array) };
    let items = array.shape().first().copied().unwrap_or(0);
    if index >= items {
        return Err(IoError::Shape {
            path: source.path.clone(),
            name,
            found: array.shape().to_vec(),
            expected: format!("at least {} items along the first axis for item {index}", index + 1),
        });
    }
    if item.is_none() && items > 1 {
        notes.push(format!("`{name}`: item 0 of {items} (another one: {}:{name}[1])", source.path.display()));
    }
    Ok(array.index_axis_move(Axis(0), index))
}

/// A name for messages.
pub(crate) fn display_name(variable: &Variable) -> String {
    if variable.name.is_empty() { "array".into() } else { variable.name.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Order, Values};

    fn variable(name: &str, shape: &[usize]) -> Variable {
        let values = Values::F32(vec![0.5; shape.iter().product()]);
        Variable::numbers(name, "single", shape.to_vec(), Order::RowMajor, values).unwrap()
    }

    fn picked(wanted: Wanted, variables: &[(&str, &[usize])]) -> Option<String> {
        let contents =
            Contents::new("test", variables.iter().map(|(name, shape)| variable(name, shape)).collect());
        pick(&contents, &Source::parse("test"), wanted).ok().map(|v| v.name.clone())
    }

    #[test]
    fn names_of_the_field_and_the_only_one_that_can_be() {
        let scene = (&[2, 2, 3][..], &[2, 2][..]);
        assert_eq!(picked(Wanted::Cube, &[("a", scene.0), ("img", scene.0)]).as_deref(), Some("img"));
        assert_eq!(
            picked(Wanted::Cube, &[("anything", scene.0), ("wavelengths", &[3])]).as_deref(),
            Some("anything")
        );
        assert_eq!(picked(Wanted::Cube, &[("a", scene.0), ("b", scene.0)]), None);
        assert_eq!(picked(Wanted::Snapshot, &[("cube", scene.0), ("wl", &[1, 3])]), None);
        assert_eq!(picked(Wanted::Snapshot, &[("cube", scene.0), ("q", scene.1)]).as_deref(), Some("q"));
        assert_eq!(picked(Wanted::Cube, &[("mask_3d_shift", scene.0)]), None);
        assert_eq!(picked(Wanted::Snapshot, &[("wl", &[1, 3]), ("q", scene.1)]).as_deref(), Some("q"));
        assert_eq!(
            picked(Wanted::Mask, &[("mask", scene.1), ("mask_3d_shift", scene.0)]).as_deref(),
            Some("mask")
        );
        assert_eq!(
            picked(Wanted::Cube, &[("group/cube", scene.0), ("b", scene.0)]).as_deref(),
            Some("group/cube")
        );
    }

    #[test]
    fn an_item_of_a_stack() {
        let stack = variable("pred", &[3, 2, 2, 5]);
        let mut notes = Vec::new();
        let array = numbers(&stack, &Source::parse("f:pred[2]"), Some(3), &mut notes).unwrap();
        assert_eq!((array.shape(), notes.len()), (&[2, 2, 5][..], 0));
        let array = numbers(&stack, &Source::parse("f"), Some(3), &mut notes).unwrap();
        assert_eq!((array.shape(), notes.len()), (&[2, 2, 5][..], 1));
        assert!(numbers(&stack, &Source::parse("f:pred[3]"), Some(3), &mut notes).is_err());
    }
}

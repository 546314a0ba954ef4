//! Methods by name: what exists, what is still missing, and how each is made from its settings.

use anyhow::bail;
use cassi_core::{Family, InstrumentDescription, Mask, MethodCard, Reconstructor};
use cassi_solvers::GapTv;

use crate::config::nearest;

/// A method of the published list that this build cannot run yet.
pub(crate) struct Missing {
    /// Its published name.
    pub(crate) name: &'static str,
    pub(crate) family: Family,
    pub(crate) source: &'static str,
    /// Why, and what to do instead.
    pub(crate) reason: &'static str,
}

const CLASSICAL: &str = "not implemented yet; use gap-tv";

/// The methods that are named but not here, so that asking for one gets a true answer.
pub(crate) const MISSING: &[Missing] = &[
    Missing {
        name: "admm-tv",
        family: Family::Classical,
        source: "Boyd et al., Found. Trends Mach. Learn. 3(1), 2011",
        reason: CLASSICAL,
    },
    Missing {
        name: "twist",
        family: Family::Classical,
        source: "Bioucas-Dias and Figueiredo, IEEE TIP 16(12), 2007",
        reason: CLASSICAL,
    },
    Missing {
        name: "fista-tv",
        family: Family::Classical,
        source: "Beck and Teboulle, IEEE TIP 18(11), 2009",
        reason: CLASSICAL,
    },
    Missing {
        name: "desci",
        family: Family::Classical,
        source: "Liu, Yuan, Suo, Brady, Dai, IEEE TPAMI 41(12), 2019",
        reason: CLASSICAL,
    },
    Missing {
        name: "pnp",
        family: Family::Classical,
        source: "Zheng et al., Photonics Research 9(2), 2021",
        reason: CLASSICAL,
    },
    Missing {
        name: "posterior",
        family: Family::Posterior,
        source: "flow matching: Lipman et al., ICLR 2023",
        reason: "the sampler is not implemented yet",
    },
];

/// The cards of all methods that this build runs, with their default settings.
pub(crate) fn available() -> Vec<MethodCard> {
    vec![GapTv::default().describe().clone()]
}

/// All published names.
pub(crate) fn names() -> Vec<String> {
    let mut names: Vec<String> = available().iter().map(|card| card.name.to_string()).collect();
    names.extend(MISSING.iter().map(|missing| missing.name.to_string()));
    names
}

/// Makes a method.
///
/// # Errors
/// An unknown name (with the nearest one), one that is missing (with the reason), or a setting it cannot take.
pub(crate) fn build(name: &str, settings: &[(String, String)]) -> anyhow::Result<Box<dyn Reconstructor>> {
    if let Some(missing) = MISSING.iter().find(|missing| missing.name == name) {
        bail!("method `{name}`: {}; `cassi methods` lists what there is", missing.reason);
    }
    match name {
        "gap-tv" => Ok(Box::new(GapTv::from_settings(settings)?)),
        _ => bail!(
            "no method `{name}`{}; `cassi methods` lists them all",
            nearest(name, names().into_iter())
        ),
    }
}

/// Every method of this build, with default settings, that can work on snapshots of this instrument and mask.
pub(crate) fn all_for(_: &InstrumentDescription, _: &Mask) -> anyhow::Result<Vec<Box<dyn Reconstructor>>> {
    Ok(vec![Box::new(GapTv::default())])
}

/// `key=value` of `--set`.
pub(crate) fn parse_setting(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() && !value.is_empty() => Ok((key.into(), value.into())),
        _ => Err("expected KEY=VALUE, e.g. iterations=100".into()),
    }
}

/// How a family is called in listings.
pub(crate) fn family_name(family: Family) -> &'static str {
    match family {
        Family::Classical => "classical",
        Family::Network => "network",
        Family::BinaryNetwork => "binary network",
        Family::Posterior => "posterior",
    }
}

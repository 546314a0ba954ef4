//! Methods by name: what exists, what is still missing, and how each is made from its settings.

use std::path::Path;

use anyhow::{Context as _, bail};
use cassi_core::{Family, InputConvention, InstrumentDescription, MethodCard, NamedTensors, Reconstructor};
use cassi_infer::binary::{self, BinaryNetwork, BinaryReconstructor};
use cassi_infer::float::{self, MstNetwork, MstReconstructor, Variant};
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

/// A network that this build runs once it is given weights; none ship yet.
pub(crate) struct Network {
    pub(crate) name: &'static str,
    pub(crate) family: Family,
    pub(crate) summary: &'static str,
    pub(crate) source: &'static str,
}

/// The networks, float ones first.
pub(crate) fn networks() -> Vec<Network> {
    let floats = Variant::ALL.into_iter().map(|variant| Network {
        name: variant.name(),
        family: Family::Network,
        summary: "spectral-wise transformer on fused float kernels",
        source: match variant {
            Variant::MstPp => "Cai et al., MST++, CVPRW 2022",
            _ => "Cai et al., Mask-guided spectral-wise transformer, CVPR 2022",
        },
    });
    let bits = binary::Method::ALL.into_iter().map(|method| Network {
        name: method.name(),
        family: Family::BinaryNetwork,
        summary: method.summary(),
        source: method.source(),
    });
    floats.chain(bits).collect()
}

/// All published names.
pub(crate) fn names() -> Vec<String> {
    let mut names: Vec<String> = available().iter().map(|card| card.name.to_string()).collect();
    names.extend(networks().iter().map(|network| network.name.to_string()));
    names.extend(MISSING.iter().map(|missing| missing.name.to_string()));
    names
}

/// Makes a method for snapshots of `instrument`; networks read `weights`.
///
/// # Errors
/// An unknown name (with the nearest one), one that is missing (with the reason), a setting it cannot take, weights
/// that are missing or those of another network.
pub(crate) fn build(
    name: &str,
    settings: &[(String, String)],
    weights: Option<&Path>,
    instrument: &InstrumentDescription,
) -> anyhow::Result<Box<dyn Reconstructor>> {
    if let Some(missing) = MISSING.iter().find(|missing| missing.name == name) {
        bail!("method `{name}`: {}; `cassi methods` lists what there is", missing.reason);
    }
    if name == "gap-tv" {
        if let Some(weights) = weights {
            bail!("--weights {}: gap-tv has no weights", weights.display());
        }
        return Ok(Box::new(GapTv::from_settings(settings)?));
    }
    let float = Variant::from_name(name);
    let bits = binary::Method::from_name(name);
    if float.is_none() && bits.is_none() {
        bail!("no method `{name}`{}; `cassi methods` lists them all", nearest(name, names().into_iter()));
    }
    if let Some((key, _)) = settings.first() {
        bail!("{name} has no setting `{key}`; networks have none");
    }
    let path = weights.with_context(|| {
        format!("{name} needs weights and none ship yet; pass a checkpoint (.safetensors, .pth or .cbin) with --weights FILE")
    })?;
    let label = weights_label(path)?;
    let at = || format!("{}", path.display());
    if let Some(variant) = float {
        let layout = match instrument.network_input {
            InputConvention::Unsheared { .. } => float::Layout::Standard,
            InputConvention::Normalised { .. } => float::Layout::TsaReal,
        };
        let tensors = checkpoint(path)?;
        let network =
            MstNetwork::from_tensors(&tensors, variant, layout, instrument.bands(), instrument.step())
                .with_context(at)?;
        return Ok(Box::new(MstReconstructor::new(network, Some(label))));
    }
    let method = bits.expect("one of the two");
    let layout = binary_layout(instrument);
    let network = if path.extension().is_some_and(|e| e.eq_ignore_ascii_case("cbin")) {
        let network = binary::parse_cbin(&cassi_io::read_bytes(path)?).with_context(at)?;
        if network.method() != method || network.layout() != layout {
            bail!(
                "{}: holds {} for {}, expected {name} for {}",
                path.display(),
                network.method().name(),
                network.layout().name(),
                layout.name()
            );
        }
        network
    } else {
        BinaryNetwork::from_tensors(&checkpoint(path)?, method, layout).with_context(at)?
    };
    Ok(Box::new(BinaryReconstructor::new(network, Some(label))))
}

/// The layout of the binarized networks that an instrument calls for.
pub(crate) fn binary_layout(instrument: &InstrumentDescription) -> binary::Layout {
    match instrument.network_input {
        InputConvention::Unsheared { .. } => binary::Layout::Standard,
        InputConvention::Normalised { .. } => binary::Layout::TsaReal,
    }
}

/// The tensors of a checkpoint, without the prefix of data-parallel training.
pub(crate) fn checkpoint(path: &Path) -> anyhow::Result<NamedTensors> {
    Ok(cassi_io::read_tensors(path)?.without_common_prefix("module."))
}

/// Name and hash of a weights file, for the method's card.
fn weights_label(path: &Path) -> anyhow::Result<String> {
    let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    Ok(format!("{name} (SHA-256 {})", cassi_io::sha256_file(path)?))
}

/// Every method of this build that needs nothing but a snapshot and its mask, with default settings.
pub(crate) fn ready() -> Vec<Box<dyn Reconstructor>> {
    vec![Box::new(GapTv::default())]
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

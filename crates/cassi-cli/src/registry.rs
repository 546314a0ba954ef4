//! Methods by name: what exists, what is still missing, and how each is made from its settings.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use cassi_core::{
    Family, InputConvention, InstrumentDescription, Mask, MethodCard, Reconstructor, refinement,
    takes_snapshots,
};
use cassi_infer::binary::{self, BinaryNetwork, BinaryReconstructor};
use cassi_infer::float::{self, MstNetwork, MstReconstructor, Variant};
use cassi_solvers::GapTv;

use crate::config::nearest;
use crate::engine::{Engine, EngineOptions, Precision};
use crate::weights::{Content, Weights};

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

/// A network.
pub(crate) struct Network {
    pub(crate) name: &'static str,
    pub(crate) family: Family,
    pub(crate) summary: &'static str,
    pub(crate) source: &'static str,
}

/// Transformers that refine the estimate of a solver: names of both, and of the network alone.
const REFINING: [(&str, Variant); 4] = [
    ("gap-tv+mst-s", Variant::MstS),
    ("gap-tv+mst-m", Variant::MstM),
    ("gap-tv+mst-l", Variant::MstL),
    ("gap-tv+mst-pp", Variant::MstPp),
];

const REFINES: &str =
    "gap-tv, and a spectral-wise transformer that takes its estimate instead of the snapshot";

/// The networks, float ones first.
pub(crate) fn networks() -> Vec<Network> {
    let source = |variant| match variant {
        Variant::MstPp => "Cai et al., MST++, CVPRW 2022",
        _ => "Cai et al., Mask-guided spectral-wise transformer, CVPR 2022",
    };
    let floats = Variant::ALL.into_iter().map(|variant| Network {
        name: variant.name(),
        family: Family::Network,
        summary: "spectral-wise transformer on fused float kernels",
        source: source(variant),
    });
    let refining = REFINING.into_iter().map(|(name, variant)| Network {
        name,
        family: Family::Network,
        summary: REFINES,
        source: source(variant),
    });
    let bits = binary::Method::ALL.into_iter().map(|method| Network {
        name: method.name(),
        family: Family::BinaryNetwork,
        summary: method.summary(),
        source: method.source(),
    });
    floats.chain(refining).chain(bits).collect()
}

/// All published names.
pub(crate) fn names() -> Vec<String> {
    let mut names: Vec<String> = available().iter().map(|card| card.name.to_string()).collect();
    names.extend(networks().iter().map(|network| network.name.to_string()));
    names.extend(MISSING.iter().map(|missing| missing.name.to_string()));
    names
}

/// What a method is to be made from.
pub(crate) struct Request<'a> {
    /// Its published name.
    pub(crate) name: &'a str,
    /// `--set`.
    pub(crate) settings: &'a [(String, String)],
    /// The weights that the user named; chosen by what they are for otherwise.
    pub(crate) weights: Option<Weights>,
    /// How networks are computed.
    pub(crate) engine: &'a EngineOptions,
    /// The camera.
    pub(crate) instrument: &'a InstrumentDescription,
    /// The mask of the snapshot, where it is known.
    pub(crate) mask: Option<&'a Mask>,
}

/// A method, the weights file that it was made from, and what the user should know of it.
pub(crate) struct Built {
    pub(crate) method: Box<dyn Reconstructor>,
    pub(crate) weights: Option<PathBuf>,
    pub(crate) notes: Vec<String>,
}

/// Whether a name can be asked for.
///
/// # Errors
/// An unknown name (with the nearest one), or one that is missing (with the reason).
pub(crate) fn check_name(name: &str) -> anyhow::Result<()> {
    if let Some(missing) = MISSING.iter().find(|missing| missing.name == name) {
        bail!("method `{name}`: {}; `cassi methods` lists what there is", missing.reason);
    }
    if !names().iter().any(|known| known == name) {
        bail!("no method `{name}`{}; `cassi methods` lists them all", nearest(name, names().into_iter()));
    }
    Ok(())
}

/// Makes a method on the default engine, without a mask to choose weights by: what benchmarks run.
///
/// # Errors
/// As [`make`].
pub(crate) fn build(
    name: &str,
    settings: &[(String, String)],
    weights: Option<&Path>,
    instrument: &InstrumentDescription,
) -> anyhow::Result<Box<dyn Reconstructor>> {
    let weights = weights.map(Weights::open).transpose()?;
    let engine = &EngineOptions::default();
    Ok(make(Request { name, settings, weights, engine, instrument, mask: None })?.method)
}

/// Makes a method for snapshots of an instrument.
///
/// # Errors
/// As [`check_name`]; a setting it cannot take; weights that are missing or those of another network or instrument; an
/// engine that is not there.
pub(crate) fn make(request: Request<'_>) -> anyhow::Result<Built> {
    let Request { name, settings, weights, engine, instrument, mask } = request;
    check_name(name)?;
    if name == "gap-tv" {
        if let Some(weights) = weights {
            bail!("--weights {}: gap-tv has no weights", weights.place);
        }
        engine.require_none(name)?;
        let method = Box::new(GapTv::from_settings(settings)?);
        return Ok(Built { method, weights: None, notes: Vec::new() });
    }
    if let Some((key, _)) = settings.first() {
        bail!("{name} has no setting `{key}`; networks have none");
    }
    let kind = engine.resolve()?;
    let mut notes = Vec::new();
    let weights = match weights {
        Some(weights) => weights,
        None => crate::weights::choose(name, instrument, mask, &mut notes)?,
    };
    weights.check(name, instrument)?;
    notes.extend(weights.mask_note(mask));
    notes.extend(weights.limits_note());
    let method = match kind {
        Engine::Native => native(name, &weights, engine, instrument)?,
        Engine::Torch => on_torch(name, &weights, engine, instrument)?,
    };
    Ok(Built { method, weights: weights.path, notes })
}

/// The methods that are worth showing on snapshots of an instrument without any file of the user's: GAP-TV, and MST-S
/// alone and on GAP-TV's estimate, where there are weights. The BiSRNet that ships is the beginning of a training (its
/// card says so).
///
/// # Errors
/// If weights that are there cannot be used.
pub(crate) fn ready(
    instrument: &InstrumentDescription,
    mask: &Mask,
) -> anyhow::Result<Vec<Box<dyn Reconstructor>>> {
    let engine = &EngineOptions::default();
    let mut methods: Vec<Box<dyn Reconstructor>> = vec![Box::new(GapTv::default())];
    for name in ["gap-tv+mst-s", "mst-s"] {
        let weights = crate::weights::find(name, instrument, Some(mask), &mut Vec::new())?;
        if weights.is_some() {
            let request = Request { name, settings: &[], weights, engine, instrument, mask: Some(mask) };
            methods.push(make(request)?.method);
        }
    }
    Ok(methods)
}

/// A network whose name was checked.
fn listing(name: &str) -> Network {
    networks().into_iter().find(|network| network.name == name).expect("its name was checked")
}

/// The solver whose estimate a network refines; of all names that were checked, GAP-TV.
fn first(name: &str) -> Option<Box<dyn Reconstructor>> {
    refinement(name).0.map(|_| Box::new(GapTv::default()) as Box<dyn Reconstructor>)
}

fn native(
    name: &str,
    weights: &Weights,
    engine: &EngineOptions,
    instrument: &InstrumentDescription,
) -> anyhow::Result<Box<dyn Reconstructor>> {
    let label = Some(weights.label());
    if let Some(method) = binary::Method::from_name(name) {
        let network = bits(method, weights, engine, instrument)?;
        return Ok(Box::new(BinaryReconstructor::new(network, label)));
    }
    let network = floats(name, weights, engine, instrument)?;
    let method = MstReconstructor::new(network, label);
    Ok(match first(name) {
        Some(first) => {
            let Network { name, summary, .. } = listing(name);
            Box::new(method.refining(first, name, summary))
        }
        None => Box::new(method),
    })
}

/// A binarized network on the bit engine.
///
/// # Errors
/// Weights of another network or layout, or a precision that bits have not.
pub(crate) fn bits(
    method: binary::Method,
    weights: &Weights,
    engine: &EngineOptions,
    instrument: &InstrumentDescription,
) -> anyhow::Result<BinaryNetwork> {
    if engine.precision() == Precision::Bf16 {
        bail!("--precision bf16: {method} runs on bits and single precision; bf16 is for --engine torch");
    }
    let layout = binary_layout(instrument);
    match &weights.content {
        Content::Packed(network) if network.method() == method && network.layout() == layout => {
            Ok(network.as_ref().clone())
        }
        Content::Packed(network) => bail!(
            "{}: holds {} for {}, expected {method} for {layout}",
            weights.place,
            network.method(),
            network.layout()
        ),
        Content::Tensors(tensors) => {
            BinaryNetwork::from_tensors(tensors, method, layout).with_context(|| weights.place.clone())
        }
    }
}

/// The transformer of a method on fused float kernels.
///
/// # Errors
/// Weights of another network or width, or a precision that this CPU has not.
pub(crate) fn floats(
    name: &str,
    weights: &Weights,
    engine: &EngineOptions,
    instrument: &InstrumentDescription,
) -> anyhow::Result<MstNetwork> {
    let bands = instrument.bands();
    if let Some(card) = weights.card.as_ref().filter(|card| card.width != bands) {
        bail!(
            "{}: its card says a width of {}, and the native engine runs networks as wide as the cube ({bands} bands); \
             use --engine torch",
            weights.place,
            card.width
        );
    }
    let variant = Variant::from_name(refinement(name).1).expect("a network is one or the other");
    let layout = float_layout(name, instrument);
    let network = MstNetwork::from_tensors(weights.tensors()?, variant, layout, bands, instrument.step())
        .with_context(|| weights.place.clone())?;
    let precision = match engine.precision() {
        Precision::F32 => float::Precision::F32,
        Precision::Bf16 => float::Precision::Bf16,
    };
    network.with_precision(precision).context("--precision bf16")
}

#[cfg(feature = "torch")]
fn on_torch(
    name: &str,
    weights: &Weights,
    engine: &EngineOptions,
    instrument: &InstrumentDescription,
) -> anyhow::Result<Box<dyn Reconstructor>> {
    let network = torch_network(name, weights, engine, instrument, cassi_nets::arch::MaskShift::Level)?;
    let (listing, first) = (listing(name), first(name));
    Ok(Box::new(crate::torch::TorchReconstructor::new(network, &listing, first, weights.label())))
}

/// A network's twin on libtorch.
///
/// # Errors
/// A device that is not there, or weights of another network.
#[cfg(feature = "torch")]
pub(crate) fn torch_network(
    name: &str,
    weights: &Weights,
    engine: &EngineOptions,
    instrument: &InstrumentDescription,
    shift: cassi_nets::arch::MaskShift,
) -> anyhow::Result<crate::torch::TorchNetwork> {
    let width = weights.card.as_ref().map_or(instrument.bands(), |card| card.width);
    let tensors = weights.tensors()?;
    crate::torch::TorchNetwork::start(name, instrument, width, shift, tensors, engine)
        .with_context(|| format!("{name} from {}", weights.place))
}

#[cfg(not(feature = "torch"))]
fn on_torch(
    name: &str,
    _: &Weights,
    _: &EngineOptions,
    _: &InstrumentDescription,
) -> anyhow::Result<Box<dyn Reconstructor>> {
    unreachable!("{name}: an engine that this build has not is refused when options are resolved")
}

/// The layout of the binarized networks that an instrument calls for.
pub(crate) fn binary_layout(instrument: &InstrumentDescription) -> binary::Layout {
    match instrument.network_input {
        InputConvention::Unsheared { .. } => binary::Layout::Standard,
        InputConvention::Normalised { .. } => binary::Layout::TsaReal,
    }
}

/// The layout of a method's transformer for an instrument.
pub(crate) fn float_layout(name: &str, instrument: &InstrumentDescription) -> float::Layout {
    if takes_snapshots(name, instrument) { float::Layout::TsaReal } else { float::Layout::Standard }
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

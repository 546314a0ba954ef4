//! `cassi network`: a network's tensors by name, and its bare output for a bare input, for conformance and debugging.

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use cassi_core::{InstrumentDescription, Mask, Tensor, refinement, shear};
use cassi_infer::binary::{self, BinaryNetwork};
use cassi_infer::float::{self, MaskInput, MaskShift, MstNetwork, Variant};
use cassi_io::{Metadata, Source};
use ndarray::{Array3, Array4, ArrayD, ArrayViewD, Axis, Ix2, Ix3};

use super::Outcome;
use crate::context::Context;
use crate::engine::{Engine, EngineOptions};
use crate::output::print_line;
use crate::weights::Weights;
use crate::{inputs, registry};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  cassi network list --method mst-s
  cassi network run --method bisrnet --weights bisrnet_sim.pth --input H.npy --mask mask.npy -o out.npy
  cassi network run --method mst-s --weights mst_s.pth --input H.npy --mask mask.npy --set mask_shift=official -o out.npy
  cassi network run --method bisrnet --instrument tsa-real --weights real.pth --input y.npy -o out.npy
  cassi network run --method mst-s --weights mst_s.pth --engine torch --input H.npy --mask mask.npy -o twin.npy

`run` feeds a network what it takes, in the form it takes it: features [n,band,row,column], or for the real instrument
snapshots [n,row,column]. For work with snapshots there is `cassi reconstruct`.")]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Print names and shapes of a network's tensors
    #[command(after_help = "Examples:\n  cassi network list --method bisrnet --json")]
    List {
        /// The network
        #[arg(long, value_name = "NAME")]
        method: String,
        /// The instrument that it is for
        #[arg(long, value_name = "NAME|FILE.toml", default_value = "standard")]
        instrument: String,
    },
    /// Run a network on its bare input
    #[command(
        after_help = "Examples:\n  cassi network run --method mst-s --weights w.pth --input H.npy --mask m.npy -o out.npy"
    )]
    Run {
        /// The network
        #[arg(long, value_name = "NAME")]
        method: String,
        /// Its weights: a file (.safetensors, .pth) or the name of weights that ship
        #[arg(long, value_name = "FILE")]
        weights: PathBuf,
        /// Features [n,band,row,column] or [band,row,column]; for the real instrument snapshots [n,row,column]
        #[arg(long, value_name = "FILE")]
        input: String,
        /// The mask: [row,column] (repeated over bands), [band,row,column] or [n,band,row,column]; for MST the last
        /// two may be sheared already
        #[arg(long, value_name = "FILE")]
        mask: Option<String>,
        /// The instrument that it is for [default: as the weights' card says, else standard]
        #[arg(long, value_name = "NAME|FILE.toml")]
        instrument: Option<String>,
        /// mask_shift=level (default) or mask_shift=official (MST)
        #[arg(long = "set", value_name = "KEY=VALUE", value_parser = registry::parse_setting)]
        settings: Vec<(String, String)>,
        #[command(flatten)]
        engine: EngineOptions,
        /// Where to write the output [n,band,row,column]
        #[arg(short, long, value_name = "FILE")]
        output: PathBuf,
    },
}

/// What `run` was asked for.
struct RunArgs {
    method: String,
    weights: PathBuf,
    input: String,
    mask: Option<String>,
    instrument: Option<String>,
    settings: Vec<(String, String)>,
    engine: EngineOptions,
    output: PathBuf,
}

pub(crate) fn run(args: Args, context: &Context) -> anyhow::Result<Outcome> {
    match args.action {
        Action::List { method, instrument } => {
            list(&method, &inputs::instrument_by_name(&instrument)?, context)
        }
        Action::Run { method, weights, input, mask, instrument, settings, engine, output } => run_network(
            &RunArgs { method, weights, input, mask, instrument, settings, engine, output },
            context,
        ),
    }
}

fn run_network(args: &RunArgs, context: &Context) -> anyhow::Result<Outcome> {
    let shift = mask_shift(&args.settings)?;
    let source = Source::parse(&args.input);
    inputs::refuse_overwriting(&args.output, &[&source.path, &args.weights])?;
    if !registry::networks().iter().any(|network| network.name == args.method) {
        return Err(unknown(&args.method));
    }
    let weights = Weights::open(&args.weights)?;
    let name = args.instrument.as_deref().or(weights.instrument()).unwrap_or("standard");
    let instrument = inputs::instrument_by_name(name)?;
    weights.check(&args.method, &instrument)?;
    let input = inputs::array(&source, context)?.value;
    let mask = match &args.mask {
        Some(file) => Some(inputs::array(&Source::parse(file), context)?.value),
        None => None,
    };
    let network = Network::load(&args.method, &weights, &args.engine, &instrument, shift)?;
    let items = network.items(input, &instrument)?;
    let mut outputs = Vec::new();
    for (index, item) in items.iter().enumerate() {
        outputs.push(network.run(item, mask_of(mask.as_ref(), index)?, shift, &instrument)?);
    }
    let views: Vec<_> = outputs.iter().map(|output| output.view().insert_axis(Axis(0))).collect();
    let all: Array4<f32> = ndarray::concatenate(Axis(0), &views)?;
    cassi_io::write_array(&args.output, "output", all.view().into_dyn(), &Metadata::default())?;
    if context.json {
        context.print_json(&serde_json::json!({ "output": args.output, "shape": all.shape() }))?;
    } else {
        context.say(format!("{}: {:?}", args.output.display(), all.shape()));
    }
    Ok(Outcome::Done)
}

fn mask_shift(settings: &[(String, String)]) -> anyhow::Result<MaskShift> {
    let mut shift = MaskShift::Level;
    for (key, value) in settings {
        shift = match (key.as_str(), value.as_str()) {
            ("mask_shift", "level") => MaskShift::Level,
            ("mask_shift", "official") => MaskShift::Official,
            ("mask_shift", _) => bail!("--set mask_shift={value}: expected level or official"),
            _ => bail!("--set {key}: the only setting is mask_shift"),
        };
    }
    Ok(shift)
}

/// The mask of item `index`: one for all, or one each.
fn mask_of(mask: Option<&ArrayD<f32>>, index: usize) -> anyhow::Result<Option<ArrayViewD<'_, f32>>> {
    let Some(mask) = mask else { return Ok(None) };
    if mask.ndim() < 4 {
        return Ok(Some(mask.view()));
    }
    let item = if mask.shape()[0] == 1 { 0 } else { index };
    if item >= mask.shape()[0] {
        bail!("--mask has {} items, expected 1 or one for each of the input", mask.shape()[0]);
    }
    Ok(Some(mask.index_axis(Axis(0), item)))
}

fn unknown(method: &str) -> anyhow::Error {
    let names: Vec<String> = registry::networks().iter().map(|network| network.name.to_string()).collect();
    let near = crate::config::nearest(method, names.iter().cloned());
    anyhow::anyhow!("`{method}` is no network{near}; they are {}", names.join(", "))
}

fn list(method: &str, instrument: &InstrumentDescription, context: &Context) -> anyhow::Result<Outcome> {
    let tensors = if let Some(variant) = Variant::from_name(refinement(method).1) {
        MstNetwork::expected_tensors(variant, registry::float_layout(method, instrument), instrument.bands())
    } else if let Some(method) = binary::Method::from_name(method) {
        binary::expected_tensors(method)
    } else {
        return Err(unknown(method));
    };
    if context.json {
        let all: Vec<_> =
            tensors.iter().map(|(name, shape)| serde_json::json!({ "name": name, "shape": shape })).collect();
        context.print_json(&serde_json::Value::Array(all))?;
        return Ok(Outcome::Done);
    }
    for (name, shape) in &tensors {
        print_line!("{name:<64} {shape:?}")?;
    }
    Ok(Outcome::Done)
}

/// A network of either engine.
enum Network {
    Float(Box<MstNetwork>),
    Bits(Box<BinaryNetwork>),
    #[cfg(feature = "torch")]
    Torch(crate::torch::TorchNetwork),
}

impl Network {
    fn load(
        method: &str,
        weights: &Weights,
        engine: &EngineOptions,
        instrument: &InstrumentDescription,
        shift: MaskShift,
    ) -> anyhow::Result<Self> {
        if engine.resolve()? == Engine::Torch {
            return Self::on_torch(method, weights, engine, instrument, shift);
        }
        match binary::Method::from_name(method) {
            Some(method) => Ok(Self::Bits(Box::new(registry::bits(method, weights, engine, instrument)?))),
            None => Ok(Self::Float(Box::new(registry::floats(method, weights, engine, instrument)?))),
        }
    }

    #[cfg(feature = "torch")]
    fn on_torch(
        method: &str,
        weights: &Weights,
        engine: &EngineOptions,
        instrument: &InstrumentDescription,
        shift: MaskShift,
    ) -> anyhow::Result<Self> {
        let shift = match shift {
            MaskShift::Level => cassi_nets::arch::MaskShift::Level,
            MaskShift::Official => cassi_nets::arch::MaskShift::Official,
        };
        Ok(Self::Torch(registry::torch_network(method, weights, engine, instrument, shift)?))
    }

    #[cfg(not(feature = "torch"))]
    fn on_torch(
        _: &str,
        _: &Weights,
        _: &EngineOptions,
        _: &InstrumentDescription,
        _: MaskShift,
    ) -> anyhow::Result<Self> {
        unreachable!("an engine that this build has not is refused when options are resolved")
    }

    fn takes_snapshots(&self) -> bool {
        match self {
            Self::Float(network) => network.layout() == float::Layout::TsaReal,
            Self::Bits(network) => network.layout() == binary::Layout::TsaReal,
            #[cfg(feature = "torch")]
            Self::Torch(network) => network.layout() == cassi_nets::arch::Layout::TsaReal,
        }
    }

    /// The items of a batch: features `[band, row, column]`, or `[1, row, column]` for snapshots.
    fn items(
        &self,
        input: ArrayD<f32>,
        instrument: &InstrumentDescription,
    ) -> anyhow::Result<Vec<Array3<f32>>> {
        let shape = input.shape().to_vec();
        let planes = if self.takes_snapshots() { 1 } else { instrument.bands() };
        let batch = match (input.ndim(), self.takes_snapshots()) {
            (4, _) => input,
            (2, true) => input.insert_axis(Axis(0)).insert_axis(Axis(0)),
            (3, true) => input.insert_axis(Axis(1)),
            (3, false) => input.insert_axis(Axis(0)),
            _ => bail!("--input has shape {shape:?}, expected [n, {planes}, row, column]"),
        };
        if batch.shape()[1] != planes || batch.is_empty() {
            bail!("--input has shape {shape:?}, expected [n, {planes}, row, column]");
        }
        Ok(batch
            .outer_iter()
            .map(|item| item.into_dimensionality::<Ix3>().expect("three axes are left").to_owned())
            .collect())
    }

    fn run(
        &self,
        item: &Array3<f32>,
        mask: Option<ArrayViewD<'_, f32>>,
        shift: MaskShift,
        instrument: &InstrumentDescription,
    ) -> anyhow::Result<Array3<f32>> {
        let (bands, step) = (instrument.bands(), instrument.step());
        let features = if self.takes_snapshots() {
            let plane = item.index_axis(Axis(0), 0);
            if shear::unsheared_columns(plane.ncols(), bands, step).is_none() {
                bail!("--input has {} columns, expected more than {}", plane.ncols(), step * (bands - 1));
            }
            shear::unshear_snapshot(plane, bands, step)
        } else {
            item.clone()
        };
        let (_, rows, columns) = features.dim();
        match self {
            #[cfg(feature = "torch")]
            Self::Torch(network) => {
                let mask = network.mask_from(mask, columns, instrument)?;
                let input = if self.takes_snapshots() { item } else { &features };
                network.run(input.view(), mask, [rows, columns]).map_err(anyhow::Error::msg)
            }
            Self::Float(network) => {
                let planes = mask.as_ref().and_then(|m| m.view().into_dimensionality::<Ix3>().ok());
                let plane = mask.as_ref().and_then(|m| m.view().into_dimensionality::<Ix2>().ok());
                let input = match (plane, planes) {
                    (Some(plane), _) => Some(MaskInput::Plain(plane)),
                    (_, Some(stack)) if stack.dim().2 == columns => Some(MaskInput::Bands(stack)),
                    (_, Some(stack)) => Some(MaskInput::Sheared(stack)),
                    _ => None,
                };
                let prepared = network.prepare_mask(input, rows, columns, shift)?;
                Ok(network.run(features.view(), &prepared, &mut float::Workspace::default())?)
            }
            Self::Bits(network) => {
                let mut cube = vec![0.0; bands * rows * columns];
                let mut workspace = binary::Workspace::default();
                if self.takes_snapshots() {
                    let snapshot = item.as_slice().expect("owned items are in C order");
                    network.run(
                        binary::Input::Real { snapshot, rows, columns },
                        &mut workspace,
                        &mut cube,
                    )?;
                } else {
                    let mask = mask.context("this network takes a mask; pass it with --mask FILE")?;
                    let tensor = Tensor::new(mask.shape().to_vec(), mask.iter().copied().collect())?;
                    let mask: Mask = cassi_optics::recognise_mask(&tensor, instrument)?.mask;
                    if mask.shape() != [rows, columns] {
                        bail!(
                            "--mask has shape {:?}, expected [{rows}, {columns}] (row, column)",
                            mask.shape()
                        );
                    }
                    let features = features.as_slice().expect("owned features are in C order");
                    let input = binary::Input::Standard { features, mask: mask.as_slice(), rows, columns };
                    network.run(input, &mut workspace, &mut cube)?;
                }
                Ok(Array3::from_shape_vec((bands, rows, columns), cube)?)
            }
        }
    }
}

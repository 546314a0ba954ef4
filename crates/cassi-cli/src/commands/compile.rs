//! `cassi compile`: a trained binarized network as packed bits, and what it weighs.

use std::path::PathBuf;

use anyhow::Context as _;
use cassi_infer::binary::{self, SizeReport};

use super::Outcome;
use crate::context::Context;
use crate::weights::Weights;
use crate::{inputs, registry};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  cassi compile --method bisrnet bisrnet_sim.safetensors -o bisrnet.cbin
  cassi compile --method bisrnet --instrument tsa-real bisrnet_real.pth -o bisrnet-real.cbin --json

docs/bit-engine.md describes the format.")]
pub(crate) struct Args {
    /// The binarized network that the weights are for
    #[arg(long, value_name = "NAME")]
    method: String,
    /// The instrument that it was trained for [default: as the weights' card says, else standard]
    #[arg(long, value_name = "NAME|FILE.toml")]
    instrument: Option<String>,
    /// The checkpoint (.safetensors, .pth)
    weights: PathBuf,
    /// Where to write the packed network
    #[arg(short, long, value_name = "FILE.cbin")]
    output: PathBuf,
}

pub(crate) fn run(args: Args, context: &Context) -> anyhow::Result<Outcome> {
    let method = binary::Method::from_name(&args.method).with_context(|| {
        let names = binary::Method::ALL.map(binary::Method::name);
        let near = crate::config::nearest(&args.method, names.iter().map(ToString::to_string));
        format!("`{}` is no binarized network{near}; they are {}", args.method, names.join(", "))
    })?;
    inputs::refuse_overwriting(&args.output, &[&args.weights])?;
    let weights = Weights::open(&args.weights)?;
    let name = args.instrument.as_deref().or(weights.instrument()).unwrap_or("standard");
    let instrument = inputs::instrument_by_name(name)?;
    weights.check(method.name(), &instrument)?;
    let layout = registry::binary_layout(&instrument);
    let packed = binary::compile(weights.tensors()?, method, layout)
        .with_context(|| args.weights.display().to_string())?;
    let size = SizeReport::of(&packed)?;
    cassi_io::write_bytes(&args.output, &packed)?;
    if context.json {
        context.print_json(&serde_json::to_value(&size)?)?;
    } else {
        let kib = |bytes: usize| bytes as f64 / 1024.0;
        context.say(format!(
            "{}: {:.0} KiB ({:.0} KiB of binary weights, {:.0} KiB of floats); the float checkpoint has {:.0} KiB, \
             and counting every parameter as a bit, as the paper does, gives {:.0} KiB",
            args.output.display(),
            kib(size.file_bytes),
            kib(size.binary_weights_bits / 8),
            kib(size.float_bytes),
            kib(size.float_checkpoint_bytes),
            kib(size.paper_claim),
        ));
    }
    Ok(Outcome::Done)
}

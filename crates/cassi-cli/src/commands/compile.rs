//! `cassi compile`: a trained binarized network as packed bits, and what it weighs.

use std::path::PathBuf;

use anyhow::Context as _;
use cassi_infer::binary::{self, SizeReport};

use super::Outcome;
use crate::context::Context;
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
    /// The instrument that it was trained for
    #[arg(long, value_name = "NAME|FILE.toml", default_value = "standard")]
    instrument: String,
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
    let layout = registry::binary_layout(&inputs::instrument_by_name(&args.instrument)?);
    let tensors = registry::checkpoint(&args.weights)?;
    let packed =
        binary::compile(&tensors, method, layout).with_context(|| args.weights.display().to_string())?;
    let size = SizeReport::of(&packed)?;
    cassi_io::write_bytes(&args.output, &packed)?;
    if context.json {
        context.print_json(&serde_json::to_value(&size)?);
    } else {
        let kib = |bytes: usize| bytes as f64 / 1024.0;
        context.say(format!(
            "{}: {:.0} KiB ({:.0} KiB of binary weights, {:.0} KiB of floats); the float checkpoint has {:.0} KiB",
            args.output.display(),
            kib(size.file_bytes),
            kib(size.binary_weights_bits / 8),
            kib(size.float_bytes),
            kib(size.float_checkpoint_bytes),
        ));
    }
    Ok(Outcome::Done)
}

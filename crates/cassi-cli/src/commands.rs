//! The sub-commands, one module each.

pub(crate) mod bench;
pub(crate) mod compare;
pub(crate) mod compile;
pub(crate) mod completions;
pub(crate) mod convert;
pub(crate) mod datasets;
pub(crate) mod demo;
pub(crate) mod evaluate;
pub(crate) mod info;
pub(crate) mod instrument;
pub(crate) mod lift;
pub(crate) mod mask;
pub(crate) mod methods;
pub(crate) mod network;
mod quality;
pub(crate) mod reconstruct;
pub(crate) mod render;
pub(crate) mod scene;
pub(crate) mod simulate;
mod stream;
#[cfg(feature = "torch")]
pub(crate) mod train;

use crate::context::Context;

/// How a command ended, errors apart.
pub(crate) enum Outcome {
    /// All went well.
    Done,
    /// The command did its work, and what it checked is not right.
    CheckFailed,
    /// A signal ended it early, with everything saved that is needed to go on.
    #[cfg(feature = "torch")]
    Stopped(i32),
}

/// What `cassi` can do.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Take a snapshot of a cube with a simulated camera
    Simulate(simulate::Args),
    /// Reconstruct the cube behind a snapshot
    Reconstruct(reconstruct::Args),
    /// Score an estimate against the truth, in every convention in use
    Evaluate(evaluate::Args),
    /// Draw figures, tables and an offline page that compare methods
    Compare(compare::Args),
    /// Turn a cube, snapshot or mask into a picture
    Render(render::Args),
    /// Convert between file formats
    Convert(convert::Args),
    /// Show what is in a file
    Info(info::Args),
    /// Make a procedural scene, or lift photographs to spectra
    Scene(scene::Args),
    /// Make masks
    Mask(mask::Args),
    /// Explain an instrument: which voxels reach a pixel, which convention a mask file has
    Instrument(instrument::Args),
    /// List the methods, with source, parameters and weights
    Methods(methods::Args),
    /// Say which public data sets go where, and check them
    Datasets(datasets::Args),
    /// Simulate, reconstruct and report three scenes
    Demo(demo::Args),
    /// Measure speed, with its references in the same run
    Bench(bench::Args),
    /// Pack a trained binarized network into bits
    Compile(compile::Args),
    /// Train a network (builds with feature `torch`)
    #[cfg(feature = "torch")]
    Train(train::Args),
    /// Print a network's tensors, or run it on its bare input
    Network(network::Args),
    /// Write shell completions or man pages
    Completions(completions::Args),
}

/// Runs one command.
pub(crate) fn run(command: Command, context: &Context) -> anyhow::Result<Outcome> {
    match command {
        Command::Simulate(args) => simulate::run(args, context),
        Command::Reconstruct(args) => reconstruct::run(args, context),
        Command::Evaluate(args) => evaluate::run(args, context),
        Command::Compare(args) => compare::run(args, context),
        Command::Render(args) => render::run(args, context),
        Command::Convert(args) => convert::run(args, context),
        Command::Info(args) => info::run(args, context),
        Command::Scene(args) => scene::run(args, context),
        Command::Mask(args) => mask::run(args, context),
        Command::Instrument(args) => instrument::run(args, context),
        Command::Methods(args) => methods::run(args, context),
        Command::Datasets(args) => datasets::run(args, context),
        Command::Demo(args) => demo::run(args, context),
        Command::Bench(args) => bench::run(args, context),
        Command::Network(args) => network::run(args, context),
        Command::Compile(args) => compile::run(args, context),
        #[cfg(feature = "torch")]
        Command::Train(args) => train::run(args, context),
        Command::Completions(args) => completions::run(args, context),
    }
}

//! The command line: what every sub-command shares, and the list of sub-commands.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{CommandFactory, FromArgMatches, Parser};

use crate::commands::Command;
use crate::config;
use crate::context::Context;

/// Snapshot spectral imaging from mask to report: simulate CASSI cameras, reconstruct, evaluate, compare.
#[derive(Debug, Parser)]
#[command(
    name = "cassi",
    version,
    max_term_width = 100,
    after_help = "\
Examples:
  cassi demo -o demo                                  three scenes, simulated, reconstructed, reported
  cassi simulate --scene scene.h5 -o y.h5             a snapshot of a cube
  cassi reconstruct --snapshot y.h5 --method gap-tv -o x.h5
  cassi evaluate --truth scene.h5 --estimate x.h5
  cassi compare --truth scene.h5 --estimate gap-tv=x.h5 --snapshot y.h5 -o report

`cassi COMMAND --help` has examples of each command."
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options of every sub-command.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Common options")]
pub(crate) struct Common {
    /// Print the result as JSON on standard output
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Number of threads [default: one a core]; results do not depend on it
    #[arg(long, global = true, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) threads: Option<u16>,
    /// Seed of everything random: same seed, same bytes
    #[arg(long, global = true, value_name = "N", default_value_t = 0)]
    pub(crate) seed: u64,
    /// Say nothing but errors
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub(crate) quiet: bool,
    /// Say more: settings taken by default, steps of the work
    #[arg(short, long, global = true)]
    pub(crate) verbose: bool,
    /// Take options from a TOML file: a table for each command, keys named like its options; options on the
    /// command line come first
    #[arg(long, global = true, value_name = "FILE.toml")]
    pub(crate) config: Option<PathBuf>,
}

/// Why the command line could not be understood.
pub(crate) enum ParseError {
    /// Wrong usage, or a request for help.
    Clap(clap::Error),
    /// A configuration file that cannot be used.
    Config(anyhow::Error),
}

/// Parses the arguments, completed from the configuration file they may name.
pub(crate) fn parse(arguments: Vec<OsString>) -> Result<(Cli, Context), ParseError> {
    let arguments = config::expand(&Cli::command(), arguments).map_err(ParseError::Config)?;
    let matches = Cli::command().try_get_matches_from(&arguments).map_err(ParseError::Clap)?;
    let cli = Cli::from_arg_matches(&matches).map_err(ParseError::Clap)?;
    let context = Context::new(&cli.common, &arguments);
    Ok((cli, context))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_has_examples() {
        for command in Cli::command().get_subcommands() {
            let help = command.clone().render_long_help().to_string();
            assert!(help.contains("Examples:"), "`cassi {} --help` has no examples", command.get_name());
        }
    }
}

//! `cassi completions`: shell completions and man pages from the command line's own description.

use std::io::Write;
use std::path::PathBuf;

use clap::CommandFactory;

use super::Outcome;
use crate::cli::Cli;
use crate::context::Context;
use crate::output;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  cassi completions bash > ~/.local/share/bash-completion/completions/cassi
  cassi completions --man man1                          (then: man -l man1/cassi-scene-lift.1)")]
pub(crate) struct Args {
    /// Print the completions of this shell
    #[arg(required_unless_present = "man")]
    shell: Option<clap_complete::Shell>,
    /// Write a man page for every command into this folder
    #[arg(long, value_name = "FOLDER")]
    man: Option<PathBuf>,
}

pub(crate) fn run(args: Args, context: &Context) -> anyhow::Result<Outcome> {
    if let Some(shell) = args.shell {
        // Into memory first: its generator takes no refused write for an answer.
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut Cli::command(), "cassi", &mut script);
        output::with_stdout(|out| out.write_all(&script))?;
    }
    if let Some(folder) = args.man {
        let mut root = Cli::command();
        root.build();
        let mut pages = Vec::new();
        collect(&root, "cassi".into(), &mut pages);
        for (name, command) in &pages {
            let mut page = Vec::new();
            clap_mangen::Man::new(command.clone()).title(name.clone()).render(&mut page)?;
            cassi_io::write_bytes(&folder.join(format!("{name}.1")), &page)?;
        }
        if context.json {
            let names: Vec<_> = pages.iter().map(|(name, _)| format!("{name}.1")).collect();
            context.print_json(&serde_json::json!({ "folder": folder, "pages": names }))?;
        } else {
            context.say(format!("{}: {} man pages", folder.display(), pages.len()));
        }
    }
    Ok(Outcome::Done)
}

/// A command and all commands in it, each with the name of its page, e.g. `cassi-scene-make`.
fn collect(command: &clap::Command, name: String, pages: &mut Vec<(String, clap::Command)>) {
    for inner in command.get_subcommands().filter(|c| c.get_name() != "help") {
        collect(inner, format!("{name}-{}", inner.get_name()), pages);
    }
    pages.push((name, command.clone()));
}

//! `cassi completions`: shell completions and man pages from the command line's own description.

use std::path::PathBuf;

use clap::CommandFactory;

use super::Outcome;
use crate::cli::Cli;
use crate::context::Context;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  cassi completions bash > ~/.local/share/bash-completion/completions/cassi
  cassi completions --man man1")]
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
        clap_complete::generate(shell, &mut Cli::command(), "cassi", &mut std::io::stdout());
    }
    if let Some(folder) = args.man {
        let mut root = Cli::command();
        root.build();
        let mut pages = vec![("cassi.1".to_string(), root.clone())];
        for command in root.get_subcommands().filter(|c| c.get_name() != "help") {
            pages.push((format!("cassi-{}.1", command.get_name()), command.clone()));
        }
        for (name, command) in &pages {
            let mut page = Vec::new();
            clap_mangen::Man::new(command.clone()).render(&mut page)?;
            cassi_io::write_bytes(&folder.join(name), &page)?;
        }
        context.say(format!("{}: {} man pages", folder.display(), pages.len()));
    }
    Ok(Outcome::Done)
}

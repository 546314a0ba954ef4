//! `cassi info`: every variable of a file, with shape, type and range.

use std::path::PathBuf;

use super::Outcome;
use crate::context::Context;
use crate::output::print_line;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  cassi info scene01.mat
  cassi info y.h5 --json
  cassi info bisrnet.pth")]
pub(crate) struct Args {
    /// The files
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

pub(crate) fn run(args: Args, context: &Context) -> anyhow::Result<Outcome> {
    let mut all = Vec::new();
    for file in &args.files {
        let info = cassi_io::inspect(file)?;
        if context.json {
            all.push(serde_json::json!({ "file": file, "info": info }));
            continue;
        }
        print_line!("{}: {}", file.display(), info.format)?;
        let width = info.variables.iter().map(|v| v.name.len()).max().unwrap_or(0).min(60);
        for variable in &info.variables {
            let shape = variable.shape.iter().map(usize::to_string).collect::<Vec<_>>().join(" x ");
            let range =
                variable.range.map(|(low, high)| format!("  {low:.4} .. {high:.4}")).unwrap_or_default();
            let note = variable.note.as_ref().map(|note| format!("  ({note})")).unwrap_or_default();
            let range = match variable.not_finite {
                0 => range,
                n => format!("{range}, {n} not finite"),
            };
            print_line!("  {:<width$}  {:<8} {shape}{range}{note}", variable.name, variable.class)?;
        }
        for (name, value) in &info.attributes {
            print_line!("  @{name} = {value}")?;
        }
        if let Some(instrument) = &info.metadata.instrument {
            print_line!("  instrument:\n{}", indent(instrument))?;
        }
        if let Some(provenance) = &info.metadata.provenance {
            print_line!("  provenance:\n{}", indent(&serde_json::to_string_pretty(provenance)?))?;
        }
    }
    if context.json {
        context.print_json(&serde_json::Value::Array(all))?;
    }
    Ok(Outcome::Done)
}

fn indent(text: &str) -> String {
    text.trim_end().lines().map(|line| format!("    {line}")).collect::<Vec<_>>().join("\n")
}

//! `--config FILE.toml`: options from a file.
//!
//! The file has a table for each sub-command, with keys named like the long options, and in it one for each command of
//! its own (`[scene.make]`); a table `[common]` holds options that every command has. Keys become arguments before the command line is parsed, so they are checked in
//! the same way, and an option that is also on the command line wins.

use std::ffi::OsString;
use std::path::Path;

use anyhow::{Context as _, bail};
use clap::{ArgAction, Command};

/// The arguments, with those from the configuration file put in.
pub(crate) fn expand(root: &Command, arguments: Vec<OsString>) -> anyhow::Result<Vec<OsString>> {
    let Some(path) = config_path(&arguments) else { return Ok(arguments) };
    let text = cassi_io::read_text(Path::new(&path))?;
    let table: toml::Table = text.parse().with_context(|| format!("{}: not TOML", path.to_string_lossy()))?;

    let mut root = root.clone();
    root.build();
    let named = |command: &Command, from: usize| {
        (arguments.iter().enumerate().skip(from))
            .find_map(|(at, argument)| Some((at, command.find_subcommand(argument.to_str()?)?.clone())))
    };
    let Some((mut at, mut command)) = named(&root, 1) else { return Ok(arguments) };
    let file = path.to_string_lossy();
    let empty = toml::Table::new();
    let section = |value: &'_ toml::Value, name: &str| -> anyhow::Result<toml::Table> {
        value.as_table().cloned().with_context(|| format!("{file}: `{name}` must be a table"))
    };
    for key in table.keys() {
        if key != "common" && root.find_subcommand(key).is_none() {
            let names = root.get_subcommands().map(|c| c.get_name().to_string());
            bail!("{file}: table [{key}] is no command{}", nearest(key, names));
        }
    }
    let mut name = command.get_name().to_string();
    let mut options = table.get(&name).map_or(Ok(empty.clone()), |value| section(value, &name))?;
    if command.has_subcommands()
        && let Some((inner_at, inner)) = named(&command, at + 1)
    {
        // Options stand in the table of the command that has them.
        if let Some(key) = options.keys().find(|key| command.find_subcommand(key).is_none()) {
            let names = command.get_subcommands().map(|c| c.get_name().to_string());
            bail!("{file}: [{name}] has no command `{key}`{}", nearest(key, names));
        }
        let inner_name = format!("{name}.{}", inner.get_name());
        options =
            options.get(inner.get_name()).map_or(Ok(empty.clone()), |value| section(value, &inner_name))?;
        (at, command, name) = (inner_at, inner, inner_name);
    }
    let common = table.get("common").map_or(Ok(empty), |value| section(value, "common"))?;

    let given: Vec<String> = arguments.iter().map(|a| a.to_string_lossy().into_owned()).collect();
    let mut inserted = Vec::new();
    for (name, options, optional) in [("common", &common, true), (name.as_str(), &options, false)] {
        for (key, value) in options {
            let long = key.replace('_', "-");
            let Some(arg) = command.get_arguments().find(|a| a.get_long() == Some(&long)) else {
                if optional
                    && root.get_subcommands().any(|c| c.get_arguments().any(|a| a.get_long() == Some(&long)))
                {
                    continue;
                }
                let names = command.get_arguments().filter_map(|a| a.get_long().map(str::to_string));
                bail!("{file}: [{name}] has no option `{key}`{}", nearest(&long, names));
            };
            let flag = format!("--{long}");
            let short = arg.get_short().map(|s| format!("-{s}"));
            let on_command_line = given
                .iter()
                .any(|g| *g == flag || g.starts_with(&format!("{flag}=")) || Some(g) == short.as_ref());
            if !on_command_line {
                push(&mut inserted, &flag, arg.get_action(), value)
                    .with_context(|| format!("{file}: [{name}] {key}"))?;
            }
        }
    }
    let mut expanded = arguments;
    expanded.splice(at + 1..at + 1, inserted);
    Ok(expanded)
}

fn config_path(arguments: &[OsString]) -> Option<OsString> {
    let at =
        arguments.iter().position(|a| a == "--config" || a.to_string_lossy().starts_with("--config="))?;
    match arguments[at].to_string_lossy().strip_prefix("--config=") {
        Some(path) => Some(path.into()),
        None => arguments.get(at + 1).cloned(),
    }
}

fn push(out: &mut Vec<OsString>, flag: &str, action: &ArgAction, value: &toml::Value) -> anyhow::Result<()> {
    match (action, value) {
        (ArgAction::SetTrue, toml::Value::Boolean(on)) => {
            if *on {
                out.push(flag.into());
            }
        }
        (ArgAction::SetTrue, other) => bail!("expected true or false, found {other}"),
        (_, toml::Value::Array(values)) => values.iter().try_for_each(|v| push(out, flag, action, v))?,
        // `set = { iterations = 100 }` is the same as `--set iterations=100`.
        (_, toml::Value::Table(pairs)) => {
            for (key, value) in pairs {
                out.push(format!("{flag}={key}={}", scalar(value)?).into());
            }
        }
        (_, value) => out.push(format!("{flag}={}", scalar(value)?).into()),
    }
    Ok(())
}

fn scalar(value: &toml::Value) -> anyhow::Result<String> {
    Ok(match value {
        toml::Value::String(text) => text.clone(),
        toml::Value::Integer(_) | toml::Value::Float(_) | toml::Value::Boolean(_) => value.to_string(),
        other => bail!("expected a text or a number, found {other}"),
    })
}

/// "; did you mean `x`?" for the candidate nearest in spelling, or nothing if none is near.
pub(crate) fn nearest(name: &str, candidates: impl Iterator<Item = String>) -> String {
    candidates
        .map(|candidate| (strsim::damerau_levenshtein(name, &candidate), candidate))
        .min()
        .filter(|(distance, candidate)| *distance <= (candidate.len() / 2).max(1))
        .map(|(_, candidate)| format!("; did you mean `{candidate}`?"))
        .unwrap_or_default()
}

//! `cassi methods`: every method name, with source, parameters and weights, and what is still missing.

use super::Outcome;
use crate::context::Context;
use crate::output::print_line;
use crate::registry::{self, family_name};
use crate::weights::{self, Entry};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  cassi methods
  cassi methods gap-tv
  cassi methods --json")]
pub(crate) struct Args {
    /// Only this one, with its parameters
    name: Option<String>,
}

pub(crate) fn run(args: Args, context: &Context) -> anyhow::Result<Outcome> {
    if let Some(name) = args.name.as_ref().filter(|name| !registry::names().contains(name)) {
        registry::check_name(name)?;
    }
    let (entries, notes) = weights::entries()?;
    context.say_all(&notes);
    let weights_of = |name: &'static str| entries.iter().filter(move |entry| entry.card.method == name);
    let wanted = |name: &str| args.name.as_deref().is_none_or(|only| only == name);
    let cards: Vec<_> = registry::available().into_iter().filter(|card| wanted(card.name)).collect();
    let networks: Vec<_> = registry::networks().into_iter().filter(|network| wanted(network.name)).collect();
    let missing: Vec<_> = registry::MISSING.iter().filter(|missing| wanted(missing.name)).collect();
    if context.json {
        let mut all: Vec<_> = (cards.iter())
            .map(|card| {
                let parameters: Vec<_> = (card.parameters.iter())
                    .map(
                        |p| serde_json::json!({ "name": p.name, "default": p.default, "meaning": p.meaning }),
                    )
                    .collect();
                serde_json::json!({
                    "name": card.name, "family": family_name(card.family), "available": true,
                    "summary": card.summary, "source": card.source, "weights": card.weights,
                    "parameters": parameters,
                })
            })
            .collect();
        all.extend(networks.iter().map(|n| {
            let weights: Vec<_> = weights_of(n.name)
                .map(|entry| serde_json::json!({ "place": entry.place.to_string(), "card": entry.card }))
                .collect();
            serde_json::json!({
                "name": n.name, "family": family_name(n.family), "available": true, "summary": n.summary,
                "source": n.source, "weights": weights,
            })
        }));
        all.extend(missing.iter().map(|m| {
            serde_json::json!({
                "name": m.name, "family": family_name(m.family), "available": false,
                "source": m.source, "reason": m.reason,
            })
        }));
        context.print_json(&serde_json::Value::Array(all))?;
        return Ok(Outcome::Done);
    }
    for card in &cards {
        print_line!("{:<14} {:<15} {}", card.name, family_name(card.family), card.summary)?;
        print_line!("{:<30} {}", "", card.source)?;
        if let Some(weights) = &card.weights {
            print_line!("{:<30} weights: {weights}", "")?;
        }
        for p in &card.parameters {
            print_line!("{:<30} --set {}={:<8} {}", "", p.name, p.default, p.meaning)?;
        }
    }
    for n in &networks {
        print_line!("{:<14} {:<15} {}", n.name, family_name(n.family), n.summary)?;
        print_line!("{:<30} {}", "", n.source)?;
        let mut none = true;
        for Entry { card, place } in weights_of(n.name) {
            none = false;
            let score = (card.metrics.as_ref())
                .map(|m| {
                    format!(", psnr_unit_peak {:.2} on {} scenes", m.mean.psnr_unit_peak, m.scenes.len())
                })
                .unwrap_or_default();
            print_line!(
                "{:<30} weights: {} for `{}`, {}{score} ({place})",
                "",
                card.name,
                card.instrument,
                card.mask
            )?;
            if let Some(limits) = &card.limits {
                print_line!("{:<30}          {limits}", "")?;
            }
        }
        if none {
            print_line!("{:<30} weights: none here; pass a checkpoint with --weights FILE", "")?;
        }
    }
    for m in &missing {
        print_line!("{:<14} {:<15} missing: {}", m.name, family_name(m.family), m.reason)?;
        print_line!("{:<30} {}", "", m.source)?;
    }
    Ok(Outcome::Done)
}

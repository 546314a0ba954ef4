//! `report.html`: one file that needs nothing else, made of a template, a style sheet, a script and the data as JSON.

use cassi_core::{
    Cube,
    colour::{Renderer, wavelength_to_rgb},
};
use rayon::prelude::*;
use serde_json::{Value, json};

use crate::{
    Comparison, Row,
    codec::{Packed, binned, plan},
    figures::method_colour,
    picture::viridis_table,
    tables,
};

const TEMPLATE: &str = include_str!("../assets/page.html");
const STYLE: &str = include_str!("../assets/page.css");
const SCRIPT: &str = include_str!("../assets/page.js");

/// JSON that may stand inside a script element: no `<`, no line separators that old parsers trip over.
fn embedded(value: &Value) -> String {
    let text = value.to_string();
    text.replace('<', "\\u003c").replace('\u{2028}', "\\u2028").replace('\u{2029}', "\\u2029")
}

fn hex(rgb: [u8; 3]) -> String {
    format!("#{:02x}{:02x}{:02x}", rgb[0], rgb[1], rgb[2])
}

fn table(rows: &[Row]) -> Value {
    let (metrics, lines) = (tables::metrics(rows), tables::lines(rows));
    let columns: Vec<Value> = (metrics.iter())
        .map(|m| json!({"key": m.key, "unit": m.unit, "digits": m.digits, "higher": m.higher}))
        .collect();
    let number = |v: &Option<f64>| match v {
        Some(v) if v.is_infinite() => json!(if *v > 0.0 { "inf" } else { "-inf" }),
        Some(v) => json!(v),
        None => Value::Null,
    };
    let body: Vec<Value> = (lines.iter())
        .map(|line| {
            let best: Vec<bool> =
                metrics.iter().enumerate().map(|(i, m)| tables::is_best(&lines, line, i, m)).collect();
            let values: Vec<Value> = line.values.iter().map(number).collect();
            json!({"scene": line.scene, "method": line.method, "values": values, "best": best})
        })
        .collect();
    json!({"columns": columns, "lines": body})
}

fn scene(
    comparison: &Comparison,
    renderer: &Renderer,
    points: &[[usize; 2]],
    bits: u32,
    block: usize,
) -> Value {
    let cubes: Vec<(&str, &Cube)> = comparison.cubes().collect();
    let packed: Vec<Packed> =
        cubes.par_iter().map(|(_, cube)| Packed::new(binned(cube, block).view(), bits)).collect();
    let has_truth = comparison.truth.is_some();
    let images: Vec<Value> = (cubes.iter().zip(packed).enumerate())
        .map(|(i, ((name, _), packed))| {
            let method = i.checked_sub(usize::from(has_truth));
            let note = method.and_then(|m| comparison.estimates[m].note.clone());
            let colour = method.map(|m| {
                let c = method_colour(m);
                hex([c.0, c.1, c.2])
            });
            json!({"name": name, "truth": method.is_none(), "colour": colour, "note": note,
                   "error": packed.half_step(), "packed": packed})
        })
        .collect();
    let snapshot = comparison.snapshot.as_ref().map(|s| {
        let planes = s.view().insert_axis(ndarray::Axis(0));
        json!({"name": "snapshot", "packed": Packed::new(planes, 12)})
    });
    let nm = comparison.reference().wavelengths().nm();
    json!({
        "title": comparison.title,
        "rows": comparison.reference().rows(),
        "columns": comparison.reference().columns(),
        "block": block,
        "nm": nm,
        "band_colours": nm.iter().map(|&nm| wavelength_to_rgb(nm)).collect::<Vec<_>>(),
        "weights": renderer.weights(),
        "rendering": renderer.describe(),
        "points": points,
        "images": images,
        "snapshot": snapshot,
        "provenance": comparison.provenance,
    })
}

/// The whole page. `views` holds the renderer and the points of every scene.
pub(crate) fn page(scenes: &[&Comparison], rows: &[Row], views: &[(Renderer, Vec<[usize; 2]>)]) -> String {
    let values = scenes.iter().flat_map(|s| s.cubes().map(|(_, c)| c.as_slice().len())).sum();
    let (bits, block) = plan(values);
    let data = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "viridis": viridis_table().to_vec(),
        "table": table(rows),
        "scenes": scenes.iter().zip(views)
            .map(|(s, (renderer, points))| scene(s, renderer, points, bits, block)).collect::<Vec<_>>(),
    });
    // Data goes in last: whatever it holds is not searched for place-holders again.
    TEMPLATE.replace("{{style}}", STYLE).replace("{{script}}", SCRIPT).replacen(
        "{{data}}",
        &embedded(&data),
        1,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn titles_cannot_leave_the_script_element() {
        let hostile = json!({"title": "</script><script>alert(1)</script><!-- {{style}} \u{2028}"});
        let text = embedded(&hostile);
        assert!(!text.contains('<') && !text.contains('\u{2028}'));
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), hostile);
    }

    #[test]
    fn nothing_is_fetched() {
        for part in [TEMPLATE, STYLE, SCRIPT] {
            for word in ["src=", "@import", "url(http", "fetch(", "XMLHttpRequest", "https://"] {
                assert!(!part.contains(word), "{word}");
            }
        }
        assert_eq!(TEMPLATE.matches("{{").count(), 3);
        assert!(!STYLE.contains("{{") && !SCRIPT.contains("{{"));
    }
}

//! The table of figures: Markdown, CSV, LaTeX. Every column bears the name of its convention.

use std::fmt::Write;

use cassi_core::metrics::Scores;

use crate::Row;

/// One column.
pub(crate) struct Metric {
    /// Published name, as in `cassi evaluate --json`.
    pub(crate) key: &'static str,
    /// Unit, or empty.
    pub(crate) unit: &'static str,
    /// Digits after the point in tables for people; CSV has all of them.
    pub(crate) digits: usize,
    /// Whether more is better.
    pub(crate) higher: bool,
    /// The value of a row.
    pub(crate) get: fn(&Row) -> Option<f64>,
}

macro_rules! scores {
    ($($key:ident $unit:literal $digits:literal $higher:literal),* $(,)?) => {
        [$(Metric {
            key: stringify!($key),
            unit: $unit,
            digits: $digits,
            higher: $higher,
            get: |row| row.scores.as_ref().map(|s: &Scores| s.$key).filter(|v| !v.is_nan()),
        }),*]
    };
}

const SCORES: [Metric; 12] = scores![
    psnr_unit_peak "dB" 2 true, ssim_unit_peak "" 4 true, psnr_mst "dB" 2 true, ssim_mst "" 4 true,
    psnr_matlab "dB" 2 true, ssim_matlab "" 4 true, sam_matlab_deg "°" 2 false, ergas_matlab "" 2 false,
    sam_deg "°" 2 false, rmse "" 4 false, ergas "" 2 false, mrae "" 4 false,
];
const OTHERS: [Metric; 2] = [
    Metric { key: "residual", unit: "", digits: 4, higher: false, get: |row| row.residual },
    Metric { key: "seconds", unit: "s", digits: 2, higher: false, get: |row| row.seconds },
];

/// The columns of which any row has a value.
pub(crate) fn metrics(rows: &[Row]) -> Vec<&'static Metric> {
    SCORES.iter().chain(&OTHERS).filter(|m| rows.iter().any(|r| (m.get)(r).is_some())).collect()
}

/// Title, method and values of a line; means over scenes come last where there are several scenes.
pub(crate) struct Line {
    pub(crate) scene: String,
    pub(crate) method: String,
    pub(crate) values: Vec<Option<f64>>,
}

pub(crate) const MEAN: &str = "mean over scenes";

/// One line an estimate, then the mean of every method that has a value in each scene.
pub(crate) fn lines(rows: &[Row]) -> Vec<Line> {
    let metrics = metrics(rows);
    let mut lines: Vec<Line> = (rows.iter())
        .map(|row| Line {
            scene: row.scene.clone(),
            method: row.method.clone(),
            values: metrics.iter().map(|m| (m.get)(row)).collect(),
        })
        .collect();
    let mut scenes: Vec<&str> = rows.iter().map(|r| r.scene.as_str()).collect();
    scenes.dedup();
    let mut methods: Vec<&str> = Vec::new();
    rows.iter().for_each(|r| {
        if !methods.contains(&r.method.as_str()) {
            methods.push(&r.method)
        }
    });
    if scenes.len() < 2 {
        return lines;
    }
    for method in methods {
        let of_method: Vec<&Row> = rows.iter().filter(|r| r.method == method).collect();
        let mean = |m: &&Metric| {
            let values: Option<Vec<f64>> = of_method.iter().map(|r| (m.get)(r)).collect();
            values.filter(|v| v.len() == scenes.len()).map(|v| v.iter().sum::<f64>() / v.len() as f64)
        };
        let values: Vec<Option<f64>> = metrics.iter().map(mean).collect();
        if values.iter().any(Option::is_some) {
            lines.push(Line { scene: MEAN.into(), method: method.into(), values });
        }
    }
    lines
}

/// Whether this value is the best of its scene, among at least two, as printed: equal figures are all best.
pub(crate) fn is_best(lines: &[Line], line: &Line, column: usize, metric: &Metric) -> bool {
    let shown = |v: f64| format!("{v:.*}", metric.digits);
    let rivals: Vec<f64> =
        lines.iter().filter(|l| l.scene == line.scene).filter_map(|l| l.values[column]).collect();
    let Some(value) = line.values[column] else { return false };
    let best = rivals.iter().copied().reduce(|a, b| if (a > b) == metric.higher { a } else { b });
    rivals.len() > 1 && best.is_some_and(|b| shown(b) == shown(value))
}

fn heading(metric: &Metric) -> String {
    let arrow = if metric.higher { "↑" } else { "↓" };
    if metric.unit.is_empty() {
        format!("{} {arrow}", metric.key)
    } else {
        format!("{} / {} {arrow}", metric.key, metric.unit)
    }
}

fn number(value: f64, digits: usize) -> String {
    if value.is_infinite() {
        if value > 0.0 { "∞".into() } else { "−∞".into() }
    } else {
        format!("{value:.digits$}")
    }
}

/// The table in Markdown, best values bold.
pub fn markdown(rows: &[Row]) -> String {
    let (metrics, lines) = (metrics(rows), lines(rows));
    let clean = |s: &str| s.replace('|', "\\|").replace(['\n', '\r'], " ");
    let mut out = String::from("| scene | method |");
    metrics.iter().for_each(|m| write!(out, " {} |", heading(m)).expect("a string grows"));
    out += "\n|---|---|";
    out += &"---:|".repeat(metrics.len());
    for line in &lines {
        write!(out, "\n| {} | {} |", clean(&line.scene), clean(&line.method)).expect("a string grows");
        for (i, metric) in metrics.iter().enumerate() {
            let value = line.values[i].map_or("–".into(), |v| number(v, metric.digits));
            let value = if is_best(&lines, line, i, metric) { format!("**{value}**") } else { value };
            write!(out, " {value} |").expect("a string grows");
        }
    }
    out + "\n"
}

/// The table as CSV, all digits.
pub fn csv(rows: &[Row]) -> String {
    let (metrics, lines) = (metrics(rows), lines(rows));
    let quoted = |s: &str| {
        if s.contains([',', '"', '\n', '\r']) {
            format!("\"{}\"", s.replace('"', "\"\""))
        } else {
            s.to_string()
        }
    };
    let mut out = String::from("scene,method");
    metrics.iter().for_each(|m| write!(out, ",{}", m.key).expect("a string grows"));
    for line in &lines {
        write!(out, "\n{},{}", quoted(&line.scene), quoted(&line.method)).expect("a string grows");
        for value in &line.values {
            out.push(',');
            if let Some(value) = value {
                write!(out, "{value}").expect("a string grows");
            }
        }
    }
    out + "\n"
}

fn tex(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '\\' => out += "\\textbackslash{}",
            '~' => out += "\\textasciitilde{}",
            '^' => out += "\\textasciicircum{}",
            '_' | '%' | '&' | '#' | '$' | '{' | '}' => out.extend(['\\', c]),
            '°' => out += "\\textdegree{}",
            '↑' => out += "$\\uparrow$",
            '↓' => out += "$\\downarrow$",
            '∞' => out += "$\\infty$",
            '−' => out += "$-$",
            '–' => out += "--",
            c => out.push(c),
        }
    }
    out
}

/// The table in LaTeX (packages booktabs and, for headings at an angle, rotating), best values bold.
pub fn latex(rows: &[Row]) -> String {
    let (metrics, lines) = (metrics(rows), lines(rows));
    let mut out = String::from("% needs \\usepackage{booktabs,rotating}\n");
    write!(out, "\\begin{{tabular}}{{ll{}}}\n\\toprule\nscene & method", "r".repeat(metrics.len()))
        .expect("grows");
    metrics.iter().for_each(|m| write!(out, " & \\rotatebox{{90}}{{{}}}", tex(&heading(m))).expect("grows"));
    out += " \\\\\n\\midrule\n";
    let mut scene = lines.first().map_or("", |l| &l.scene);
    for line in &lines {
        if line.scene != scene {
            out += "\\midrule\n";
            scene = &line.scene;
        }
        write!(out, "{} & {}", tex(&line.scene), tex(&line.method)).expect("a string grows");
        for (i, metric) in metrics.iter().enumerate() {
            let value = tex(&line.values[i].map_or("–".into(), |v| number(v, metric.digits)));
            let best = is_best(&lines, line, i, metric);
            let value = if best { format!("\\textbf{{{value}}}") } else { value };
            write!(out, " & {value}").expect("a string grows");
        }
        out += " \\\\\n";
    }
    out + "\\bottomrule\n\\end{tabular}\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(scene: &str, method: &str, seconds: f64, residual: Option<f64>) -> Row {
        Row { scene: scene.into(), method: method.into(), scores: None, seconds: Some(seconds), residual }
    }

    #[test]
    fn best_is_bold_and_names_are_escaped() {
        let rows =
            [row("a|b", "x_y", 2.0, None), row("a|b", "z", 1.004, Some(0.25)), row("c", "z", 3.0, None)];
        let table = markdown(&rows);
        assert_eq!(
            table,
            "| scene | method | residual ↓ | seconds / s ↓ |\n|---|---|---:|---:|\n\
             | a\\|b | x_y | – | 2.00 |\n| a\\|b | z | 0.2500 | **1.00** |\n| c | z | – | 3.00 |\n\
             | mean over scenes | z | – | 2.00 |\n"
        );
        assert!(latex(&rows).contains("x\\_y & -- & 2.00 \\\\"));
        assert!(latex(&rows).contains("\\textbf{1.00}"));
        assert!(csv(&rows).starts_with("scene,method,residual,seconds\na|b,x_y,,2\na|b,z,0.25,1.004\n"));
    }

    #[test]
    fn csv_quotes_what_needs_it() {
        assert!(csv(&[row("say \"a\", b", "m", 1.0, None)]).contains("\"say \"\"a\"\", b\",m,1"));
    }
}

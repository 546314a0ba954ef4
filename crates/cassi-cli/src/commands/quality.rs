//! `cassi bench quality`: every method on every scene of a folder, under one or several masks, in all conventions, as
//! a Markdown document with the published figures beside it.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use cassi_core::card::{CardMetrics, CardScores};
use cassi_core::metrics::Scores;
use cassi_core::{
    Cube, Family, InstrumentDescription, Mask, NoiseLevel, NoiseModel, Problem, Reconstructor, Snapshot,
    takes_snapshots,
};
use cassi_optics::{SdCassi, detector};
use cassi_scene::{Kind, SceneRecipe};

use crate::context::Context;
use crate::engine::EngineOptions;
use crate::inputs::{self, AxisOptions};
use crate::output;
use crate::registry::{self, Request};
use crate::weights::Weights;

/// Figures that papers print, on other scenes.
const PUBLISHED: &str = include_str!("../../../../docs/benchmarks/published.csv");

/// What `quality` needs to know.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Quality")]
pub(crate) struct Options {
    /// The folder of true cubes
    #[arg(long, value_name = "FOLDER")]
    scenes: Option<PathBuf>,
    /// Procedural scenes beside them, as large as the first of them, of all kinds in turn, seeds from 0 on
    #[arg(long, value_name = "COUNT", default_value_t = 0)]
    procedural: usize,
    /// The instrument that takes the snapshots: a built-in name or a TOML file
    #[arg(long, value_name = "NAME", default_value = "standard")]
    instrument: String,
    /// Noise of the snapshots: none, gaussian:SIGMA, or binomial[:QE,LEVELS]; methods are told its level
    #[arg(long, value_name = "MODEL", default_value = "none")]
    noise: String,
    /// A mask, cut or tiled to the scenes' size; may be repeated [default: the instrument's own]
    #[arg(long = "mask", value_name = "FILE")]
    masks: Vec<String>,
    /// A method, with a weights file if not the default one; may be repeated
    #[arg(long = "method", value_name = "NAME[=WEIGHTS]")]
    methods: Vec<String>,
    /// Also give the mean over the scenes whose name begins like this
    #[arg(long, value_name = "PREFIX")]
    group: Option<String>,
    /// Write the figures under the first mask into the cards of the weights that --method names
    #[arg(long)]
    cards: bool,
    /// Where the document goes [default: standard output]
    #[arg(short, long, value_name = "FILE.md")]
    output: Option<PathBuf>,
}

/// A method as the user asked for it.
struct Asked<'a> {
    label: &'a str,
    name: &'a str,
    weights: Option<&'a Path>,
}

/// How snapshots are taken.
struct Camera<'a> {
    instrument: &'a InstrumentDescription,
    noise: NoiseModel,
}

/// What one method does on all scenes under one mask.
#[derive(serde::Serialize)]
struct Result {
    mask: String,
    method: String,
    weights: String,
    seconds: f64,
    scenes: Vec<(String, Scores)>,
}

/// Measures; writes the document or prints it.
///
/// # Errors
/// Without scenes or methods; if a file cannot be read or a method cannot be made.
pub(crate) fn run(options: &Options, context: &Context) -> anyhow::Result<()> {
    let folder = options.scenes.as_deref().context("quality needs true cubes: --scenes FOLDER")?;
    if options.methods.is_empty() {
        bail!("quality needs at least one --method NAME[=WEIGHTS]; `cassi methods` lists them");
    }
    let methods: Vec<Asked<'_>> = options.methods.iter().map(|text| asked(text)).collect();
    methods.iter().try_for_each(|method| registry::check_name(method.name))?;
    let instrument = &inputs::instrument_by_name(&options.instrument)?;
    let camera = &Camera { instrument, noise: detector::parse_noise(&options.noise)? };
    let mut scenes = read_scenes(folder, instrument, context)?;
    let size = [scenes[0].1.rows(), scenes[0].1.columns()];
    scenes.extend((0..options.procedural).map(|i| procedural(i, size, instrument)));
    let masks: Vec<Option<&str>> = match options.masks.as_slice() {
        [] => vec![None],
        named => named.iter().map(|name| Some(name.as_str())).collect(),
    };
    let mut results = Vec::new();
    for (i, mask) in masks.into_iter().enumerate() {
        let cards = options.cards && i == 0;
        results.extend(under_mask(mask, &methods, &scenes, camera, cards, context)?);
    }
    if context.json {
        context.print_json(&serde_json::to_value(&results)?)?;
        return Ok(());
    }
    let text = document(&results, camera, options.group.as_deref(), &context.command_line());
    match &options.output {
        Some(path) => {
            cassi_io::write_bytes(path, text.as_bytes())?;
            context.say(format!("results: {}", path.display()));
        }
        None => output::result(text.trim_end())?,
    }
    Ok(())
}

fn asked(text: &str) -> Asked<'_> {
    match text.split_once('=') {
        Some((name, file)) => Asked { label: text, name, weights: Some(Path::new(file)) },
        None => Asked { label: text, name: text, weights: None },
    }
}

/// What the names of procedural scenes begin with, so that they are averaged apart.
const PROCEDURAL: &str = "procedural_";

fn procedural(number: usize, size: [usize; 2], instrument: &InstrumentDescription) -> (String, Cube) {
    let kind = Kind::ALL[number % Kind::ALL.len()];
    let recipe = SceneRecipe::new(kind, number as u64).with_size(size[0], size[1]);
    let cube = recipe.render(&instrument.wavelengths_nm);
    (format!("{PROCEDURAL}{number:02}_{}", kind.name()), cube)
}

fn read_scenes(
    folder: &Path,
    instrument: &InstrumentDescription,
    context: &Context,
) -> anyhow::Result<Vec<(String, Cube)>> {
    let mut scenes = Vec::new();
    for file in cassi_io::list_folder(folder)? {
        if !inputs::has_extension(&file, &["h5", "hdf5", "mat", "npy", "npz"]) {
            continue;
        }
        let text = file.to_str().with_context(|| format!("{}: a name that is no UTF-8", file.display()))?;
        let (cube, _, _) = inputs::cube(text, &AxisOptions::default(), context)?;
        let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        scenes.push((name, cube.resample(&instrument.wavelengths_nm)));
    }
    if scenes.is_empty() {
        bail!("{}: no cubes (.h5, .mat, .npy, .npz) in this folder", folder.display());
    }
    Ok(scenes)
}

fn under_mask(
    mask_file: Option<&str>,
    methods: &[Asked<'_>],
    scenes: &[(String, Cube)],
    camera: &Camera<'_>,
    cards: bool,
    context: &Context,
) -> anyhow::Result<Vec<Result>> {
    let instrument = camera.instrument;
    let mut results = Vec::new();
    let size = [scenes[0].1.rows(), scenes[0].1.columns()];
    let mask = match mask_file {
        Some(file) => inputs::mask_file(file, instrument, context)?.0.mask,
        None => (inputs::mask(None, instrument, size, context)?.0).with_context(|| {
            format!("instrument `{}` ships no mask; name one with --mask", instrument.name)
        })?,
    };
    let (window, note) = cassi_optics::mask::fit_to(&mask, size[0], size[1]);
    context.say_all(note.as_slice());
    let name = match (mask_file, &instrument.default_mask) {
        (Some(file), _) => Path::new(file).file_stem().unwrap_or_default().to_string_lossy().into_owned(),
        (None, own) => own.clone().unwrap_or_default(),
    };
    let make = |method: &Asked<'_>| {
        registry::make(Request {
            name: method.name,
            settings: &[],
            weights: method.weights.map(Weights::open).transpose()?,
            engine: &EngineOptions::default(),
            instrument,
            mask: Some(&mask),
        })
    };
    // All before the first is measured: weights that cannot be used are refused at once.
    let built = methods.iter().map(make).collect::<anyhow::Result<Vec<_>>>()?;
    for (method, built) in methods.iter().zip(built) {
        context.say_all(&built.notes);
        context.say(format!("{} under {name}: {} scenes", method.label, scenes.len()));
        let result = measure(built.method.as_ref(), &name, &window, scenes, camera, context)?;
        if let (true, Some(file)) = (cards, method.weights) {
            write_card(file, &mask, camera.noise, &result)?;
        }
        results.push(result);
    }
    Ok(results)
}

/// Puts the figures of weights into the card beside them, whose hash was checked when they were opened.
fn write_card(weights: &Path, mask: &Mask, noise: NoiseModel, result: &Result) -> anyhow::Result<()> {
    let path = weights.with_extension("toml");
    if !path.is_file() {
        // Official checkpoints have none.
        return Ok(());
    }
    let mut card = crate::weights::read_card(&path)?;
    let scenes = measured(&result.scenes)
        .iter()
        .map(|(name, scores)| (name.clone(), CardScores::from(scores)))
        .collect();
    let noise = (noise != NoiseModel::None).then(|| detector::format_noise(noise));
    card.metrics = Some(CardMetrics { noise, ..CardMetrics::new(cassi_optics::mask::sha256(mask), scenes) });
    Ok(cassi_io::write_bytes(&path, toml::to_string(&card)?.as_bytes())?)
}

fn measure(
    method: &dyn Reconstructor,
    mask_name: &str,
    mask: &Mask,
    scenes: &[(String, Cube)],
    camera: &Camera<'_>,
    context: &Context,
) -> anyhow::Result<Result> {
    let Camera { instrument, noise } = *camera;
    let card = method.describe();
    let network = matches!(card.family, Family::Network | Family::BinaryNetwork);
    let operator = SdCassi::for_instrument(instrument, mask);
    let mut result = Result {
        mask: mask_name.into(),
        method: card.name.into(),
        weights: card.weights.clone().unwrap_or_default(),
        seconds: 0.0,
        scenes: Vec::new(),
    };
    for (name, truth) in scenes {
        let taken = cassi_optics::simulate(truth, instrument, mask, noise, context.seed)?.snapshot;
        let level = NoiseLevel::Known(detector::noise_sigma(noise, &taken, instrument.bands()));
        // Networks that take snapshots as they are take them in 0..1 and no noise level, and answer in the unit of
        // their training.
        let published =
            (network && takes_snapshots(card.name, instrument)).then(|| instrument.estimate_scale(&taken));
        let snapshot = match published {
            Some(_) => {
                let largest = taken.as_slice().iter().copied().fold(f32::MIN_POSITIVE, f32::max);
                Snapshot::new(taken.view().mapv(|y| y / largest))?
            }
            None => taken,
        };
        let problem = Problem {
            snapshot: &snapshot,
            instrument,
            operator: Some(&operator),
            mask: Some(mask),
            noise: level,
            warm_start: None,
        };
        let mut progress = context.progress(card.name, 1);
        let mut reconstruction = method.reconstruct(&problem, &mut progress)?;
        if let Some(scale) = published {
            reconstruction.cube.as_mut_slice().iter_mut().for_each(|v| *v /= scale);
        }
        result.seconds += reconstruction.elapsed.as_secs_f64() / scenes.len() as f64;
        result.scenes.push((name.clone(), Scores::compute(truth, &reconstruction.cube)?));
    }
    Ok(result)
}

/// Without the procedural ones.
fn measured(scenes: &[(String, Scores)]) -> Vec<(String, Scores)> {
    scenes.iter().filter(|(name, _)| !name.starts_with(PROCEDURAL)).cloned().collect()
}

fn mean(scenes: &[(String, Scores)], figure: impl Fn(&Scores) -> f64) -> f64 {
    scenes.iter().map(|(_, scores)| figure(scores)).sum::<f64>() / scenes.len().max(1) as f64
}

fn document(results: &[Result], camera: &Camera<'_>, group: Option<&str>, command: &str) -> String {
    let Camera { instrument, noise } = camera;
    let snapshots = match noise {
        NoiseModel::None => "noise-free snapshots".to_string(),
        noise => format!("snapshots with noise `{}`", detector::format_noise(*noise)),
    };
    let mut text = format!(
        "# Results\n\nMade by `{command}`; nothing here is written by hand. Instrument `{}`, {snapshots}, means over the \
         scenes of the folder; `docs/metrics.md` says what each figure means.\n",
        instrument.name
    );
    let mut masks: Vec<&str> = results.iter().map(|result| result.mask.as_str()).collect();
    masks.dedup();
    for mask in masks {
        let of_mask: Vec<&Result> = results.iter().filter(|result| result.mask == mask).collect();
        let _ = writeln!(text, "\n## Mask {mask}\n");
        let drawn = of_mask[0].scenes.iter().any(|(name, _)| name.starts_with(PROCEDURAL));
        let groups: Vec<&str> = group.into_iter().chain(drawn.then_some(PROCEDURAL)).collect();
        let group_column: String =
            groups.iter().map(|prefix| format!(" psnr_unit_peak of `{prefix}*` |")).collect();
        let _ = writeln!(
            text,
            "| method | psnr_unit_peak |{group_column} psnr_mst | psnr_matlab | ssim_unit_peak | ssim_mst | ssim_matlab | \
             sam_deg | seconds | weights |\n|---|---|{}---|---|---|---|---|---|---|---|",
            "---|".repeat(groups.len())
        );
        for result in &of_mask {
            let scenes = &measured(&result.scenes);
            let grouped = |prefix: &&str| {
                let chosen: Vec<_> =
                    result.scenes.iter().filter(|(name, _)| name.starts_with(prefix)).cloned().collect();
                format!(" {:.2} |", mean(&chosen, |s| s.psnr_unit_peak))
            };
            let _ = writeln!(
                text,
                "| {} | {:.2} |{} {:.2} | {:.2} | {:.3} | {:.3} | {:.3} | {:.2} | {:.3} | {} |",
                result.method,
                mean(scenes, |s| s.psnr_unit_peak),
                groups.iter().map(grouped).collect::<String>(),
                mean(scenes, |s| s.psnr_mst),
                mean(scenes, |s| s.psnr_matlab),
                mean(scenes, |s| s.ssim_unit_peak),
                mean(scenes, |s| s.ssim_mst),
                mean(scenes, |s| s.ssim_matlab),
                mean(scenes, |s| s.sam_deg),
                result.seconds,
                short_weights(&result.weights),
            );
        }
        let _ = write!(text, "\npsnr_unit_peak by scene:\n\n| scene |");
        of_mask.iter().for_each(|result| text += &format!(" {} |", heading(result, &of_mask)));
        let _ = write!(text, "\n|---|{}", "---|".repeat(of_mask.len()));
        for (index, (scene, _)) in of_mask[0].scenes.iter().enumerate() {
            let _ = write!(text, "\n| {scene} |");
            of_mask
                .iter()
                .for_each(|result| text += &format!(" {:.2} |", result.scenes[index].1.psnr_unit_peak));
        }
        text.push('\n');
    }
    if instrument.name != "standard" {
        return text;
    }
    text + "\n## Published figures, quoted\n\nOn ten other scenes (KAIST crops of the simulated benchmark, noise-free, \
            its one mask), by networks trained on far more data: not comparable with the tables above.\n\n| method | \
            PSNR, dB | SSIM |\n|---|---|---|\n"
        + &PUBLISHED
            .lines()
            .skip(1)
            .map(|line| format!("| {} |\n", line.replace(',', " | ")))
            .collect::<String>()
}

/// The method, or the file of its weights where the method comes more than once.
fn heading<'a>(result: &'a Result, all: &[&Result]) -> &'a str {
    let once = all.iter().filter(|other| other.method == result.method).count() == 1;
    let file = result.weights.split(" (SHA-256").next().unwrap_or_default();
    if once || file.is_empty() { &result.method } else { file.strip_suffix(".safetensors").unwrap_or(file) }
}

/// The name of the weights with the start of their hash.
fn short_weights(label: &str) -> String {
    match label.split_once("(SHA-256 ") {
        Some((name, hash)) => format!("{} `{}`", name.trim(), &hash[..hash.len().min(8)]),
        None => label.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_method_may_name_its_weights() {
        let plain = asked("gap-tv");
        assert_eq!((plain.name, plain.weights), ("gap-tv", None));
        let named = asked("mst-s=a/b.safetensors");
        assert_eq!((named.name, named.weights), ("mst-s", Some(Path::new("a/b.safetensors"))));
    }

    #[test]
    fn every_published_line_has_three_cells() {
        assert!(PUBLISHED.lines().all(|line| line.split(',').count() == 3));
    }

    #[test]
    fn long_hashes_are_cut() {
        assert_eq!(short_weights("a.safetensors (SHA-256 0123456789abcdef)"), "a.safetensors `01234567`");
        assert_eq!(short_weights(""), "");
    }
}

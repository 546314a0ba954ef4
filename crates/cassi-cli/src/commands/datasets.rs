//! `cassi datasets`: where the field's public data sets go, and whether what lies there is whole.

use std::path::{Path, PathBuf};

use cassi_io::{ReadOptions, Source};

use super::Outcome;
use crate::context::Context;
use crate::output::print_line;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  cassi datasets                       what goes where
  cassi datasets check                 look into ./datasets
  cassi datasets check --root /data --full
  cassi datasets check --json

Exit code 1 if a set is there but not whole; absent sets are no failure.")]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Check names, variables and shapes of the files that are there
    #[command(after_help = "Examples:\n  cassi datasets check --root datasets")]
    Check {
        /// The folder that holds the sets
        #[arg(long, value_name = "FOLDER", default_value = "datasets")]
        root: PathBuf,
        /// Read every file, not only the first of each kind
        #[arg(long)]
        full: bool,
    },
}

/// Files of one kind in a set.
struct Files {
    /// Path below the set's folder; `{}` is the number, `{:02}` with a leading zero.
    pattern: &'static str,
    /// First and last number; (0, 0) for a single file.
    numbers: (usize, usize),
    /// What a file must hold.
    holds: Holds,
}

enum Holds {
    /// A cube of so many bands.
    Cube(usize),
    /// A snapshot of this shape.
    Snapshot([usize; 2]),
    /// A mask, plain or with bands.
    Mask,
}

struct DataSet {
    folder: &'static str,
    what: &'static str,
    source: &'static str,
    files: &'static [Files],
}

/// The layout of the public training and test code of the field.
const SETS: &[DataSet] = &[
    DataSet {
        folder: "cave_1024_28",
        what: "205 training cubes, 1024x1024x28, variable img_expand or img (CAVE, interpolated)",
        source: "MST toolbox; Yasuma et al., IEEE TIP 19(9), 2010",
        files: &[Files { pattern: "scene{}.mat", numbers: (1, 205), holds: Holds::Cube(28) }],
    },
    DataSet {
        folder: "CAVE_512_28",
        what: "30 training cubes, 512x512x28 (CAVE)",
        source: "TSA-Net; Meng, Ma, Yuan, ECCV 2020",
        files: &[Files { pattern: "scene{:02}.mat", numbers: (1, 30), holds: Holds::Cube(28) }],
    },
    DataSet {
        folder: "KAIST_CVPR2021",
        what: "30 training cubes, 2704x3376x28, variable HSI (KAIST)",
        source: "Choi, Jeon, Nam, Gutierrez, Kim, ACM TOG 36(6), 2017",
        files: &[Files { pattern: "{}.mat", numbers: (1, 30), holds: Holds::Cube(28) }],
    },
    DataSet {
        folder: "TSA_simu_data",
        what: "the ten 256x256x28 test cubes (img), the mask, and the measured 3-D mask",
        source: "TSA-Net; Meng, Ma, Yuan, ECCV 2020",
        files: &[
            Files { pattern: "mask.mat", numbers: (0, 0), holds: Holds::Mask },
            Files { pattern: "mask_3d_shift.mat", numbers: (0, 0), holds: Holds::Mask },
            Files { pattern: "Truth/scene{:02}.mat", numbers: (1, 10), holds: Holds::Cube(28) },
        ],
    },
    DataSet {
        folder: "TSA_real_data",
        what: "five real 660x714 snapshots (meas_real) and the 660x660 mask",
        source: "TSA-Net; Meng, Ma, Yuan, ECCV 2020",
        files: &[
            Files { pattern: "mask.mat", numbers: (0, 0), holds: Holds::Mask },
            Files {
                pattern: "Measurements/scene{}.mat",
                numbers: (1, 5),
                holds: Holds::Snapshot([660, 714]),
            },
        ],
    },
];

impl Files {
    fn names(&self) -> Vec<String> {
        let (first, last) = self.numbers;
        (first..=last)
            .map(|n| self.pattern.replace("{:02}", &format!("{n:02}")).replace("{}", &n.to_string()))
            .collect()
    }
}

/// What was found of one set.
#[derive(serde::Serialize)]
struct Finding {
    set: &'static str,
    state: &'static str,
    present: usize,
    expected: usize,
    problems: Vec<String>,
}

pub(crate) fn run(args: Args, context: &Context) -> anyhow::Result<Outcome> {
    let Some(Action::Check { root, full }) = args.action else {
        if context.json {
            let sets: Vec<_> = (SETS.iter())
                .map(|s| serde_json::json!({ "folder": s.folder, "what": s.what, "source": s.source }))
                .collect();
            context.print_json(&serde_json::Value::Array(sets))?;
            return Ok(Outcome::Done);
        }
        for set in SETS {
            print_line!("datasets/{}\n    {}\n    {}", set.folder, set.what, set.source)?;
            for files in set.files {
                let (first, last) = files.numbers;
                let numbers = if last > 0 { format!("   ({first} to {last})") } else { String::new() };
                print_line!("    {}{numbers}", files.pattern)?;
            }
        }
        return Ok(Outcome::Done);
    };
    if !root.is_dir() {
        anyhow::bail!("{}: no such folder; name the one that holds the sets with --root", root.display());
    }
    let findings: Vec<Finding> = SETS.iter().map(|set| check(set, &root.join(set.folder), full)).collect();
    if context.json {
        context.print_json(&serde_json::to_value(&findings)?)?;
    } else {
        for finding in &findings {
            print_line!(
                "{:<16} {:<8} {} of {} files",
                finding.set,
                finding.state,
                finding.present,
                finding.expected
            )?;
            finding.problems.iter().try_for_each(|problem| print_line!("    {problem}"))?;
        }
    }
    let broken = findings.iter().any(|finding| !finding.problems.is_empty());
    Ok(if broken { Outcome::CheckFailed } else { Outcome::Done })
}

fn check(set: &DataSet, folder: &Path, full: bool) -> Finding {
    let (mut present, mut expected, mut problems) = (0, 0, Vec::new());
    for files in set.files {
        let names = files.names();
        let there: Vec<&String> = names.iter().filter(|name| folder.join(name).is_file()).collect();
        present += there.len();
        expected += names.len();
        for name in there.iter().take(if full { usize::MAX } else { 1 }) {
            if let Err(problem) = look_into(&folder.join(name), &files.holds) {
                problems.push(problem);
            }
        }
    }
    let state = match present {
        0 => "absent",
        n if n < expected => {
            problems.push(format!("{} of {expected} files are missing", expected - n));
            "partial"
        }
        _ => "there",
    };
    Finding { set: set.folder, state, present, expected, problems }
}

fn look_into(path: &Path, holds: &Holds) -> Result<(), String> {
    let source = Source { path: path.to_path_buf(), variable: None };
    let options = ReadOptions::default();
    match holds {
        Holds::Cube(bands) => {
            let cube = cassi_io::read_cube(&source, &options).map_err(|e| e.to_string())?.value;
            if cube.bands() != *bands {
                return Err(format!("{}: {} bands, expected {bands}", path.display(), cube.bands()));
            }
        }
        Holds::Snapshot(shape) => {
            let snapshot = cassi_io::read_snapshot(&source).map_err(|e| e.to_string())?.value;
            if snapshot.shape() != *shape {
                return Err(format!(
                    "{}: snapshot of shape {:?}, expected {shape:?} (row, column)",
                    path.display(),
                    snapshot.shape()
                ));
            }
        }
        Holds::Mask => {
            cassi_io::read_mask(&source, &options).map_err(|e| e.to_string())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_make_names() {
        let files = Files { pattern: "Truth/scene{:02}.mat", numbers: (1, 10), holds: Holds::Cube(28) };
        assert_eq!(files.names()[0], "Truth/scene01.mat");
        assert_eq!(files.names()[9], "Truth/scene10.mat");
        let single = Files { pattern: "mask.mat", numbers: (0, 0), holds: Holds::Mask };
        assert_eq!(single.names(), ["mask.mat"]);
    }
}

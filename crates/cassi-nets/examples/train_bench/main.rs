//! Times our training loop against a plain one, as published: the whole batch through the network with libtorch's own
//! threads, every layer one call, libtorch's Adam, samples cut one by one.
//!
//! Both learn from the same procedural scenes in memory, in turns in one process. Prints samples a second of both and
//! their ratio, the share of the time that drawing data took, and how much of the threads was used.
//!
//! ```text
//! cargo run --release -p cassi-nets --features torch --example train_bench -- \
//!     [--methods mst-s,bisrnet] [--threads 2] [--seconds 5] [--rounds 2] [--crop 96] [--batch 4]
//! ```

mod plain;

use std::time::Instant;

use cassi_core::random::Stream;
use cassi_nets::arch::{Layout, MaskShift, Options, build};
use cassi_nets::train::{Event, RunOptions, TrainConfig, data, run};
use cassi_nets::{device, weights};
use plain::PlainMst;
use tch::{Device, Kind, Tensor, nn, nn::OptimizerConfig};

/// What one loop did.
struct Figures {
    samples_per_second: f64,
    /// Share of the time that drawing data took.
    drawing: f64,
    /// CPU time over wall time and threads.
    used: f64,
}

struct Settings {
    threads: usize,
    seconds: f64,
    crop: i64,
    batch: i64,
}

fn option(name: &str, default: &str) -> String {
    let mut arguments = std::env::args().skip_while(|argument| argument != name);
    match arguments.next() {
        Some(_) => arguments.next().unwrap_or_else(|| panic!("{name} needs a value")),
        None => default.to_string(),
    }
}

fn number(name: &str, default: &str) -> f64 {
    option(name, default).parse().unwrap_or_else(|_| panic!("{name} takes a number"))
}

/// CPU seconds of this process so far, in the system's ticks of 10 ms.
fn cpu_seconds() -> f64 {
    let stat = cassi_io::read_text("/proc/self/stat".as_ref()).expect("Linux");
    let fields: Vec<&str> = stat.rsplit(") ").next().expect("fields").split(' ').collect();
    (11..13).map(|i| fields[i].parse::<f64>().expect("ticks") / 100.0).sum()
}

fn main() {
    device::pin_allocator();
    let settings = Settings {
        threads: number("--threads", "2") as usize,
        seconds: number("--seconds", "5"),
        crop: number("--crop", "96") as i64,
        batch: number("--batch", "4") as i64,
    };
    for method in option("--methods", "mst-s,bisrnet").split(',') {
        // Round 0 pays for fresh memory and for libtorch choosing its kernels: of no interest in runs of hours.
        for round in 0..=number("--rounds", "2") as usize {
            let ours = ours(method, &settings);
            let plain = plain(method, &settings);
            if round == 0 {
                continue;
            }
            for (name, figures) in [("ours", &ours), ("plain", &plain)] {
                println!(
                    "{method:8} round {round} {name:6} {:7.2} samples/s  drawing {:4.1} %  threads used {:4.0} %",
                    figures.samples_per_second,
                    100.0 * figures.drawing,
                    100.0 * figures.used
                );
            }
            println!(
                "{method:8} round {round} ratio  {:7.2}",
                ours.samples_per_second / plain.samples_per_second
            );
        }
    }
}

const SCENES: &str = "procedural = { kinds = [\"still-life\"], count = 4, size = [256, 256] }";

/// Our loop, as `cassi train` runs it.
fn ours(method: &str, settings: &Settings) -> Figures {
    let Settings { threads, seconds, crop, batch } = settings;
    let text = format!(
        "name = \"bench\"\nmethod = \"{method}\"\nsteps = 1000000\nminutes = {}\n[[data]]\n{SCENES}\n\
         [[masks]]\nkind = \"bernoulli\"\ncount = 4\n[[stages]]\nuntil = 1.0\ncrop = {crop}\nbatch = {batch}\n",
        seconds / 60.0
    );
    let config = TrainConfig::parse(&text, "the benchmark").expect("a configuration");
    let folder = tempfile::tempdir().expect("a folder");
    let options = RunOptions { threads: *threads, ..RunOptions::default() };
    let (mut drawing, mut cpu) = (0.0, 0.0);
    let report = run(&config, folder.path(), &options, &mut |event| match event {
        // The last note before the first step says how much memory the scenes take.
        Event::Note(_) => cpu = cpu_seconds(),
        Event::Progress { data_share, .. } => {
            drawing = data_share;
            cpu = cpu_seconds() - cpu;
        }
        _ => {}
    });
    let report = report.unwrap_or_else(|error| panic!("{error}"));
    let wall = report.seconds;
    Figures {
        samples_per_second: report.samples as f64 / wall,
        drawing,
        used: cpu / (wall * *threads as f64),
    }
}

/// The published loop.
fn plain(method: &str, settings: &Settings) -> Figures {
    let Settings { threads, seconds, crop, batch } = *settings;
    tch::set_num_threads(threads as i32);
    tch::manual_seed(0);
    let store = nn::VarStore::new(Device::Cpu);
    let forward: Box<dyn Fn(&Tensor, &Tensor) -> Tensor> = match method {
        "mst-s" => {
            let network = PlainMst::new(&store.root(), 28);
            check(&network, &store, crop);
            Box::new(move |x, mask| network.forward(x, &sheared(mask)))
        }
        // The binarized networks are built of one call a layer as they are.
        _ => {
            let network = build(method, &Options::new(Layout::Standard), &store.root()).expect("a method");
            Box::new(move |x, mask| {
                let mask = mask.expand([1, 28, crop, crop], false);
                network.forward(x, Some(&mask), true)
            })
        }
    };
    let mut adam = nn::Adam::default().build(&store, 4e-4).expect("Adam");
    let loader = Loader::new();
    let start = Instant::now();
    let cpu = cpu_seconds();
    let (mut drawing, mut samples) = (0.0, 0);
    while start.elapsed().as_secs_f64() < seconds {
        let begin = Instant::now();
        let (features, mask, truth) = loader.batch(samples as u64, batch, crop);
        drawing += begin.elapsed().as_secs_f64();
        let loss = (forward(&features, &mask) - truth).square().mean(Kind::Float).sqrt();
        adam.backward_step(&loss);
        assert!(loss.double_value(&[]).is_finite());
        samples += batch;
    }
    let wall = start.elapsed().as_secs_f64();
    Figures {
        samples_per_second: samples as f64 / wall,
        drawing: drawing / wall,
        used: (cpu_seconds() - cpu) / (wall * threads as f64),
    }
}

/// The stand-in computes what the network that is trained computes.
fn check(network: &PlainMst, store: &nn::VarStore, crop: i64) {
    let ours = nn::VarStore::new(Device::Cpu);
    let options = Options { mask_shift: MaskShift::Official, ..Options::new(Layout::Standard) };
    let twin = build("mst-s", &options, &ours.root()).expect("MST-S");
    weights::load(store, &weights::save(&ours)).unwrap_or_else(|error| panic!("{error}"));
    let x = Tensor::rand([1, 28, crop, crop], (Kind::Float, Device::Cpu));
    let mask = sheared(&Tensor::rand([1, 1, crop, crop], (Kind::Float, Device::Cpu)));
    let (found, expected) =
        tch::no_grad(|| (network.forward(&x, &mask), twin.forward(&x, Some(&mask), false)));
    let gap = (&found - &expected).abs().max().double_value(&[]);
    // Rounding of sums over thousands of pixels in another order.
    assert!(gap < 1e-4 * expected.abs().max().double_value(&[]), "the stand-in is off by {gap}");
}

/// `[1, 1, row, column]` to `[1, 28, row, column + 54]`.
fn sheared(mask: &Tensor) -> Tensor {
    let (_, _, rows, columns) = mask.size4().expect("a mask");
    let out = Tensor::zeros([1, 28, rows, columns + 54], (Kind::Float, Device::Cpu));
    for band in 0..28 {
        out.select(1, band).narrow(2, 2 * band, columns).copy_(&mask.select(1, 0));
    }
    out
}

/// Scenes in memory; samples are cut, turned and coded one at a time.
struct Loader {
    scenes: Vec<Tensor>,
    mask: Tensor,
}

impl Loader {
    fn new() -> Self {
        let instrument = cassi_optics::builtin("standard").expect("built in");
        let scenes = (0..4).map(|seed| {
            let recipe =
                cassi_scene::SceneRecipe::new(cassi_scene::Kind::StillLife, seed).with_size(256, 256);
            data::cube_tensor(&recipe.render(&instrument.wavelengths_nm))
        });
        let mask = Tensor::rand([256, 256], (Kind::Float, Device::Cpu)).gt(0.5).to_kind(Kind::Float);
        Self { scenes: scenes.collect(), mask }
    }

    /// Features `[n, 28, row, column]`, the mask `[1, 1, row, column]`, and the truth.
    fn batch(&self, number: u64, count: i64, crop: i64) -> (Tensor, Tensor, Tensor) {
        let mut stream = Stream::new(1, "bench/batch", number);
        let mut corner = || stream.below((256 - crop + 1) as usize) as i64;
        let mask = self.mask.narrow(0, corner(), crop).narrow(1, corner(), crop);
        let mut truth = Vec::new();
        let mut features = Vec::new();
        for _ in 0..count {
            let (row, column) = (corner(), corner());
            let scene = &self.scenes[(row + column) as usize % self.scenes.len()];
            let mut x = scene.narrow(1, row, crop).narrow(2, column, crop);
            if row % 2 == 0 {
                x = x.flip([1]);
            }
            if column % 2 == 0 {
                x = x.rot90(1, [1, 2]);
            }
            let x = x.contiguous();
            let y = Tensor::zeros([crop, crop + 54], (Kind::Float, Device::Cpu));
            for band in 0..28 {
                let _ = y.narrow(1, 2 * band, crop).g_add_(&(x.select(0, band) * &mask));
            }
            let windows: Vec<Tensor> = (0..28).map(|band| y.narrow(1, 2 * band, crop)).collect();
            features.push(Tensor::stack(&windows, 0) / 28.0 * 2.0);
            truth.push(x);
        }
        (Tensor::stack(&features, 0), mask.contiguous().view([1, 1, crop, crop]), Tensor::stack(&truth, 0))
    }
}

//! The training loop: start or resume, step, validate, checkpoint, finish.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::Instant;

use cassi_core::card::{CardMetrics, CardTraining, MaskPolicy, WeightsCard};
use cassi_core::{InstrumentDescription, Mask, refinement};
use cassi_io::TensorPrecision;
use tch::{Device, Tensor, nn};

use super::checkpoint::{self, Progress};
use super::config::{DataSource, MaskSource, Stage, TrainConfig, expand};
use super::data::{self, NamedScene, Reading, read_mask, read_scenes};
use super::first::First;
use super::log::{Log, Row};
use super::meter::Meter;
use super::optimiser::Optimiser;
use super::sample::Sampler;
use super::validate::{SceneScore, mean, validate};
use super::workers::{Plan, Workers};
use super::{Event, RunOptions, TrainError, TrainReport, panic_message, picture};
use crate::arch::{Layout, Network, Options, Phase, build};
use crate::{device, weights};

/// Trains a network as configured; everything is written below `out`. If `out` holds a checkpoint of the same
/// configuration, the training goes on from there.
///
/// Run one training at a time in a process: libtorch's random generator is shared by all threads.
///
/// # Errors
/// Bad data, a device that is not there, memory that does not suffice, a loss that is no number.
pub fn run(
    config: &TrainConfig,
    out: &Path,
    options: &RunOptions,
    events: &mut dyn FnMut(Event),
) -> Result<TrainReport, TrainError> {
    let device = device::select(&options.device)?;
    device::pin_allocator();
    device::single_threaded_blas();
    let threads = match options.threads {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        threads => threads,
    };
    // Drawing batches is many small operations, for which a team of threads costs more than it saves.
    tch::set_num_threads(1);
    cassi_io::ensure_folder(out)?;
    let instrument = read_instrument(&config.instrument)?;
    let validation = match &config.validation {
        Some(v) => Some((read_scenes(&v.path, &instrument)?, read_mask(&v.mask)?)),
        None => None,
    };
    let mut training =
        Training::start(config, out, options, device, threads, instrument, validation, events)?;
    training.steps(options, events)
}

/// A shipped instrument by name, or a TOML file.
fn read_instrument(name: &str) -> Result<InstrumentDescription, TrainError> {
    if let Some(known) = cassi_optics::builtin(name) {
        return Ok(known);
    }
    let path = expand(name)?;
    Ok(cassi_optics::parse_instrument(&cassi_io::read_text(Path::new(&path))?, &path)?)
}

struct Training<'a> {
    config: &'a TrainConfig,
    out: &'a Path,
    device: Device,
    store: nn::VarStore,
    network: Box<dyn Network>,
    sampler: Sampler<'a>,
    instrument: InstrumentDescription,
    optimiser: Optimiser,
    workers: Workers,
    validation: Option<(Vec<NamedScene>, Mask)>,
    progress: Progress,
    log: Log,
    scores: Vec<SceneScore>,
    judged: bool,
    command: String,
    threads: usize,
}

impl<'a> Training<'a> {
    #[allow(clippy::too_many_arguments)] // called once
    fn start(
        config: &'a TrainConfig,
        out: &'a Path,
        options: &RunOptions,
        device: Device,
        threads: usize,
        instrument: InstrumentDescription,
        validation: Option<(Vec<NamedScene>, Mask)>,
        events: &mut dyn FnMut(Event),
    ) -> Result<Self, TrainError> {
        let layout = Layout::of(&config.method, &instrument);
        let shape = config.shape(instrument.bands(), instrument.step());
        let net_options = Options { layout, shape, mask_shift: config.mask_shift };
        // Built on the CPU, so that the random start is the same on every device.
        tch::manual_seed(config.seed as i64);
        let mut store = nn::VarStore::new(Device::Cpu);
        let (_, architecture) = refinement(&config.method);
        let first = First::of(&config.method, &instrument)?;
        let network = build(architecture, &net_options, &store.root())?;
        match &options.continue_from {
            Some(path) => {
                weights::load(&store, &cassi_io::read_tensors(path)?)?;
                events(Event::Note(format!("starting from {}", path.display())));
            }
            None => network.start_training(first.is_some()),
        }
        store.set_device(device);
        let mut optimiser = Optimiser::new(&store, &config.optimiser);
        let file = out.join(checkpoint::FILE);
        let progress = match file.exists() {
            true => {
                let progress = checkpoint::read(&file, &store, &mut optimiser, config)?;
                events(Event::Note(format!("resumed at step {} of {}", progress.step, config.steps)));
                progress
            }
            false => Progress::default(),
        };
        let longest =
            |axis: usize| config.stages.iter().map(|s| s.crop.size()[axis]).max().unwrap_or_default();
        let sample = [longest(0), longest(1)];
        let reading = Reading {
            sources: &config.data,
            seed: config.seed,
            instrument: &instrument,
            storage: config.storage,
            device,
            sample,
        };
        let scenes = match config.cache_mb {
            None => reading.whole(events)?,
            Some(megabytes) => reading.streamed((megabytes * 1e6) as usize, out, events)?,
        };
        let sampler = Sampler {
            config,
            instrument: instrument.clone(),
            scenes,
            masks: data::masks(&config.masks, config.seed, device, sample[0].max(sample[1]))?,
            mask_form: network.mask_form(),
            first,
        };
        let names: Vec<String> = buffers(&store);
        let variables = store.variables();
        let buffers: Vec<(String, Tensor)> =
            names.into_iter().map(|name| (name.clone(), variables[&name].shallow_clone())).collect();
        // Running statistics cannot be gathered by several workers at once.
        let count = if device == Device::Cpu && buffers.is_empty() { threads } else { 1 };
        let plan = Plan {
            method: architecture.to_string(),
            options: net_options,
            device,
            loss: config.loss.clone(),
            precision: config.precision,
            threads: threads / count,
        };
        let workers = Workers::start(&plan, optimiser.values(), &buffers, count)?;
        let log = Log::open(out, progress.step)?;
        let command = options.command.clone();
        Ok(Self {
            config,
            out,
            device,
            store,
            network,
            sampler,
            instrument,
            optimiser,
            workers,
            validation,
            progress,
            log,
            scores: Vec::new(),
            judged: false,
            command,
            threads,
        })
    }

    fn steps(
        &mut self,
        options: &RunOptions,
        events: &mut dyn FnMut(Event),
    ) -> Result<TrainReport, TrainError> {
        let config = self.config;
        let mut meter = Meter::new(self.progress.seconds);
        let mut pending: Vec<(u64, Tensor)> = Vec::new();
        let mut ended = self.progress.step >= config.steps;
        while !ended {
            let step = self.progress.step;
            let stage = config.stage(step);
            let drawing = Instant::now();
            self.sampler.scenes.advance(step)?;
            let batch = catch_unwind(AssertUnwindSafe(|| tch::no_grad(|| self.sampler.draw(step, stage))))
                .map_err(|panic| self.failure(panic_message(panic), stage.batch, stage, |_| false))?;
            meter.drawn(drawing);
            let part = self.part(stage);
            let phase = config.phase(step);
            let (gradient, loss) = self.workers.gradient(&batch, part, phase).map_err(|message| {
                let fits = |part| self.workers.gradient(&batch, part, phase).is_ok();
                self.failure(message, part, stage, fits)
            })?;
            let rate = config.optimiser.rate * config.schedule.at(step, config.steps);
            // On the CPU the loss is at hand; a GPU is asked for it only now and then.
            let known = self.device == Device::Cpu || pending.len() >= 31;
            pending.push((step, loss));
            if known {
                self.read_losses(&mut pending, &mut meter)?;
            }
            self.optimiser.step(gradient, step, rate);
            self.progress.step += 1;
            self.progress.samples += stage.batch as u64;
            meter.samples += stage.batch as u64;
            self.progress.seconds = meter.seconds();
            let done = self.progress.step;
            if options.die_at == Some(done) {
                return Ok(self.report(false));
            }
            let interrupted = options.interrupt.load(Ordering::Relaxed);
            let late = config.minutes.is_some_and(|minutes| self.progress.seconds > 60.0 * minutes);
            ended = done == config.steps || late || interrupted;
            if meter.due(ended) {
                self.read_losses(&mut pending, &mut meter)?;
                let left = (config.steps - done) as f64;
                let event = meter.report(done, config.steps, rate, left);
                if let Event::Progress { loss, .. } = event {
                    self.log.add(self.row(rate, Some(loss), None))?;
                }
                events(event);
            }
            let validate = config.validation.as_ref().is_some_and(|v| done.is_multiple_of(v.every));
            if validate || (ended && !interrupted) {
                self.read_losses(&mut pending, &mut meter)?;
                let patience = config.validation.as_ref().map_or(0, |v| v.patience);
                self.judge(rate, ended, events)?;
                ended |= patience > 0 && self.progress.stale >= patience;
                self.progress.seconds = meter.seconds();
            }
            if done.is_multiple_of(config.checkpoint_every) || ended {
                self.read_losses(&mut pending, &mut meter)?;
                let path = self.out.join(checkpoint::FILE);
                checkpoint::write(&path, &self.store, &self.optimiser, &self.progress, config)?;
                self.log.draw()?;
                events(Event::Checkpoint { path });
            }
            if interrupted {
                return Ok(self.report(false));
            }
        }
        if !self.judged {
            // Resumed after its last step.
            self.judge(0.0, true, events)?;
        }
        Ok(self.report(true))
    }

    /// Samples that a worker takes at once.
    fn part(&self, stage: &Stage) -> usize {
        let share = stage.batch.div_ceil(self.workers.count());
        if stage.part == 0 { share } else { stage.part.min(share) }
    }

    /// What went wrong in words. Where memory was short, `fits` is asked for a number of samples that fits.
    fn failure(
        &self,
        message: String,
        part: usize,
        stage: &Stage,
        fits: impl Fn(usize) -> bool,
    ) -> TrainError {
        TrainError::memory(&message, part, stage.crop.size(), fits)
            .unwrap_or_else(|| crate::NetsError::from(tch::TchError::Torch(message)).into())
    }

    fn read_losses(&self, pending: &mut Vec<(u64, Tensor)>, meter: &mut Meter) -> Result<(), TrainError> {
        for (step, loss) in pending.drain(..) {
            let loss = loss.double_value(&[]);
            if !loss.is_finite() {
                let path = self.out.join(checkpoint::FILE);
                let checkpoint = match path.exists() {
                    true => format!("{}", path.display()),
                    false => "the random start (no checkpoint was due yet)".into(),
                };
                return Err(TrainError::NotFinite { step, seed: self.config.seed, loss, checkpoint });
            }
            meter.loss += loss;
            meter.losses += 1;
        }
        Ok(())
    }

    fn row(&self, rate: f64, loss: Option<f64>, psnr: Option<f64>) -> Row {
        let Progress { step, seconds, samples, .. } = self.progress;
        Row { step, seconds, samples, rate, loss, psnr }
    }

    /// Validates the averaged weights and writes them with their card if they are the best so far. Those of a network
    /// that is still becoming binary are judged as it is, but neither kept nor compared; where it has `ended`, as signs.
    fn judge(&mut self, rate: f64, ended: bool, events: &mut dyn FnMut(Event)) -> Result<(), TrainError> {
        let phase = self.config.phase(self.progress.step);
        let hardness = if ended { 1.0 } else { phase.hardness };
        self.network.set_phase(Phase { hardness, ..phase });
        let (network, instrument, device) = (&*self.network, &self.instrument, self.device);
        let first = self.sampler.first.as_ref();
        let validation = &self.validation;
        let store = &self.store;
        let average = self.config.optimiser.average > 0.0;
        tch::set_num_threads(self.threads as i32);
        let mut pairs = Vec::new();
        let mut judge = || {
            let scores = validation.as_ref().map_or_else(Vec::new, |(scenes, mask)| {
                validate(network, scenes, mask, instrument, first, device, |i, truth, estimate| {
                    if i < 4 {
                        pairs.push((truth.shallow_clone(), estimate.shallow_clone()));
                    }
                })
            });
            (scores, weights::save(store))
        };
        let (scores, tensors) = if average { self.optimiser.with_average(judge) } else { judge() };
        tch::set_num_threads(1);
        device::end_helper_threads();
        let step = self.progress.step;
        let mut best = hardness == 1.0;
        if !scores.is_empty() {
            let psnr = mean(&scores).psnr_unit_peak;
            if hardness == 1.0 {
                best = self.progress.best.is_none_or(|(before, _)| psnr > before);
                if best {
                    self.progress.best = Some((psnr, step));
                    self.progress.stale = 0;
                } else {
                    self.progress.stale += 1;
                }
            }
            self.log.add(self.row(rate, None, Some(psnr)))?;
            if let Some(picture) = picture::comparison(&pairs, &self.instrument.wavelengths_nm) {
                cassi_io::write_bytes(&self.out.join("validation.png"), &picture)?;
            }
        }
        self.scores = scores.clone();
        self.judged = true;
        if best {
            self.write_weights(&tensors)?;
        }
        events(Event::Validation { step, scores, best });
        Ok(())
    }

    fn weights_path(&self) -> PathBuf {
        self.out.join(format!("{}.safetensors", self.config.name))
    }

    fn card_path(&self) -> PathBuf {
        self.out.join(format!("{}.toml", self.config.name))
    }

    fn write_weights(&self, tensors: &cassi_core::NamedTensors) -> Result<(), TrainError> {
        let path = self.weights_path();
        let metadata = BTreeMap::from([("method".to_string(), self.config.method.clone())]);
        cassi_io::write_tensors(&path, tensors, TensorPrecision::F32, &metadata)?;
        let config = self.config;
        let metrics = self.validation.as_ref().map(|(_, mask)| {
            let scenes = self.scores.iter().map(|scene| (scene.name.clone(), scene.scores)).collect();
            CardMetrics::new(cassi_optics::mask::sha256(mask), scenes)
        });
        let card = WeightsCard {
            name: config.name.clone(),
            method: config.method.clone(),
            bands: self.instrument.bands(),
            width: config.width.unwrap_or(self.instrument.bands()),
            columns_per_band: self.instrument.step(),
            instrument: self.instrument.name.clone(),
            mask: self.mask_policy()?,
            network_input: self.instrument.network_input,
            sha256: cassi_io::sha256_file(&path)?,
            licence: "MIT OR Apache-2.0".into(),
            limits: None,
            training: Some(CardTraining {
                data: config.data.iter().map(DataSource::name).collect(),
                command: self.command.clone(),
                seed: config.seed,
                steps: self.progress.step,
                samples: self.progress.samples,
                seconds: self.progress.seconds,
                log: Some(super::log::TABLE.into()),
                device: Some(match self.device {
                    Device::Cpu => format!("cpu, {} threads", self.threads),
                    _ => "cuda".into(),
                }),
                version: env!("CARGO_PKG_VERSION").into(),
            }),
            metrics,
        };
        let text = toml::to_string(&card).expect("plain data");
        Ok(cassi_io::write_bytes(&self.card_path(), text.as_bytes())?)
    }

    /// Networks that saw windows of one mask alone are for that mask.
    fn mask_policy(&self) -> Result<MaskPolicy, TrainError> {
        Ok(match self.config.masks.as_slice() {
            [MaskSource::Given { path, .. }] => {
                MaskPolicy::Only(cassi_optics::mask::sha256(&read_mask(path)?))
            }
            _ => MaskPolicy::Any,
        })
    }

    fn report(&self, finished: bool) -> TrainReport {
        TrainReport {
            steps: self.progress.step,
            finished,
            seconds: self.progress.seconds,
            samples: self.progress.samples,
            weights: self.weights_path(),
            card: self.card_path(),
            scores: self.scores.clone(),
        }
    }
}

/// Names of the tensors that are not trained.
fn buffers(store: &nn::VarStore) -> Vec<String> {
    let trained: Vec<_> = store.trainable_variables().iter().map(Tensor::data_ptr).collect();
    let mut names: Vec<String> = store
        .variables()
        .into_iter()
        .filter(|(_, tensor)| !trained.contains(&tensor.data_ptr()))
        .map(|(name, _)| name)
        .collect();
    names.sort();
    names
}

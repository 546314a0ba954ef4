//! Data-parallel workers: each holds a replica of the network on the shared parameters and returns a flat gradient.
//!
//! On the CPU one thread a worker beats several threads inside every layer: there is no barrier after each of a
//! thousand small operations, and work of others on the same cores delays one part instead of every operation. On a
//! GPU there is one worker.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use tch::{Device, Kind, Tensor, nn};

use super::config::{Loss, Precision};
use super::loss::loss;
use super::optimiser::{bind, take_gradient};
use super::sample::Batch;
use crate::NetsError;
use crate::arch::{Options, Phase, build};

/// What every worker needs to build its replica.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) method: String,
    pub(crate) options: Options,
    pub(crate) device: Device,
    pub(crate) loss: Loss,
    pub(crate) precision: Precision,
    /// CPU threads of each worker.
    pub(crate) threads: usize,
}

/// Parts of a batch, each with its share of the whole.
struct Job {
    parts: Vec<(Batch, f64)>,
    phase: Phase,
}

/// A gradient and the loss (a tensor, so that a GPU need not be waited for), or what libtorch said.
type Answer = Result<(Tensor, Tensor), String>;

struct Worker {
    jobs: Sender<Job>,
    answers: Receiver<Answer>,
    thread: JoinHandle<()>,
}

/// A set of workers on one buffer of parameters.
pub(crate) struct Workers(Vec<Worker>);

impl Workers {
    /// Starts `count` workers. `buffers` are tensors that are not trained, shared by name with a single worker.
    pub(crate) fn start(
        plan: &Plan,
        values: &Tensor,
        buffers: &[(String, Tensor)],
        count: usize,
    ) -> Result<Self, NetsError> {
        let start = |_| {
            let (jobs, incoming) = channel::<Job>();
            let (outgoing, answers) = channel();
            let (built, ready) = channel();
            let (plan, values) = (plan.clone(), values.shallow_clone());
            let buffers: Vec<_> = buffers.iter().map(|(name, t)| (name.clone(), t.shallow_clone())).collect();
            let thread = std::thread::spawn(move || {
                if plan.device == Device::Cpu {
                    // Of this thread alone.
                    tch::set_num_threads(plan.threads as i32);
                }
                let store = nn::VarStore::new(plan.device);
                let network = build(&plan.method, &plan.options, &store.root()).expect("it was built before");
                let mut parameters = bind(&store, &values);
                let variables = store.variables();
                for (name, buffer) in &buffers {
                    variables[name].shallow_clone().set_data(buffer);
                }
                // Whoever started this worker has gone already only if the training is being given up.
                let _ = built.send(());
                for job in incoming {
                    let answer = catch_unwind(AssertUnwindSafe(|| {
                        let mut total = Tensor::zeros([], (Kind::Float, plan.device));
                        network.set_phase(job.phase);
                        for (batch, share) in job.parts {
                            let Batch { features, mask, truth } = batch;
                            let (features, mask) = match plan.precision {
                                Precision::F32 => (features, mask),
                                Precision::Bf16 => {
                                    let half = |t: Tensor| t.to_kind(Kind::BFloat16);
                                    (half(features), mask.map(half))
                                }
                            };
                            let estimate = network.forward(&features, mask.as_ref(), true);
                            let loss = loss(&plan.loss, &estimate, &truth) * share;
                            loss.backward();
                            total += loss.detach();
                        }
                        (take_gradient(&mut parameters), total)
                    }));
                    let answer = answer.map_err(|panic| {
                        parameters.iter_mut().for_each(Tensor::zero_grad);
                        super::panic_message(panic)
                    });
                    if outgoing.send(answer).is_err() {
                        return;
                    }
                }
            });
            // Building draws from libtorch's generator, which the batches seed: not beside one another.
            let _ = ready.recv();
            Worker { jobs, answers, thread }
        };
        Ok(Self((0..count.max(1)).map(start).collect()))
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    /// Gradient and loss of a batch, in parts of at most `part` samples. The sum runs over workers in their order.
    pub(crate) fn gradient(&self, batch: &Batch, part: usize, phase: Phase) -> Answer {
        let whole = batch.truth.size()[0];
        let mut jobs: Vec<Vec<(Batch, f64)>> = self.0.iter().map(|_| Vec::new()).collect();
        let count = self.count();
        for (i, from) in (0..whole).step_by(part).enumerate() {
            let size = (part as i64).min(whole - from);
            jobs[i % count].push((batch.part(from, size), size as f64 / whole as f64));
        }
        let busy = jobs.iter().filter(|job| !job.is_empty()).count();
        for (worker, parts) in self.0.iter().zip(jobs).take(busy) {
            worker.jobs.send(Job { parts, phase }).map_err(|_| "a worker has ended".to_string())?;
        }
        let mut sum: Option<(Tensor, Tensor)> = None;
        let mut failure = None;
        for worker in self.0.iter().take(busy) {
            match worker.answers.recv().map_err(|_| "a worker has ended".to_string())? {
                Err(message) => failure = Some(message),
                Ok((gradient, loss)) => {
                    sum = Some(match sum {
                        None => (gradient, loss),
                        Some((g, l)) => (g + gradient, l + loss),
                    });
                }
            }
        }
        match failure {
            Some(message) => Err(message),
            None => Ok(sum.expect("a batch has samples")),
        }
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        for worker in self.0.drain(..) {
            drop(worker.jobs);
            // A worker that panicked has said so in its answer.
            let _ = worker.thread.join();
        }
    }
}

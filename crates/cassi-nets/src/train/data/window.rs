//! A window that moves over the shuffled scenes of a source too large for memory.
//!
//! The scenes are put into an endless sequence, shuffled anew for every pass. At step `t` those at `t .. t + capacity`
//! are in memory and samples are drawn from them, so a step costs one scene read whatever its batch, and where the
//! window stands follows from the step alone: a resumed training sees what it would have seen. Several threads read
//! ahead.

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use cassi_core::random::Stream;
use cassi_io::IoError;
use tch::{Device, Tensor};

use super::spool::Spool;

/// Threads that read.
const READERS: usize = 2;

/// Scenes that are read ahead of the window.
pub(super) const AHEAD: usize = 4;

type Answer = Result<Tensor, IoError>;

/// A scene to read, and where to send it.
type Job = (usize, Sender<Answer>);

/// The scenes in memory, and those on their way there.
#[derive(Debug)]
pub(crate) struct Window {
    scenes: usize,
    capacity: usize,
    device: Device,
    seed: u64,
    /// Which source of the training this is: each is shuffled in its own way.
    source: u64,
    /// The order of the pass that was asked for last.
    order: (u64, Vec<usize>),
    /// Place in the sequence of the first scene in memory.
    first: u64,
    resident: VecDeque<Tensor>,
    coming: VecDeque<Receiver<Answer>>,
    jobs: Option<Sender<Job>>,
    readers: Vec<JoinHandle<()>>,
}

impl Window {
    pub(super) fn new(spool: &Spool, capacity: usize, device: Device, seed: u64, source: u64) -> Self {
        let (jobs, waiting) = channel::<Job>();
        let waiting = Arc::new(Mutex::new(waiting));
        let reader = |_| {
            let (spool, waiting) = (spool.clone(), waiting.clone());
            std::thread::spawn(move || {
                loop {
                    // The lock is held while waiting: one reader waits, the others read or stand in line.
                    let job = waiting.lock().expect("no reader panics with it").recv();
                    let Ok((scene, answer)) = job else { return };
                    // Nobody waits any more for a scene that was asked for before a jump.
                    let _ = answer.send(spool.read(scene));
                }
            })
        };
        Self {
            scenes: spool.len(),
            capacity,
            device,
            seed,
            source,
            order: (u64::MAX, Vec::new()),
            first: 0,
            resident: VecDeque::new(),
            coming: VecDeque::new(),
            jobs: Some(jobs),
            readers: (0..READERS).map(reader).collect(),
        }
    }

    /// Scenes in memory.
    pub(super) fn resident(&self) -> &VecDeque<Tensor> {
        &self.resident
    }

    /// Moves the window to a step, waiting for what has not been read yet.
    pub(super) fn advance(&mut self, step: u64) -> Result<(), IoError> {
        let asked = self.first + (self.resident.len() + self.coming.len()) as u64;
        if step < self.first || step > asked {
            self.resident.clear();
            self.coming.clear();
            self.first = step;
        }
        let last = step + (self.capacity + AHEAD) as u64;
        let asked = self.first + (self.resident.len() + self.coming.len()) as u64;
        for place in asked..last {
            let scene = self.scene_at(place);
            let (answer, coming) = channel();
            let jobs = self.jobs.as_ref().expect("open until this is dropped");
            jobs.send((scene, answer)).expect("readers live as long as this");
            self.coming.push_back(coming);
        }
        while self.first < step || self.resident.len() < self.capacity {
            let next = self.coming.pop_front().expect("asked for above");
            let scene = next.recv().expect("readers answer")?;
            self.resident.push_back(scene.to_device(self.device));
            if self.resident.len() > self.capacity {
                self.resident.pop_front();
                self.first += 1;
            }
        }
        Ok(())
    }

    /// The scene at a place of the sequence.
    fn scene_at(&mut self, place: u64) -> usize {
        let pass = place / self.scenes as u64;
        if self.order.0 != pass {
            let mut stream = Stream::new(self.seed, "train/window", self.source << 40 | pass);
            self.order = (pass, stream.permutation(self.scenes));
        }
        self.order.1[(place % self.scenes as u64) as usize]
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        self.jobs = None;
        for reader in self.readers.drain(..) {
            let _ = reader.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use tch::Kind;

    use super::*;

    #[test]
    fn where_the_window_stands_follows_from_the_step_and_every_scene_comes() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("scenes.spool");
        let scene = |i: usize| Tensor::full([1, 1, 1], i as f64, (Kind::Float, Device::Cpu));
        let spool =
            Spool::open_or_make(&path, "", Kind::Float, |give| (0..7).try_for_each(|i| give(&scene(i))));
        let spool = spool.expect("made");
        let window = || Window::new(&spool, 3, Device::Cpu, 5, 0);
        let seen = |window: &Window| -> Vec<usize> {
            window.resident().iter().map(|t| t.double_value(&[0, 0, 0]) as usize).collect()
        };
        let mut walking = window();
        let mut all = HashSet::new();
        let mut before: Vec<usize> = Vec::new();
        for step in 0..20 {
            walking.advance(step).expect("read");
            let here = seen(&walking);
            assert_eq!(here.len(), 3);
            if step > 0 {
                assert_eq!(here[..2], before[1..], "one scene a step is renewed");
            }
            // A training that resumes here, in a window of its own and in one that stood elsewhere.
            let mut jumping = window();
            jumping.advance(step).expect("read");
            assert_eq!(seen(&jumping), here, "step {step}");
            jumping.advance(500).expect("read");
            jumping.advance(step).expect("read");
            assert_eq!(seen(&jumping), here, "back at step {step}");
            if step < 5 {
                all.extend(here.iter().copied());
            }
            before = here;
        }
        assert_eq!(all.len(), 7, "five steps show places 0 to 6: one pass");
    }
}

//! BiSRNet and the seven binarized baselines of its toolbox on packed bits.
//!
//! A [`BinaryNetwork`] is built from named float tensors, whose latent weights are binarized by the rule of the
//! [`Method`] and whose names and shapes are checked strictly, or from the bytes of a packed file ([`parse_cbin`]).
//! [`BinaryNetwork::run`] takes an image of any size; a [`Workspace`] keeps the buffers between calls.
//!
//! Two engines run the same plan: [`Engine::Bits`] on packed signs, [`Engine::Float`] on floats −1, 0, 1 through
//! the blocked float convolution. Their sums are the same integers, so their cubes are the same bits; the float one
//! is the check and the honest measure of what bits gain. `docs/bit-engine.md` has the design and the figures.

mod buffer;
mod build;
mod cbin;
mod inspect;
mod method;
mod net;
mod operands;
mod reconstruct;
mod run;
mod signs;
mod source;
mod stage;
mod winograd;
mod workspace;

use build::build;
use net::BuildParts;

pub use cbin::{CbinError, SizeReport, compile, parse_cbin};
pub use inspect::{StageObserver, StageRow, Unit, UnitSteps};
pub use method::{Layout, Method};
pub use reconstruct::BinaryReconstructor;
pub use run::Input;
pub use source::{expected_tensors, nearest_method, rule_weights};
pub use workspace::Workspace;

use cassi_core::NamedTensors;

use crate::WeightsError;
use crate::kernels::{self, Kernel};

/// How convolutions of signs with binary weights are computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Engine {
    /// On packed bits.
    #[default]
    Bits,
    /// On floats −1, 0, 1.
    Float,
}

/// A network, ready to run.
#[derive(Clone)]
pub struct BinaryNetwork {
    parts: BuildParts,
    engine: Engine,
    kernel: &'static Kernel,
    identity: u64,
}

impl BinaryNetwork {
    /// Builds a network from a float checkpoint (official names; tensors in any order).
    ///
    /// # Errors
    /// If names are missing or unknown, shapes differ or numbers are not finite; all of them are listed, with the
    /// network that the tensors look like.
    pub fn from_tensors(
        tensors: &NamedTensors,
        method: Method,
        layout: Layout,
    ) -> Result<Self, WeightsError> {
        Ok(Self::from_parts(source::read_checkpoint(tensors, method, layout)?))
    }

    fn from_parts(parts: BuildParts) -> Self {
        Self { parts, engine: Engine::Bits, kernel: kernels::best(), identity: 0 }.packed()
    }

    fn packed(mut self) -> Self {
        for branch in self.parts.branches_mut() {
            branch.pack(self.engine, self.kernel);
        }
        static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(1);
        self.identity = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        self
    }

    /// The same network on another engine.
    pub fn with_engine(mut self, engine: Engine) -> Self {
        self.engine = engine;
        self.packed()
    }

    /// The same network on other kernels (they are chosen by the CPU otherwise).
    ///
    /// # Panics
    /// If this CPU cannot run them.
    pub fn with_kernel(mut self, kernel: &'static Kernel) -> Self {
        assert!((kernel.available)(), "this CPU has no {}", kernel.name);
        self.kernel = kernel;
        self.packed()
    }

    /// Which network it is.
    pub fn method(&self) -> Method {
        self.parts.method
    }

    /// What it takes.
    pub fn layout(&self) -> Layout {
        self.parts.layout
    }

    /// How it computes.
    pub fn engine(&self) -> Engine {
        self.engine
    }

    /// The kernels in use.
    pub fn kernel(&self) -> &'static Kernel {
        self.kernel
    }
}

impl std::fmt::Debug for BinaryNetwork {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "BinaryNetwork({}, {}, {:?}, {})",
            self.method(),
            self.layout(),
            self.engine,
            self.kernel.name
        )
    }
}

//! `--engine`, `--device` and `--precision`: which implementation runs a network, where, and on which numbers.

use anyhow::bail;

/// Which implementation runs a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Engine {
    /// Packed bits and fused floats on the CPU
    Native,
    /// The same networks on libtorch, on CPU or GPU
    Torch,
}

/// Which numbers it computes with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Precision {
    /// Single precision
    F32,
    /// Features in bfloat16
    Bf16,
}

/// The options of commands that run networks.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "How networks are computed")]
pub(crate) struct EngineOptions {
    /// Which implementation [default: native; torch with --device cuda]
    #[arg(long, value_enum)]
    engine: Option<Engine>,
    /// cpu, cuda or cuda:N
    #[arg(long, value_name = "DEVICE", default_value = "cpu", value_parser = parse_device)]
    device: String,
    /// Precision of the features
    #[arg(long, value_enum, default_value_t = Precision::F32)]
    precision: Precision,
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self { engine: None, device: "cpu".into(), precision: Precision::F32 }
    }
}

fn parse_device(text: &str) -> Result<String, String> {
    let numbered = |index: &str| !index.is_empty() && index.bytes().all(|b| b.is_ascii_digit());
    match text {
        "cpu" | "cuda" => Ok(text.into()),
        _ if text.strip_prefix("cuda:").is_some_and(numbered) => Ok(text.into()),
        _ => Err("expected cpu, cuda or cuda:N".into()),
    }
}

impl EngineOptions {
    /// The engine that these options ask for.
    ///
    /// # Errors
    /// If it cannot run on the device, or is not in this build.
    pub(crate) fn resolve(&self) -> anyhow::Result<Engine> {
        let engine = match (self.engine, self.device.as_str()) {
            (None, "cpu") => Engine::Native,
            (None, _) => Engine::Torch,
            (Some(Engine::Native), device) if device != "cpu" => {
                bail!("--device {device}: the native engine runs on the CPU; use --engine torch for a GPU")
            }
            (Some(engine), _) => engine,
        };
        if engine == Engine::Torch && !cfg!(feature = "torch") {
            let asked = match self.engine {
                Some(_) => "--engine torch".to_string(),
                None => format!("--device {} (engine torch)", self.device),
            };
            bail!(
                "{asked} is not in this build of cassi; `make build-torch` builds target/torch/release/cassi, which \
                 has it"
            );
        }
        Ok(engine)
    }

    /// The device by name.
    #[cfg(feature = "torch")]
    pub(crate) fn device(&self) -> &str {
        &self.device
    }

    /// The precision.
    pub(crate) fn precision(&self) -> Precision {
        self.precision
    }

    /// Refuses options that mean nothing to a solver.
    ///
    /// # Errors
    /// If one was given.
    pub(crate) fn require_none(&self, method: &str) -> anyhow::Result<()> {
        if self.engine == Some(Engine::Torch) || self.device != "cpu" || self.precision != Precision::F32 {
            bail!(
                "{method} is a solver and runs in single precision on the CPU; --engine, --device and --precision are \
                 for networks"
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(engine: Option<Engine>, device: &str) -> EngineOptions {
        EngineOptions { engine, device: device.into(), ..EngineOptions::default() }
    }

    #[test]
    fn the_device_decides_where_no_engine_is_named() {
        assert_eq!(options(None, "cpu").resolve().unwrap(), Engine::Native);
        assert!(options(Some(Engine::Native), "cuda").resolve().is_err());
        let torch = options(None, "cuda:1").resolve();
        assert_eq!(torch.is_ok(), cfg!(feature = "torch"));
        assert!(options(None, "cpu").require_none("gap-tv").is_ok());
        assert!(options(None, "cuda").require_none("gap-tv").is_err());
    }

    #[test]
    fn devices_by_name() {
        for good in ["cpu", "cuda", "cuda:0", "cuda:12"] {
            assert!(parse_device(good).is_ok(), "{good}");
        }
        for bad in ["", "gpu", "cuda:", "cuda:x", "cuda:-1"] {
            assert!(parse_device(bad).is_err(), "{bad}");
        }
    }
}

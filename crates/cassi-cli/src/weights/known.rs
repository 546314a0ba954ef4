//! Published weights that carry no card, recognised by their hash: the official BiSRNet pair, whose two files have the
//! same names and shapes though they are for different instruments.

use cassi_core::card::{MaskPolicy, WeightsCard};

/// SHA-256 of the benchmark's mask and of the real camera's, whose alone the official weights were trained with.
const MASK_256: &str = "1a9dbae46d79a13388028983e0f4caaaafb305006755329170d556cdfa5a5b8b";
const MASK_660: &str = "dbfe46cce259a3d5be5cef494a285807c0916dbbaa992e5081abcc61cafee3d9";

struct Known {
    sha256: &'static str,
    instrument: &'static str,
    mask: &'static str,
}

const BISRNET: [Known; 4] = [
    Known {
        sha256: "a06452f8d4f68f575809afb374ff15ca56956bd12dcbe9472081116a5782fad0",
        instrument: "standard",
        mask: MASK_256,
    },
    Known {
        sha256: "ea7b19d8824a545c07bf0d84c2e36a8d8467ca3b289102fef3b314e1de3eb1b4",
        instrument: "standard",
        mask: MASK_256,
    },
    Known {
        sha256: "1cc171b6c541be216adc91450216046358281fdead159498365583fc1080e2ca",
        instrument: "tsa-real",
        mask: MASK_660,
    },
    Known {
        sha256: "7642292e62e20852a4243ac68fcf74e8604383c5cae48b271ec834c8c1dc9b9e",
        instrument: "tsa-real",
        mask: MASK_660,
    },
];

/// The card that the authors' file would have.
pub(super) fn card(sha256: &str) -> Option<WeightsCard> {
    let known = BISRNET.iter().find(|known| known.sha256 == sha256)?;
    let instrument = cassi_optics::builtin(known.instrument).expect("built in");
    Some(WeightsCard {
        name: format!("official bisrnet for {}", known.instrument),
        method: "bisrnet".into(),
        bands: instrument.bands(),
        width: instrument.bands(),
        columns_per_band: instrument.step(),
        instrument: instrument.name,
        sha256: sha256.into(),
        licence: "as the authors say".into(),
        mask: MaskPolicy::Only(known.mask.into()),
        network_input: instrument.network_input,
        limits: None,
        training: None,
        metrics: None,
    })
}

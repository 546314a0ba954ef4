//! MST++: several of MST's U-shaped transformers in a row, without a mask branch inside.
//!
//! Cai et al., "MST++: Multi-stage Spectral-wise Transformer", CVPRW 2022. The mask is fused with the features once,
//! by a 1x1 convolution; the variant for the real instrument fuses the windows of the snapshot alone.

use std::cell::RefCell;

use tch::Tensor;
use tch::nn::Path;

use super::layers::{
    Convolution, Pointwise, Start, bands_first, channels_last, pad_to_multiple, unshear_snapshot,
};
use super::mst::Transformer;
use super::{Layout, MaskForm, Network, Options};

/// MST++ with any number of stages.
#[derive(Debug)]
pub(crate) struct MstPlusPlus {
    fusion: Pointwise,
    conv_in: Convolution,
    body: Vec<Transformer>,
    conv_out: Convolution,
    options: Options,
    taps: RefCell<Option<Vec<(String, Tensor)>>>,
}

impl MstPlusPlus {
    pub(crate) fn new(path: &Path<'_>, options: &Options, stages: usize) -> Self {
        let (bands, width) = (options.shape.bands as i64, options.shape.width as i64);
        let fused = match options.layout {
            Layout::Standard => 2 * bands,
            Layout::TsaReal => bands,
        };
        let stage = |i: usize| Transformer::new(&(path / "body" / i), width, width, &[1, 1, 1], false);
        Self {
            conv_in: Convolution::dense(&(path / "conv_in"), bands, width, 3, 1),
            fusion: Pointwise::new(&(path / "fution"), fused, bands, true, Start::Convolution),
            body: (0..stages).map(stage).collect(),
            conv_out: Convolution::dense(&(path / "conv_out"), width, bands, 3, 1),
            options: *options,
            taps: RefCell::new(None),
        }
    }

    fn tap(&self, name: &str, value: &Tensor) {
        if let Some(taps) = self.taps.borrow_mut().as_mut() {
            taps.push((name.to_string(), value.shallow_clone()));
        }
    }
}

impl Network for MstPlusPlus {
    fn forward(&self, features: &Tensor, mask: Option<&Tensor>, _train: bool) -> Tensor {
        let shape = self.options.shape;
        let input = match self.options.layout {
            Layout::TsaReal => unshear_snapshot(features, shape.bands as i64, shape.step as i64),
            Layout::Standard => {
                let mask = mask.expect("MST++ is guided by a mask").to_kind(features.kind());
                Tensor::cat(&[features.shallow_clone(), mask.expand_as(features)], 1)
            }
        };
        let (rows, columns) = (input.size()[2], input.size()[3]);
        let fused = self.fusion.forward(&channels_last(&pad_to_multiple(&input, 8)));
        self.tap("fution", &fused);
        let first = self.conv_in.forward(&fused);
        self.tap("conv_in", &first);
        let mut x = first.shallow_clone();
        for (i, stage) in self.body.iter().enumerate() {
            x = stage.forward(&x, None, &|_, _, _, _| None, false, &|_, _| ()) + x;
            self.tap(&format!("body{i}"), &x);
        }
        let out = self.conv_out.forward(&x);
        self.tap("conv_out", &out);
        bands_first(&(out + first).narrow(1, 0, rows).narrow(2, 0, columns))
    }

    fn mask_form(&self) -> MaskForm {
        match self.options.layout {
            Layout::Standard => MaskForm::Plain,
            Layout::TsaReal => MaskForm::None,
        }
    }

    fn start_training(&self, refines: bool) {
        if refines {
            self.fusion.start_as_identity();
            self.conv_in.start_as_identity();
            self.conv_out.start_at_zero();
        }
    }

    fn record_taps(&self) {
        *self.taps.borrow_mut() = Some(Vec::new());
    }

    fn take_taps(&self) -> Vec<(String, Tensor)> {
        self.taps.borrow_mut().take().unwrap_or_default()
    }
}

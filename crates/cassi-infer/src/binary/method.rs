//! The eight networks by name, and the two layouts they are published in.

use std::fmt;

/// A binarized network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Method {
    /// BiSRNet: spectral redistribution and full-precision shortcuts everywhere.
    BiSrNet,
    /// Binarized neural network: hard tanh, batch normalisation.
    Bnn,
    /// Bi-Real Net: real shortcuts, scaled weights.
    BiReal,
    /// IR-Net: balanced, standardised weights, power-of-two scales.
    IrNet,
    /// ReActNet: shifted signs and shifted PReLU.
    ReActNet,
    /// BBCU: residual binary units without batch normalisation.
    Bbcu,
    /// BTM: scaled standardised weights.
    Btm,
    /// BinaryConnect: binary weights, mostly real activations.
    BiConnect,
}

impl Method {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::BiSrNet,
        Self::Bnn,
        Self::BiReal,
        Self::IrNet,
        Self::ReActNet,
        Self::Bbcu,
        Self::Btm,
        Self::BiConnect,
    ];

    /// The published name, e.g. `bisrnet`.
    pub fn name(self) -> &'static str {
        match self {
            Self::BiSrNet => "bisrnet",
            Self::Bnn => "bnn",
            Self::BiReal => "bireal",
            Self::IrNet => "irnet",
            Self::ReActNet => "reactnet",
            Self::Bbcu => "bbcu",
            Self::Btm => "btm",
            Self::BiConnect => "biconnect",
        }
    }

    /// The method of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|m| m.name() == name)
    }

    /// One line for listings.
    pub fn summary(self) -> &'static str {
        match self {
            Self::BiSrNet => "binarized network with spectral redistribution, run on bits",
            Self::Bnn => "binarized baseline with batch normalisation and hard tanh",
            Self::BiReal => "binarized baseline with real-valued shortcuts",
            Self::IrNet => "binarized baseline with standardised weights",
            Self::ReActNet => "binarized baseline with shifted signs and PReLU",
            Self::Bbcu => "binarized baseline without batch normalisation",
            Self::Btm => "binarized baseline with scaled standardised weights",
            Self::BiConnect => "baseline with binary weights and mostly real activations",
        }
    }

    /// Where it was published.
    pub fn source(self) -> &'static str {
        match self {
            Self::BiSrNet => "Cai et al., Binarized Spectral Compressive Imaging, NeurIPS 2023",
            Self::Bnn => "Hubara et al., Binarized Neural Networks, NeurIPS 2016",
            Self::BiReal => "Liu et al., Bi-Real Net, ECCV 2018",
            Self::IrNet => "Qin et al., Forward and Backward Information Retention, CVPR 2020",
            Self::ReActNet => "Liu et al., ReActNet, ECCV 2020",
            Self::Bbcu => "Xia et al., Basic Binary Convolution Unit, ICLR 2023",
            Self::Btm => {
                "Jiang et al., Training Binary Neural Network without Batch Normalization, AAAI 2021"
            }
            Self::BiConnect => "Courbariaux et al., BinaryConnect, NeurIPS 2015",
        }
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a network takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Layout {
    /// Un-sheared snapshot `[28, row, column]` and mask `[row, column]`, fused by a 1x1 convolution.
    Standard,
    /// The snapshot `[row, column + 54]` itself, cut into 28 windows; no mask.
    TsaReal,
}

impl Layout {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Standard, Self::TsaReal];

    /// The name of its instrument, `standard` or `tsa-real`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Standard => "standard",
            Self::TsaReal => "tsa-real",
        }
    }

    /// The layout of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|l| l.name() == name)
    }
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

//! Which networks there are, and what they take.

/// The four networks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Variant {
    /// MST-S: blocks [2, 2, 2].
    MstS,
    /// MST-M: blocks [2, 4, 4].
    MstM,
    /// MST-L: blocks [4, 7, 5].
    MstL,
    /// MST++: three bodies of blocks [1, 1, 1].
    MstPp,
}

impl Variant {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::MstS, Self::MstM, Self::MstL, Self::MstPp];

    /// The published name, e.g. `mst-s`.
    pub fn name(self) -> &'static str {
        match self {
            Self::MstS => "mst-s",
            Self::MstM => "mst-m",
            Self::MstL => "mst-l",
            Self::MstPp => "mst-pp",
        }
    }

    /// The network of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|variant| variant.name() == name)
    }

    /// Blocks of each level and of the bottleneck.
    pub(crate) fn blocks(self) -> &'static [usize] {
        match self {
            Self::MstS => &[2, 2, 2],
            Self::MstM => &[2, 4, 4],
            Self::MstL => &[4, 7, 5],
            Self::MstPp => &[1, 1, 1],
        }
    }
}

/// What a network takes beside its features.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// The simulated benchmark: un-sheared snapshot and mask.
    Standard,
    /// The real instrument: windows of the snapshot, no mask.
    TsaReal,
}

//! One HDU as the walk found it.

use crate::layout::Layout;
use crate::problem::Place;

/// What a checksum keyword says about the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "lowercase"))]
pub enum Checksum {
    /// The keyword is there and right.
    Ok,
    /// The keyword is there and does not agree with the bytes.
    Bad,
    /// There is no such keyword.
    Absent,
}

/// What is known of one HDU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hdu {
    /// Index, 0 for the primary HDU.
    pub index: usize,
    /// Kind, name and size.
    pub layout: Layout,
    /// Byte offset of the header.
    pub header_offset: u64,
    /// Byte offset of the data unit.
    pub data_offset: u64,
    /// CHECKSUM over header and data unit.
    pub checksum: Checksum,
    /// DATASUM over the data unit.
    pub datasum: Checksum,
}

impl Hdu {
    /// The HDU as messages name it.
    pub fn place(&self) -> Place {
        Place { index: self.index, name: self.layout.name.clone() }
    }
}

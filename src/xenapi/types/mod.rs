//! Values of the XenAPI as types. The rule: whatever a server may send for a value decodes on both wires alike, and a value that is
//! sent back is sent as it came.

mod void;

pub use void::Void;

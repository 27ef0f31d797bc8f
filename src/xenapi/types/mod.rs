//! Values of the XenAPI as types. The rule: whatever a server may send for a value decodes to the same on both wires, what is sent
//! back is sent as it came, and a value that is kept for each of tens of thousands of objects is kept small.

mod date;
mod map;
mod number;
mod open_enum;
mod reference;
mod set;
mod shared;
mod text;
mod uuid;
mod void;

pub use date::{BadDate, Date};
pub use map::{Operations, StringMap};
pub use number::{Int64, Number};
pub use open_enum::{EnumSet, Known};
pub use reference::{Any, Class, RareRef, Ref};
pub use set::{Count, RefSet, TextSet};
pub use shared::Shared;
pub use uuid::Uuid;
pub use void::Void;

pub(crate) use number::int64;
pub(super) use open_enum::{known, open_enum};

//! Configuration: from files to values that cannot be wrong.

pub mod pool;

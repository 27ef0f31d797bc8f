//! One pool with all that is needed to work on it.

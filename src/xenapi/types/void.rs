//! Nothing, as a result.

use serde::de::{Deserialize, Deserializer, IgnoredAny};

/// The result of a call that returns nothing. The rule: whatever stands there is passed over; servers send an empty string or null.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Void;

impl<'de> Deserialize<'de> for Void {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_ignored_any(IgnoredAny).map(|_| Void)
    }
}

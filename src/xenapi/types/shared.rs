//! Text that recurs in thousands of records: keys of maps, tags, driver names. The rule: sharing is a saving and never a meaning;
//! two equal texts are equal whether or not they share memory.

use std::borrow::Borrow;
use std::cell::RefCell;
use std::fmt;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher, Hash, Hasher};
use std::ops::Deref;
use std::sync::Arc;

use serde::de::{Deserialize, Deserializer};
use serde::ser::{Serialize, Serializer};

use super::text::text;

/// A text that is probably shared with equal ones decoded on the same thread.
#[derive(Clone)]
pub struct Shared(Arc<str>);

/// Longer texts are not worth remembering.
const LONGEST: usize = 64;

thread_local! {
    static RECENT: RefCell<Recent<str>> = const { RefCell::new(Recent::new()) };
}

impl Shared {
    /// A text, shared with the last equal one that is remembered.
    pub fn new(text: &str) -> Self {
        Self(if text.len() > LONGEST {
            text.into()
        } else {
            RECENT.with_borrow_mut(|recent| recent.get(text, |text| Arc::from(text)))
        })
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Values that were seen lately: a slot for each hash, the newest wins. That bounds the memory, whatever a server sends.
pub(super) struct Recent<T: ?Sized>(Vec<Option<Arc<T>>>);

/// How many values are remembered per kind and thread.
const SLOTS: usize = 1024;

impl<T: ?Sized + Hash + Eq> Recent<T> {
    pub(super) const fn new() -> Self {
        Self(Vec::new())
    }

    /// The remembered value that equals this one, or one made of it.
    pub(super) fn get(&mut self, value: &T, make: impl FnOnce(&T) -> Arc<T>) -> Arc<T> {
        if self.0.is_empty() {
            self.0.resize(SLOTS, None);
        }
        let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(value);
        let slot = &mut self.0[(hash % SLOTS as u64) as usize];
        match slot {
            Some(known) if **known == *value => Arc::clone(known),
            _ => Arc::clone(slot.insert(make(value))),
        }
    }
}

impl Deref for Shared {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl Default for Shared {
    fn default() -> Self {
        Self::new("")
    }
}

impl Borrow<str> for Shared {
    fn borrow(&self) -> &str {
        self
    }
}

impl PartialEq for Shared {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0 == other.0
    }
}

impl Eq for Shared {}

impl PartialEq<str> for Shared {
    fn eq(&self, other: &str) -> bool {
        **self == *other
    }
}

impl PartialEq<&str> for Shared {
    fn eq(&self, other: &&str) -> bool {
        **self == **other
    }
}

impl PartialOrd for Shared {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Shared {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.cmp(&other.0)
    }
}

impl Hash for Shared {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl From<&str> for Shared {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

impl fmt::Display for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self)
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

impl<'de> Deserialize<'de> for Shared {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        text(deserializer, "a string", Self::new)
    }
}

impl Serialize for Shared {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_short_texts_share_memory() {
        assert!(Arc::ptr_eq(&Shared::new("mac_seed").0, &Shared::new("mac_seed").0));
        assert!(!Arc::ptr_eq(&Shared::new("mac_seed").0, &Shared::new("folder").0));
    }

    #[test]
    fn memory_for_sharing_is_bounded_and_forgetting_changes_nothing() {
        let first = Shared::new("first");
        for number in 0..10 * SLOTS {
            Shared::new(&number.to_string());
        }
        assert_eq!(RECENT.with_borrow(|recent| recent.0.len()), SLOTS);
        assert_eq!(Shared::new("first"), first);
    }
}

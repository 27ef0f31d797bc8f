//! Sets. The rule: sorted, because the server's order carries no meaning, and without spare capacity.

use std::cell::RefCell;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use serde::de::{Deserialize, Deserializer, IgnoredAny, SeqAccess, Visitor};

use super::shared::Recent;
use super::{Ref, Shared};

/// A set of references.
#[derive(PartialEq, Eq)]
pub struct RefSet<T>(Box<[Ref<T>]>);

impl<T> RefSet<T> {
    /// Whether a reference is in the set.
    pub fn contains(&self, reference: &Ref<T>) -> bool {
        self.0.binary_search(reference).is_ok()
    }
}

impl<T> Deref for RefSet<T> {
    type Target = [Ref<T>];

    fn deref(&self) -> &[Ref<T>] {
        &self.0
    }
}

impl<T> Clone for RefSet<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> Default for RefSet<T> {
    fn default() -> Self {
        Self(Box::default())
    }
}

impl<T> fmt::Debug for RefSet<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl<T> FromIterator<Ref<T>> for RefSet<T> {
    fn from_iter<I: IntoIterator<Item = Ref<T>>>(references: I) -> Self {
        Self(sorted(references.into_iter().collect()))
    }
}

impl<'de, T> Deserialize<'de> for RefSet<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Vec::deserialize(deserializer).map(|references| Self(sorted(references)))
    }
}

/// A set of texts, for example tags. Probably shared with equal ones decoded on the same thread: a snapshot has the tags of its VM.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct TextSet(Arc<[Shared]>);

thread_local! {
    static RECENT: RefCell<Recent<[Shared]>> = const { RefCell::new(Recent::new()) };
}

/// Longer sets, and sets with longer texts, are hardly ever equal.
const LONGEST: usize = 8;

fn shared(texts: Vec<Shared>) -> TextSet {
    let texts = sorted(texts);
    if texts.is_empty() || texts.len() > LONGEST || texts.iter().any(|text| text.len() > 64) {
        return TextSet(texts.into());
    }
    TextSet(RECENT.with_borrow_mut(|recent| recent.get(&texts, |texts| Arc::from(texts))))
}

impl TextSet {
    /// Whether a text is in the set.
    pub fn contains(&self, text: &str) -> bool {
        self.0.binary_search_by(|known| known.as_str().cmp(text)).is_ok()
    }

    /// All texts, sorted.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &str> {
        self.0.iter().map(Shared::as_str)
    }

    /// How many texts.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether the set is empty.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for TextSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl<T: Into<Shared>> FromIterator<T> for TextSet {
    fn from_iter<I: IntoIterator<Item = T>>(texts: I) -> Self {
        shared(texts.into_iter().map(Into::into).collect())
    }
}

impl<'de> Deserialize<'de> for TextSet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Vec::deserialize(deserializer).map(shared)
    }
}

fn sorted<T: Ord>(mut items: Vec<T>) -> Box<[T]> {
    items.sort_unstable();
    items.dedup();
    items.into_boxed_slice()
}

/// How many members a set has, where that is all that matters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Count(pub u32);

impl Count {
    /// Whether the set is empty.
    pub fn is_zero(self) -> bool {
        self.0 == 0
    }
}

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Counting;
        impl<'de> Visitor<'de> for Counting {
            type Value = Count;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a set")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Count, A::Error> {
                let mut count: u32 = 0;
                while items.next_element::<IgnoredAny>()?.is_some() {
                    count = count.saturating_add(1);
                }
                Ok(Count(count))
            }
        }
        deserializer.deserialize_seq(Counting)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Any;
    use super::*;

    #[test]
    fn the_order_of_a_set_carries_no_meaning() {
        let set = |json: &str| serde_json::from_str::<RefSet<Any>>(json).unwrap();
        assert_eq!(set(r#"["OpaqueRef:b","OpaqueRef:a","OpaqueRef:b"]"#), set(r#"["OpaqueRef:a","OpaqueRef:b"]"#));
        assert!(set(r#"["OpaqueRef:b","OpaqueRef:a"]"#).contains(&Ref::new("OpaqueRef:b")));
        assert!(!set(r#"["OpaqueRef:b"]"#).contains(&Ref::new("OpaqueRef:a")));
    }

    #[test]
    fn tags_are_found_whatever_their_order() {
        let tags: TextSet = serde_json::from_str(r#"["prod","backup","Ünïcode"]"#).unwrap();
        assert!(tags.contains("backup") && tags.contains("Ünïcode") && !tags.contains("back"));
    }
}

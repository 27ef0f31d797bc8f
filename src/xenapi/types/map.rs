//! Maps. The rule: sorted slices, because a record's maps are small, many, and looked up far less often than they are kept.

use std::cell::RefCell;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde::ser::{Serialize, Serializer};

use super::shared::Recent;
use super::{Any, Ref, Shared};

/// A (string to string) map, sorted by key. Short maps are probably shared with equal ones decoded on the same thread: a snapshot has
/// the maps of its VM, and most drives have the same one.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct StringMap(Arc<[Pair]>);

type Pair = (Shared, Shared);

thread_local! {
    static RECENT: RefCell<Recent<[Pair]>> = const { RefCell::new(Recent::new()) };
}

/// Longer maps, and maps with longer values, are hardly ever equal.
fn is_worth_sharing(pairs: &[Pair]) -> bool {
    pairs.len() <= 4 && pairs.iter().all(|(key, value)| key.len() + value.len() <= 64)
}

fn shared(pairs: Vec<Pair>) -> StringMap {
    let pairs = sorted(pairs);
    if pairs.is_empty() || !is_worth_sharing(&pairs) {
        return StringMap(pairs.into());
    }
    StringMap(RECENT.with_borrow_mut(|recent| recent.get(&pairs, |pairs| Arc::from(pairs))))
}

impl StringMap {
    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&str> {
        let index = self.0.binary_search_by(|(known, _)| known.as_str().cmp(key)).ok()?;
        Some(&self.0[index].1)
    }

    /// Whether a key is there, whatever its value.
    pub fn contains_key(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    /// All pairs, by key.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// How many pairs.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no pair.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Decodes a map and keeps only the pairs whose key is wanted; the values of the others are passed over.
    pub(crate) fn filtered<'de, D: Deserializer<'de>>(deserializer: D, wanted: fn(&str) -> bool) -> Result<Self, D::Error> {
        pairs(deserializer, wanted).map(shared)
    }
}

impl<K: Into<Shared>, V: Into<Shared>> FromIterator<(K, V)> for StringMap {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Self {
        shared(pairs.into_iter().map(|(key, value)| (key.into(), value.into())).collect())
    }
}

impl From<String> for Shared {
    fn from(text: String) -> Self {
        Self::new(&text)
    }
}

impl fmt::Debug for StringMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl<'de> Deserialize<'de> for StringMap {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::filtered(deserializer, |_| true)
    }
}

impl Serialize for StringMap {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

/// What is being done to an object: the tasks that hold it, each with its operation. A key may be no reference (`task`).
#[derive(Clone, PartialEq, Eq)]
pub struct Operations<O>(Box<[(Ref<Any>, O)]>);

impl<O> Operations<O> {
    /// Whether nothing is being done.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The tasks with their operations.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&Ref<Any>, &O)> {
        self.0.iter().map(|(task, operation)| (task, operation))
    }

    /// Whether some task does this.
    pub fn contains(&self, operation: &O) -> bool
    where
        O: PartialEq,
    {
        self.0.iter().any(|(_, running)| running == operation)
    }
}

impl<O> Default for Operations<O> {
    fn default() -> Self {
        Self(Box::default())
    }
}

impl<O: fmt::Debug> fmt::Debug for Operations<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl<'de, O: Deserialize<'de>> Deserialize<'de> for Operations<O> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        pairs(deserializer, |_| true).map(|pairs| Self(sorted(pairs).into()))
    }
}

/// Sorted by key; of equal keys the last one counts.
fn sorted<K: Ord, V>(mut pairs: Vec<(K, V)>) -> Vec<(K, V)> {
    pairs.sort_by(|a, b| a.0.cmp(&b.0));
    pairs.dedup_by(|later, earlier| {
        let same = later.0 == earlier.0;
        if same {
            std::mem::swap(later, earlier);
        }
        same
    });
    pairs
}

/// Decodes the pairs whose key is wanted.
fn pairs<'de, D, K, V>(deserializer: D, wanted: fn(&str) -> bool) -> Result<Vec<(K, V)>, D::Error>
where
    D: Deserializer<'de>,
    K: for<'t> From<&'t str> + Ord,
    V: Deserialize<'de>,
{
    struct Pairs<K, V>(fn(&str) -> bool, PhantomData<(K, V)>);

    impl<'de, K: for<'t> From<&'t str> + Ord, V: Deserialize<'de>> Visitor<'de> for Pairs<K, V> {
        type Value = Vec<(K, V)>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a map")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
            let mut pairs = Vec::new();
            while let Some(key) = members.next_key_seed(Key(self.0, PhantomData::<K>))? {
                match key {
                    Some(key) => pairs.push((key, members.next_value()?)),
                    None => drop(members.next_value::<serde::de::IgnoredAny>()?),
                }
            }
            Ok(pairs)
        }
    }

    deserializer.deserialize_map(Pairs(wanted, PhantomData))
}

/// Decodes a key if it is wanted.
struct Key<K>(fn(&str) -> bool, PhantomData<K>);

impl<'de, K: for<'t> From<&'t str>> serde::de::DeserializeSeed<'de> for Key<K> {
    type Value = Option<K>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Option<K>, D::Error> {
        super::text::text(deserializer, "a key", |key| (self.0)(key).then(|| K::from(key)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(json: &str) -> StringMap {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn the_order_of_a_map_carries_no_meaning() {
        assert_eq!(map(r#"{"b":"2","a":"1"}"#), map(r#"{"a":"1","b":"2"}"#));
        assert_eq!(map(r#"{"b":"2","a":"1"}"#).get("b"), Some("2"));
        assert_eq!(map("{}").get("b"), None);
    }

    #[test]
    fn of_a_key_that_stands_twice_the_last_counts() {
        assert_eq!(map(r#"{"a":"1","b":"x","a":"2","a":"3"}"#), map(r#"{"a":"3","b":"x"}"#));
    }

    #[test]
    fn equal_short_maps_share_memory() {
        let pair = |map: &StringMap| map.0.as_ptr();
        assert_eq!(pair(&map(r#"{"owner":""}"#)), pair(&map(r#"{"owner":""}"#)));
        assert_ne!(pair(&map(r#"{"owner":""}"#)), pair(&map(r#"{"owner":"x"}"#)));
        let long = format!(r#"{{"key":"{}"}}"#, "x".repeat(100));
        assert_ne!(pair(&map(&long)), pair(&map(&long)));
        assert_eq!(map(&long), map(&long));
    }

    #[test]
    fn a_key_of_operations_may_be_no_reference() {
        let json = r#"{"task":"snapshot","DummyRef:|1|x":"destroy"}"#;
        let operations: Operations<String> = serde_json::from_str(json).unwrap();
        assert!(operations.contains(&"destroy".to_owned()) && !operations.contains(&"revert".to_owned()));
        assert_eq!(operations.iter().filter(|(task, _)| task.is_dummy()).count(), 1);
    }
}

//! The nonce of one attempt. It travels in the call's task and as the end of the snapshot's name, both of which exist at the same
//! moment as the call and the snapshot; so after any doubt the attempt can be found again, whoever died.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use xxhash_rust::xxh64::xxh64;

use super::id::{InstallationId, PolicyId, VmUuid};

/// Letters and digits that are not mistaken for one another; each carries five bits.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
/// Characters of a nonce.
const LENGTH: usize = 8;
/// What stands between a name and its nonce.
const SEPARATOR: &str = " #";

/// Forty bits that name one attempt to take a snapshot: the first half tells the promise, the second is random.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Nonce([u8; LENGTH]);

/// What attempts are made for: a VM's snapshot of one slot. Each of its nonces begins with the same four characters, so that another
/// daemon of the installation, which knows nothing of an attempt, can tell what it is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Promise([u8; HALF]);

/// The characters of a nonce that tell the promise.
const HALF: usize = LENGTH / 2;

impl Promise {
    /// The promise of this slot to this VM.
    pub fn of(installation: &InstallationId, policy: &PolicyId, vm: VmUuid, due_at: DateTime<Utc>) -> Self {
        let mut bytes = Vec::with_capacity(160);
        for name in [installation.as_str(), policy.as_str()] {
            bytes.extend_from_slice(name.as_bytes());
            bytes.push(0);
        }
        bytes.extend_from_slice(vm.0.as_bytes());
        bytes.extend_from_slice(&due_at.timestamp_micros().to_be_bytes());
        let bits = xxh64(&bytes, 1);
        Self(std::array::from_fn(|n| ALPHABET[(bits >> (5 * n) & 31) as usize]))
    }

    /// Whether an attempt was made for it.
    pub fn made(&self, nonce: &Nonce) -> bool {
        nonce.0.starts_with(&self.0)
    }
}

/// Text that is no nonce.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("a nonce has eight letters and digits")]
pub struct NonceError;

impl Nonce {
    /// A nonce of these bits, which must come from a good source of randomness.
    pub fn from_bits(random: [u8; 5]) -> Self {
        let bits = random.iter().fold(0_u64, |bits, byte| bits << 8 | u64::from(*byte));
        Self(std::array::from_fn(|n| ALPHABET[(bits >> (5 * n) & 31) as usize]))
    }

    /// The nonce of an attempt for this promise; the bits must come from a good source of randomness.
    pub fn for_promise(promise: &Promise, random: [u8; 5]) -> Self {
        let mut nonce = Self::from_bits(random);
        nonce.0[..HALF].copy_from_slice(&promise.0);
        nonce
    }

    /// The nonce as it is written.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// The end of the name of the snapshot that this attempt takes.
    pub fn suffix(&self) -> String {
        format!("{SEPARATOR}{self}")
    }

    /// True when `name` ends with this nonce.
    pub fn ends(&self, name: &str) -> bool {
        Self::of_name(name) == Some(*self)
    }

    /// The nonce that a snapshot's name ends with.
    pub fn of_name(name: &str) -> Option<Self> {
        name.rsplit_once(SEPARATOR).and_then(|(_, nonce)| nonce.parse().ok())
    }
}

impl FromStr for Nonce {
    type Err = NonceError;

    fn from_str(text: &str) -> Result<Self, NonceError> {
        let bytes: [u8; LENGTH] = text.as_bytes().try_into().map_err(|_| NonceError)?;
        if bytes.iter().all(|byte| ALPHABET.contains(byte)) { Ok(Self(bytes)) } else { Err(NonceError) }
    }
}

impl TryFrom<String> for Nonce {
    type Error = NonceError;

    fn try_from(text: String) -> Result<Self, NonceError> {
        text.parse()
    }
}

impl From<Nonce> for String {
    fn from(nonce: Nonce) -> String {
        nonce.as_str().to_owned()
    }
}

impl fmt::Display for Nonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for Nonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Nonce({self})")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_nonce_is_found_at_the_end_of_a_name_only() {
        let nonce = Nonce::from_bits([1, 2, 3, 4, 5]);
        assert_eq!(Nonce::of_name(&format!("Nightly #1 web{}", nonce.suffix())), Some(nonce));
        assert!(!nonce.ends(&format!("Nightly{} (copy)", nonce.suffix())));
        assert_eq!(Nonce::of_name("Nightly #1"), None);
        assert_eq!(Nonce::of_name("Nightly #ILOUilou"), None);
        assert_eq!(Nonce::of_name(""), None);
    }

    #[test]
    fn a_nonce_tells_for_which_promise_it_is() {
        let promise = |installation: &str, due| {
            let due = DateTime::from_timestamp(due, 0).unwrap();
            Promise::of(&installation.parse().unwrap(), &"nightly".parse().unwrap(), VmUuid(uuid::Uuid::from_u128(1)), due)
        };
        let (one, later, elsewhere) = (promise("a", 0), promise("a", 60), promise("b", 0));
        let nonce = Nonce::for_promise(&one, [1, 2, 3, 4, 5]);
        assert!(one.made(&nonce) && !later.made(&nonce) && !elsewhere.made(&nonce));
        assert_ne!(nonce, Nonce::for_promise(&one, [5, 4, 3, 2, 1]));
        // A changed hash would hide the attempts of a daemon of another release.
        assert_eq!(&nonce.as_str()[..4], "cp8x");
    }

    proptest! {
        #[test]
        fn every_bit_counts(one: [u8; 5], other: [u8; 5]) {
            let (first, second) = (Nonce::from_bits(one), Nonce::from_bits(other));
            prop_assert_eq!(first == second, one == other);
            prop_assert_eq!(first.as_str().parse(), Ok(first));
        }

        #[test]
        fn no_name_makes_the_reader_panic(name in "\\PC{0,30}") {
            let _ = Nonce::of_name(&name);
        }
    }
}

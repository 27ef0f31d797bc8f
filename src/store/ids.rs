//! Row numbers, one type per table. They mean something only inside one database: what leaves it is a UUID or a policy's id.

use std::fmt;

macro_rules! row_id {
    ($($(#[$about:meta])* $name:ident)+) => {$(
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub i64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl std::str::FromStr for $name {
            type Err = std::num::ParseIntError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.parse().map(Self)
            }
        }

        impl From<i64> for $name {
            fn from(id: i64) -> Self {
                Self(id)
            }
        }
    )+};
}

row_id! {
    /// A VM of one pool.
    VmId
    /// A due time of one policy on one pool.
    SlotId
    /// The work of one slot.
    RunId
    /// One VM inside a run.
    JobId
    /// One call of a job, with one nonce.
    AttemptId
    /// A snapshot we took, adopted, or found by its mark.
    SnapshotId
    /// Everything that goes with one snapshot.
    RemovalId
    /// Something that happened.
    EventId
    /// A question to a person.
    ApprovalId
    /// A message on its way through one channel.
    DeliveryId
}

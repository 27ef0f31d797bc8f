//! Guards: what is looked at before a snapshot is begun, so that it neither fills a storage repository nor makes it fail, and before
//! one is removed, so that nothing goes that somebody would miss. Each is a function from what the pool shows to a decision with its
//! reason in words; none of them tries a call to see what comes of it.

pub mod chain;
pub mod clock;
pub mod removals;
mod reserve;
pub mod space;

use removals::Limits;

pub use reserve::{Reserve, ReserveError};

/// What a policy's guards hold to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Guards {
    /// What stays free on each SR.
    pub space_reserve: Reserve,
    /// What is done where a snapshot would go into it.
    pub on_low_space: OnLowSpace,
    /// From so many layers of a disk's chain on somebody is told.
    pub chain_warn: usize,
    /// From so many on no snapshot is taken.
    pub chain_refuse: usize,
    /// What is done where the storage alone would make the chain short enough.
    pub coalesce: Coalesce,
    /// How many removals pass without a person's word.
    pub removals: Limits,
}

impl Default for Guards {
    fn default() -> Self {
        Self {
            space_reserve: Reserve::default(),
            on_low_space: OnLowSpace::default(),
            chain_warn: super::chain::LONG,
            chain_refuse: super::chain::FULL,
            coalesce: Coalesce::default(),
            removals: Limits::default(),
        }
    }
}

/// What is done about a chain that is too long, but would not be if the storage had coalesced what it can.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Coalesce {
    /// The job waits for that in its window.
    #[default]
    Wait,
    /// The VM gets no snapshot in this run.
    Refuse,
}

impl Coalesce {
    /// The words of policy files.
    pub const WORDS: [(&'static str, Self); 2] = [("wait", Self::Wait), ("refuse", Self::Refuse)];

    /// The word of policy files.
    pub fn word(self) -> &'static str {
        Self::WORDS.iter().find(|(_, each)| *each == self).map_or("wait", |(word, _)| word)
    }
}

/// What is done where a snapshot would go into the reserve of an SR.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnLowSpace {
    /// The VM gets no snapshot in this run, and its job fails with the reason.
    #[default]
    Skip,
    /// What retention would remove once the snapshot were there goes first; then the job waits in its window for the space.
    PruneFirst,
    /// The snapshot is taken all the same, and the history says so.
    GoAhead,
}

impl OnLowSpace {
    /// The words of policy files.
    pub const WORDS: [(&'static str, Self); 3] =
        [("skip", Self::Skip), ("prune-first", Self::PruneFirst), ("go-ahead", Self::GoAhead)];

    /// The word of policy files.
    pub fn word(self) -> &'static str {
        Self::WORDS.iter().find(|(_, each)| *each == self).map_or("skip", |(word, _)| word)
    }
}

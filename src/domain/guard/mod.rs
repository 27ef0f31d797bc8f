//! Guards: what is looked at before a snapshot is begun, so that it neither fills a storage repository nor makes it fail, and before
//! one is removed, so that nothing goes that somebody would miss. Each is a function from what the pool shows to a decision with its
//! reason in words; none of them tries a call to see what comes of it.

pub mod clock;
pub mod removals;
mod reserve;
pub mod space;

use removals::Limits;

pub use reserve::{Reserve, ReserveError};

/// What a policy's guards hold to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Guards {
    /// What stays free on each SR.
    pub space_reserve: Reserve,
    /// What is done where a snapshot would go into it.
    pub on_low_space: OnLowSpace,
    /// How many removals pass without a person's word.
    pub removals: Limits,
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

//! Runs and jobs as values: what started them, how far they came, how they ended.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// A word that no value has.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("\"{word}\" is no {kind}; the database was written by another version")]
pub struct WordError {
    /// What it was to be.
    pub kind: &'static str,
    /// What was found.
    pub word: String,
}

macro_rules! words {
    ($(#[$doc:meta])* $name:ident, $kind:literal { $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)+
        }

        impl $name {
            /// All values.
            pub const ALL: &'static [$name] = &[$($name::$variant,)+];

            /// The word for the database and for metrics; stable over releases.
            pub fn word(self) -> &'static str {
                match self {
                    $($name::$variant => $word,)+
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.word())
            }
        }

        impl FromStr for $name {
            type Err = WordError;

            fn from_str(word: &str) -> Result<Self, WordError> {
                let found = Self::ALL.iter().find(|value| value.word() == word);
                found.copied().ok_or_else(|| WordError { kind: $kind, word: word.to_owned() })
            }
        }
    };
}

words! {
    /// What started a run.
    Trigger, "trigger" {
        /// Its slot was due.
        Schedule = "schedule",
        /// Its slot was missed and is made up for.
        CatchUp = "catch-up",
        /// The daemon started, and the policy asks for a run then.
        Start = "start",
        /// A person asked for it.
        Manual = "manual",
    }
}

words! {
    /// How far a job has come. A job's state is written before the step that it announces.
    JobState, "state of a job" {
        /// Chosen by the selection; nothing was called.
        Planned = "planned",
        /// The call is about to be made, or was made: from here on, look before acting.
        Intended = "intended",
        /// The snapshot exists.
        Taken = "taken",
        /// It carries its mark.
        Marked = "marked",
        /// The server will not forget it.
        Durable = "durable",
        /// All is done, retention included.
        Done = "done",
        /// It ended without having done all that it was to do.
        Failed = "failed",
        /// It was decided not to take a snapshot.
        Skipped = "skipped",
        /// It only looked (`observe`).
        Observed = "observed",
        /// Nobody can say whether there is a snapshot.
        Unresolved = "unresolved",
    }
}

impl JobState {
    /// True when nothing more happens by itself.
    pub fn is_final(self) -> bool {
        matches!(self, JobState::Done | JobState::Failed | JobState::Skipped | JobState::Observed | JobState::Unresolved)
    }

    /// True when the call may have been made and its outcome is not on record: look before acting.
    pub fn is_in_doubt(self) -> bool {
        self == JobState::Intended
    }

    /// True when `next` may follow. Steps are not left out and not taken back.
    pub fn leads_to(self, next: JobState) -> bool {
        use JobState::{Done, Durable, Failed, Intended, Marked, Observed, Planned, Skipped, Taken, Unresolved};
        match self {
            Planned => matches!(next, Intended | Failed | Skipped | Observed),
            // A new attempt after the first is proven not to exist is an intent again.
            Intended => matches!(next, Intended | Taken | Failed | Unresolved),
            // The server may forget what it said: a snapshot can vanish until it is durable.
            Taken => matches!(next, Marked | Failed | Unresolved),
            Marked => matches!(next, Durable | Failed | Unresolved),
            Durable => matches!(next, Done | Failed),
            // Somebody looked and knows now.
            Unresolved => matches!(next, Taken | Failed),
            Done | Failed | Skipped | Observed => false,
        }
    }
}

words! {
    /// How a run ended.
    Outcome, "outcome of a run" {
        /// Every job did what it was to do.
        Succeeded = "succeeded",
        /// Some jobs failed.
        Partial = "partial",
        /// No job that was tried succeeded, or a hook stopped the run.
        Failed = "failed",
        /// No VM was selected, or all were skipped.
        Empty = "empty",
        /// It was stopped.
        Cancelled = "cancelled",
    }
}

impl Outcome {
    /// The outcome of a run from the states of its jobs, which must be final.
    pub fn of(jobs: impl IntoIterator<Item = JobState>) -> Self {
        let (mut good, mut bad) = (false, false);
        for job in jobs {
            good |= matches!(job, JobState::Done | JobState::Observed);
            bad |= !matches!(job, JobState::Done | JobState::Observed | JobState::Skipped);
        }
        match (good, bad) {
            (true, false) => Outcome::Succeeded,
            (true, true) => Outcome::Partial,
            (false, true) => Outcome::Failed,
            (false, false) => Outcome::Empty,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_back() {
        assert!(JobState::ALL.iter().all(|state| state.word().parse() == Ok(*state)));
        assert!(Outcome::ALL.iter().all(|outcome| outcome.word().parse() == Ok(*outcome)));
        let error = "gone".parse::<Trigger>().unwrap_err();
        assert_eq!(error.to_string(), "\"gone\" is no trigger; the database was written by another version");
    }

    #[test]
    fn nothing_follows_a_final_state_but_the_resolution_of_a_doubt() {
        for state in JobState::ALL.iter().filter(|state| state.is_final()) {
            let followers: Vec<_> = JobState::ALL.iter().filter(|next| state.leads_to(**next)).collect();
            let expected: &[JobState] = if *state == JobState::Unresolved { &[JobState::Taken, JobState::Failed] } else { &[] };
            assert_eq!(followers, expected.iter().collect::<Vec<_>>(), "{state}");
        }
    }

    #[test]
    fn every_job_that_began_can_end() {
        for state in JobState::ALL.iter().filter(|state| !state.is_final()) {
            assert!(JobState::ALL.iter().any(|next| next.is_final() && state.leads_to(*next)), "{state}");
        }
    }

    #[test]
    fn a_run_is_as_good_as_its_jobs() {
        use JobState::{Done, Failed, Skipped, Unresolved};
        assert_eq!(Outcome::of([Done, Skipped]), Outcome::Succeeded);
        assert_eq!(Outcome::of([Done, Unresolved]), Outcome::Partial);
        assert_eq!(Outcome::of([Failed, Skipped]), Outcome::Failed);
        assert_eq!(Outcome::of([Skipped]), Outcome::Empty);
        assert_eq!(Outcome::of([]), Outcome::Empty);
    }
}

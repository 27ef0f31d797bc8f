//! Whether the time can be relied upon. Retention, pins and the end of promises go by the clock, and a clock may be wrong: a battery
//! that died shows a year long past, a mistyped date one to come. The pool's server has a clock of its own, so the two are witnesses for
//! one another, and the history is one for both. While they do not agree nothing is removed; once they do, everything goes on.

use std::fmt;

use chrono::{DateTime, TimeDelta, Utc};

use super::super::span::Exact;

/// Two clocks that follow the same time are never so far apart. Far less than any retention is about.
pub const APART: TimeDelta = TimeDelta::minutes(10);

/// A longer silence than this is taken for a clock that jumped ahead, until the server agrees.
pub const SILENCE: TimeDelta = TimeDelta::days(2);

/// Who says what time it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Witnesses {
    /// Our clock.
    pub now: DateTime<Utc>,
    /// The server's, where it answered.
    pub server: Option<DateTime<Utc>>,
    /// The newest time that the history knows of, whoever's clock it was by.
    pub newest: Option<DateTime<Utc>>,
    /// When ours and the server's agreed last. What was written down since may be of a clock that had jumped already.
    pub agreed: Option<DateTime<Utc>>,
}

/// Why the time cannot be relied upon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Implausible {
    /// The server's clock shows something else.
    Apart {
        /// By how much it is ahead of ours.
        ahead: TimeDelta,
        /// What the history says about ours.
        history: Side,
    },
    /// The history is of a time to come, and no server says what time it is.
    WentBack {
        /// By how much.
        by: TimeDelta,
    },
    /// The clocks agreed long ago, and no server says what time it is.
    JumpedAhead {
        /// By how much.
        by: TimeDelta,
    },
    /// Neither server nor history says what time it is.
    NoWitness,
}

/// What the history says about our clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Nothing against it.
    Plausible,
    /// It went back by so much.
    Back(TimeDelta),
    /// It jumped ahead by so much, if the service was not away for so long.
    Ahead(TimeDelta),
}

/// Whether the time can be relied upon. The server is the better witness: it is asked now. The history stands in where it is silent.
///
/// # Errors
/// Why not.
pub fn judge(witnesses: &Witnesses) -> Result<(), Implausible> {
    let Witnesses { now, server, agreed, .. } = *witnesses;
    match (server.map(|server| server - now), side(witnesses)) {
        (Some(ahead), history) if ahead.abs() > APART => Err(Implausible::Apart { ahead, history }),
        (Some(_), _) => Ok(()),
        (None, Side::Back(by)) => Err(Implausible::WentBack { by }),
        (None, Side::Ahead(by)) => Err(Implausible::JumpedAhead { by }),
        (None, Side::Plausible) if agreed.is_none() => Err(Implausible::NoWitness),
        (None, Side::Plausible) => Ok(()),
    }
}

fn side(witnesses: &Witnesses) -> Side {
    let Witnesses { now, newest, agreed, .. } = *witnesses;
    if let Some(newest) = newest.max(agreed).filter(|newest| *newest - now > APART) {
        return Side::Back(newest - now);
    }
    agreed.filter(|agreed| now - *agreed > SILENCE).map_or(Side::Plausible, |agreed| Side::Ahead(now - agreed))
}

/// A span as people read it, to the second; of long ones the days are enough.
struct Told(TimeDelta);

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.num_seconds().unsigned_abs();
        let seconds = if seconds >= 3 * 86_400 { seconds - seconds % 86_400 } else { seconds };
        Exact::seconds(seconds).fmt(f)
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Side::Plausible => Ok(()),
            Side::Back(by) => write!(f, "; by the history ours went back by {}", Told(*by)),
            Side::Ahead(by) => write!(f, "; by the history ours jumped ahead, or the service was away for {}", Told(*by)),
        }
    }
}

impl fmt::Display for Implausible {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Implausible::Apart { ahead, history } => {
                let side = if *ahead > TimeDelta::zero() { "ahead of" } else { "behind" };
                write!(f, "the server's clock is {} {side} ours{history}", Told(*ahead))
            }
            Implausible::WentBack { by } => {
                write!(
                    f,
                    "the history is {} ahead of our clock, which must have gone back, and the server does not say",
                    Told(*by)
                )
            }
            Implausible::JumpedAhead { by } => {
                write!(
                    f,
                    "our clock agreed with the server's {} ago by its own count, may have jumped ahead since, and the server does not say",
                    Told(*by)
                )
            }
            Implausible::NoWitness => f.write_str("neither the server nor the history says what time it is"),
        }
    }
}

#[cfg(test)]
mod tests;

//! The book of turns, held to its rules by a tally of its own.

mod order;
mod properties;
mod shell;
mod tally;

use std::num::NonZeroU32;

use uuid::Uuid;

use super::{Limits, Request};
use crate::domain::id::SrUuid;
use crate::domain::policy::{self, Priority};

fn sr(number: u128) -> SrUuid {
    SrUuid(Uuid::from_u128(number))
}

fn limit(number: u32) -> Option<NonZeroU32> {
    NonZeroU32::new(number)
}

fn per_sr(number: u32) -> Limits {
    Limits { per_sr: limit(number).unwrap(), ..Limits::default() }
}

fn request(policy: &str, srs: &[u128]) -> Request {
    Request {
        policy: policy.parse().unwrap(),
        priority: Priority::default(),
        srs: srs.iter().copied().map(sr).collect(),
        host: None,
        own: policy::Limits::default(),
    }
}

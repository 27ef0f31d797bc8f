//! What one operation needs before it may go: a unit of each place that has a limit.

use super::{Limits, Request};
use crate::domain::id::{HostUuid, PolicyId, SrUuid};

/// Something with a limit.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Spot {
    Sr(SrUuid),
    /// Where operations queue that need no SR. Any number may be in flight.
    Diskless,
    Host(HostUuid),
    Pool,
    PolicyOnSr(PolicyId, SrUuid),
    PolicyOnHost(PolicyId, HostUuid),
    Policy(PolicyId),
}

impl Spot {
    /// Whether operations queue at it. At the others only units are counted.
    pub(super) fn has_queue(&self) -> bool {
        matches!(self, Spot::Sr(_) | Spot::Diskless)
    }
}

/// The places of a request and how many units may be in use in all. Those with a queue come first.
pub(super) fn needs_of(request: &Request, limits: &Limits) -> Vec<(Spot, u32)> {
    let (own, policy) = (&request.own, &request.policy);
    let mut srs = request.srs.clone();
    srs.sort_unstable();
    srs.dedup();
    let mut needs: Vec<_> = srs.iter().map(|sr| (Spot::Sr(*sr), limits.per_sr.get())).collect();
    if srs.is_empty() {
        needs.push((Spot::Diskless, u32::MAX));
    }
    let lower = own.per_sr.filter(|own| *own < limits.per_sr);
    needs.extend(lower.into_iter().flat_map(|own| srs.iter().map(move |sr| (Spot::PolicyOnSr(policy.clone(), *sr), own.get()))));
    if let Some(host) = request.host {
        needs.extend(limits.per_host.map(|limit| (Spot::Host(host), limit.get())));
        needs.extend(own.per_host.map(|limit| (Spot::PolicyOnHost(policy.clone(), host), limit.get())));
    }
    needs.extend(limits.per_pool.map(|limit| (Spot::Pool, limit.get())));
    needs.extend(own.per_pool.map(|limit| (Spot::Policy(policy.clone()), limit.get())));
    needs
}

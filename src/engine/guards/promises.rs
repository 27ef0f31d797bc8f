//! What was promised to snapshots under way. All snapshots of a pool count together: what a call may still take is promised from the
//! moment its job may begin until the repository's figures have changed after its end, and what a snapshot makes grow little by little
//! until its run is over.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use uuid::Uuid;

use super::needs::Need;
use crate::domain::guard::space::{Demand, Shortage};
use crate::domain::id::SrUuid;
use crate::xenapi::inventory::Tables;
use crate::xenapi::records::Sr;
use crate::xenapi::types::Uuid as ServerUuid;

/// Whose promise it is: one VM of one run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Holder {
    /// The run.
    pub run: i64,
    /// The VM.
    pub vm: Uuid,
}

/// The promises of a pool.
#[derive(Debug, Default)]
pub struct Promises(Mutex<HashMap<Holder, Promise>>);

#[derive(Debug)]
struct Promise {
    needs: Vec<Need>,
    /// What each repository had taken when it was given.
    used: HashMap<SrUuid, i64>,
    /// The call is over.
    ended: bool,
}

impl Promises {
    /// Gives a promise if `short` finds nothing wrong with any repository, or if it is given `anyway`; in the place of an earlier one of
    /// the same holder.
    ///
    /// # Errors
    /// The first shortage.
    pub(super) fn claim(
        &self,
        holder: Holder,
        tables: &Tables,
        needs: Vec<Need>,
        anyway: bool,
        short: impl Fn(&Demand<'_>) -> Option<Shortage>,
    ) -> Result<(), Shortage> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.remove(&holder);
        all.values_mut().for_each(|promise| promise.look(tables));
        let mut needed: Vec<(SrUuid, u64)> = Vec::new();
        for need in &needs {
            match needed.iter_mut().find(|(sr, _)| *sr == need.sr) {
                Some((_, bytes)) => *bytes = bytes.saturating_add(need.bytes),
                None => needed.push((need.sr, need.bytes)),
            }
        }
        let promised = |sr: SrUuid| all.values().map(|promise| promise.on(sr)).fold(0, u64::saturating_add);
        let found = needed.iter().find_map(|(uuid, needed)| {
            let sr = sr_of(tables, *uuid)?;
            let size = u64::try_from(sr.physical_size).ok().filter(|size| *size > 0);
            let free = sr.free().and_then(|free| u64::try_from(free).ok());
            short(&Demand { sr: &sr.name_label, size, free, promised: promised(*uuid), needed: *needed })
        });
        if found.is_none() || anyway {
            let used = needed.iter().filter_map(|(sr, _)| Some((*sr, sr_of(tables, *sr)?.physical_utilisation)));
            all.insert(holder, Promise { used: used.collect(), needs, ended: false });
        }
        found.map_or(Ok(()), Err)
    }

    /// The holder's call is over, or will not be made.
    pub fn ended(&self, holder: Holder, taken: bool) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !taken {
            all.remove(&holder);
        } else if let Some(promise) = all.get_mut(&holder) {
            promise.ended = true;
        }
    }

    /// The run is over: the figures tell from now on.
    pub fn run_ended(&self, run: i64) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|holder, _| holder.run != run);
    }
}

impl Promise {
    /// What a call took is taken from the promise once it is to be seen in the figures.
    fn look(&mut self, tables: &Tables) {
        if !self.ended {
            return;
        }
        let used = &self.used;
        let seen = |sr: &SrUuid| sr_of(tables, *sr).is_none_or(|sr_now| used.get(sr) != Some(&sr_now.physical_utilisation));
        self.needs.retain(|need| need.grows || !seen(&need.sr));
    }

    fn on(&self, sr: SrUuid) -> u64 {
        self.needs.iter().filter(|need| need.sr == sr).fold(0, |sum, need| sum.saturating_add(need.bytes))
    }
}

fn sr_of(tables: &Tables, sr: SrUuid) -> Option<&Sr> {
    tables.by_uuid::<Sr>(&ServerUuid::new(sr.0)).map(|(_, sr)| &**sr)
}

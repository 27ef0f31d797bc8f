//! The least that the simulated server can take for a night: somebody who knows everything beforehand, whose every call arrives the
//! moment it may, with one storage operation in flight per SR. Each call passes the server's global lock (`simulator::storage::backoff`),
//! where those of all SRs meet: on many SRs it is that lock which bounds a night, and not the storage.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

/// What the server needs for one VM with one disk.
#[derive(Debug, Clone, Copy)]
pub struct Needs {
    /// One pass of the global lock.
    pub pass: Duration,
    /// The storage's time.
    pub storage: Duration,
    /// What follows the storage's work in the same call.
    pub after: Duration,
}

/// A call for one VM of an SR: the one before the storage's work, then the one with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Call {
    Record,
    Disk,
}

/// The lock: who passed last may pass again at once.
#[derive(Debug, Default)]
struct Lock {
    free_at: Duration,
    last: Option<(usize, usize, Option<Call>)>,
}

impl Lock {
    fn pass(&mut self, now: Duration, who: (usize, usize, Option<Call>), pass: Duration) -> Duration {
        let begin = if self.last == Some(who) { now } else { self.free_at.max(now) };
        self.last = Some(who);
        self.free_at = begin + pass;
        begin
    }
}

/// How long the snapshots of `vms` VMs on `srs` SRs take: one call each, which passes for the VM and then for its disk.
pub fn snapshots(vms: usize, srs: usize, needs: Needs) -> Duration {
    night(vms, srs, needs, |_| None, |_, end| end)
}

/// How long their removals take: a call for the record and one for the disk; the next record goes while the storage works.
pub fn removals(vms: usize, srs: usize, needs: Needs) -> Duration {
    night(vms, srs, needs, Some, |begin, _| begin)
}

fn night(
    vms: usize,
    srs: usize,
    needs: Needs,
    caller: fn(Call) -> Option<Call>,
    next: fn(Duration, Duration) -> Duration,
) -> Duration {
    let mut lock = Lock::default();
    let mut free = vec![Duration::ZERO; srs];
    let mut coming: BinaryHeap<_> = (0..srs.min(vms)).map(|sr| Reverse((Duration::ZERO, sr, 0, Call::Record))).collect();
    while let Some(Reverse((now, sr, turn, call))) = coming.pop() {
        let begin = lock.pass(now, (sr, turn, caller(call)), needs.pass);
        if call == Call::Record {
            coming.push(Reverse((begin.max(free[sr]), sr, turn, Call::Disk)));
            continue;
        }
        free[sr] = begin + needs.storage + needs.after;
        if sr + (turn + 1) * srs < vms {
            coming.push(Reverse((next(begin, free[sr]), sr, turn + 1, Call::Record)));
        }
    }
    free.into_iter().max().unwrap_or_default()
}

//! The one of those that wait that makes the call for all of them.

use std::sync::Arc;
use std::time::Duration;

use super::super::worker::Worker;
use super::{Barrier, Durability, Round};
use crate::xenapi::error::chain;
use crate::xenapi::failure::Kind;
use crate::xenapi::types::Ref;
use crate::xenapi::{CallError, calls, records};

/// The caller that makes the call for all who wait. When it ends, or goes away, they look again.
pub(super) struct Leading<'b> {
    barrier: &'b Barrier,
    worker: Worker,
}

impl<'b> Leading<'b> {
    pub(super) fn of(barrier: &'b Barrier) -> Self {
        Self { barrier, worker: Worker::new(barrier.pool.clock()) }
    }

    pub(super) async fn serve(mut self) {
        if self.has_redo_log().await {
            return;
        }
        self.keep_distance().await;
        let number = self.sending();
        let outcome = self.worker.call(&self.barrier.pool, calls::pool::sync_database()).await;
        let outcome = outcome.map(|_| ()).map_err(Arc::new);
        if let Err(error) = &outcome
            && error.kind() == Kind::Denied
        {
            self.barrier.note(Durability::Time);
            self.warn_once(error);
        }
        let by = self.barrier.pool.incarnation();
        self.barrier.lock().done = Some(Round { number, outcome, by });
    }

    /// Asks the pool, where that is not known and the inventory does not show that it has none. Where it does not say, the call is
    /// made.
    async fn has_redo_log(&mut self) -> bool {
        let barrier = self.barrier;
        let known = barrier.known(&barrier.lock());
        if let Some(known) = known {
            return known == Durability::RedoLog;
        }
        if barrier.shows_none() {
            return false;
        }
        let Some(incarnation) = barrier.pool.incarnation() else { return false };
        let pool = Ref::<records::Pool>::new(&incarnation.pool_ref);
        let Ok(record) = self.worker.call(&barrier.pool, calls::record(&pool).within(Duration::ZERO)).await else { return false };
        let has_it = record.has_redo_log();
        barrier.note(if has_it { Durability::RedoLog } else { Durability::Call });
        has_it
    }

    async fn keep_distance(&mut self) {
        let Some(sent_at) = self.barrier.lock().sent_at else { return };
        let passed = self.barrier.pool.clock().elapsed().saturating_sub(sent_at);
        self.worker.sleep(self.barrier.settings.at_most_every.saturating_sub(passed)).await;
    }

    fn warn_once(&self, error: &CallError) {
        let barrier = self.barrier;
        if !std::mem::replace(&mut barrier.lock().warned, true) {
            let (pool, wait) = (barrier.pool.name(), barrier.settings.unsynchronised.as_secs());
            tracing::warn!(
                pool,
                error = chain(error),
                "the role does not allow pool.sync_database: before each removal {wait} s are waited instead, until the server has \
                 written out by itself; members of the pool have it a day later only, so up to two snapshots of each VM stay \
                 longer than their policy says; give the user the role pool-operator"
            );
        }
    }

    /// From here on nobody joins.
    fn sending(&self) -> u64 {
        let mut state = self.barrier.lock();
        state.sent += 1;
        state.sent_at = Some(self.barrier.pool.clock().elapsed());
        state.sent
    }
}

impl Drop for Leading<'_> {
    fn drop(&mut self) {
        self.barrier.lock().led = false;
        self.barrier.shared.turned.send_modify(|turns| *turns += 1);
    }
}

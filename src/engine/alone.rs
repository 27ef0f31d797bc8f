//! One at a time for each VM. Jobs of two policies may be due for the same VM at the same moment; each halts it, freezes it or runs its
//! hooks, and what one does must not be the other's condition. The rule: a job has its VM from the look at it until it is as it was
//! before; who else wants it waits, and looks then. The turn at the VM comes before the turn at its storage.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::{Mutex as Turns, OwnedMutexGuard};
use uuid::Uuid;

/// The VMs of a pool that somebody has.
#[derive(Debug, Default)]
pub struct Alone(Mutex<HashMap<Uuid, Weak<Turns<()>>>>);

/// Whoever holds it has the VM.
pub type Turn = OwnedMutexGuard<()>;

impl Alone {
    /// Waits for a VM, in the order of asking.
    pub async fn with(&self, vm: Uuid) -> Turn {
        self.turns(vm).lock_owned().await
    }

    /// The VM, if nobody has it.
    pub fn if_free(&self, vm: Uuid) -> Option<Turn> {
        self.turns(vm).try_lock_owned().ok()
    }

    fn turns(&self, vm: Uuid) -> Arc<Turns<()>> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(turns) = all.get(&vm).and_then(Weak::upgrade) {
            return turns;
        }
        all.retain(|_, turns| turns.strong_count() > 0);
        let turns = Arc::new(Turns::default());
        all.insert(vm, Arc::downgrade(&turns));
        turns
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_vm_is_had_by_one_at_a_time_and_others_are_not_kept_waiting() {
        let (alone, one, other) = (Alone::default(), Uuid::from_u128(1), Uuid::from_u128(2));
        let first = alone.with(one).await;
        assert!(alone.if_free(one).is_none());
        let _second = alone.if_free(other).expect("another VM is free");
        let waiting = alone.with(one);
        tokio::pin!(waiting);
        assert!(futures_util::poll!(&mut waiting).is_pending());
        drop(first);
        drop(waiting.await);
        assert!(alone.if_free(one).is_some());
    }

    #[tokio::test]
    async fn what_nobody_has_is_forgotten() {
        let alone = Alone::default();
        for vm in 0..1000 {
            drop(alone.with(Uuid::from_u128(vm)).await);
        }
        assert!(alone.0.lock().unwrap().len() <= 2);
    }
}

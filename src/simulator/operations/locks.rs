//! Locks are the `current_operations` of objects: taken in one step together with the test that admits the operation, waited for as
//! the server waits, and released one by one, each release waking whoever waits.

use std::future::Future;
use std::time::Duration;

use super::device_lifecycle::{check_sr, check_vbd, check_vdi, update_sr, update_vbd, update_vdi};
use super::vm_lifecycle;
use crate::simulator::context::Context;
use crate::simulator::error::ApiResult;
use crate::simulator::storage::backoff;
use crate::simulator::tasks;
use crate::simulator::value::{Ref, Value};
use crate::simulator::world::World;

/// Something that is locked: class, object and operation.
#[derive(Debug, Clone)]
pub struct Hold {
    class: &'static str,
    object: Ref,
    operation: &'static str,
}

impl Hold {
    /// An operation on a VM.
    pub fn vm(vm: &Ref, operation: &'static str) -> Self {
        Self { class: "VM", object: vm.clone(), operation }
    }

    /// An operation on an SR.
    pub fn sr(sr: &Ref, operation: &'static str) -> Self {
        Self { class: "SR", object: sr.clone(), operation }
    }

    /// An operation on a VDI.
    pub fn vdi(vdi: &Ref, operation: &'static str) -> Self {
        Self { class: "VDI", object: vdi.clone(), operation }
    }

    /// An operation on a VBD.
    pub fn vbd(vbd: &Ref, operation: &'static str) -> Self {
        Self { class: "VBD", object: vbd.clone(), operation }
    }

    /// An operation on an object that admits everything but itself: appliances.
    pub fn appliance(appliance: &Ref, operation: &'static str) -> Self {
        Self { class: "VM_appliance", object: appliance.clone(), operation }
    }

    fn check(&self, world: &World) -> ApiResult<()> {
        match self.class {
            "VM" => vm_lifecycle::check(world, &self.object, self.operation, false),
            "SR" => check_sr(world, &self.object, self.operation),
            "VDI" => check_vdi(world, &self.object, self.operation),
            "VBD" => check_vbd(world, &self.object, self.operation),
            class => {
                world.database.check(class, &self.object)?;
                match vm_lifecycle::pairs(world.database.get(class, &self.object, "current_operations")) {
                    current if current.is_empty() => Ok(()),
                    current => Err(vm_lifecycle::in_progress(world.release, class, &self.object, &current)),
                }
            }
        }
    }

    fn update(&self, world: &mut World) {
        match self.class {
            "VM" => vm_lifecycle::update_allowed(world, &self.object),
            "SR" => update_sr(world, &self.object),
            "VDI" => update_vdi(world, &self.object),
            "VBD" => update_vbd(world, &self.object),
            _ => {}
        }
    }

    /// Puts the operation into the object's row.
    pub fn mark(&self, world: &mut World, task: &Ref) {
        // The newest operation stands first.
        let _ = world.database.update(self.class, &self.object, "current_operations", |map| {
            if let Value::Map(members) = map {
                members.retain(|(holder, _)| holder != task);
                members.insert(0, (task.clone(), Value::str(self.operation)));
            }
        });
        self.update(world);
    }

    /// Takes the operation out of the object's row.
    pub fn unmark(&self, world: &mut World, task: &Ref) {
        let _ = world.database.take(self.class, &self.object, "current_operations", task);
        self.update(world);
    }
}

/// Does `work` while holding several locks, which are taken all or none and released in the order given.
///
/// # Errors
/// Why a lock is refused; what `work` fails with.
pub async fn holding<T>(context: &Context, holds: &[Hold], work: impl Future<Output = ApiResult<T>>) -> ApiResult<T> {
    take(context, holds).await?;
    let outcome = work.await;
    release(context, holds).await;
    outcome
}

/// Takes locks, all or none, waiting for whoever has them.
///
/// # Errors
/// Why a lock is refused.
pub async fn take(context: &Context, holds: &[Hold]) -> ApiResult<()> {
    // Whoever waits for a lock can be cancelled.
    context.step(|world| tasks::set_cancellable(world, &context.task, true));
    backoff::retry(context, |world| {
        holds.iter().try_for_each(|hold| hold.check(world))?;
        holds.iter().for_each(|hold| hold.mark(world, &context.task));
        Ok(())
    })
    .await
}

/// Releases locks, one after another; each release wakes all who wait.
pub async fn release(context: &Context, holds: &[Hold]) {
    for hold in holds {
        let pause = context.step(|world| {
            hold.unmark(world, &context.task);
            backoff::released(world, hold.class, &hold.object);
            between_releases(world)
        });
        if !pause.is_zero() {
            context.work(pause).await;
        }
    }
}

/// How long the server takes from one release to the next; it only shows while somebody waits.
fn between_releases(world: &World) -> Duration {
    let waiters = &world.storage.waiters;
    if waiters.sleeping() == 0 { Duration::ZERO } else { world.storage.timings.scaled(waiters.policy.between_releases) }
}

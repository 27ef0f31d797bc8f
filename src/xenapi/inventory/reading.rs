//! Following a server without event.from (before 6.0): everything is read from time to time, and soon when somebody waits for what
//! has happened; class by class. What the server does not know has no objects.

use std::marker::PhantomData;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::tables::Tables;
use super::{Change, Follows, Shared, asked};
use crate::xenapi::call::Call;
use crate::xenapi::error::{CallError, Problem};
use crate::xenapi::events::EventCall;
use crate::xenapi::records::{
    EventClass, Host, HostMetrics, Message, Pbd, Pool, Record, RecordsSeed, Sm, Sr, Task, Vbd, Vdi, Vm, VmAppliance,
    VmGuestMetrics, Vmpp, Vmss, Vtpm,
};
use crate::xenapi::types::{Any, Class, Ref};
use serde::de::DeserializeOwned;

/// Reads again and again; ends only when the pool was left.
pub(super) async fn follow(shared: &Arc<Shared>) {
    let clock = &shared.core.clock;
    let (mut failures, mut distance, mut asked_for) = (0, Duration::ZERO, false);
    loop {
        let (begun, version) = (clock.elapsed(), shared.status.borrow().version);
        // From here on the request holds the clock.
        shared.asked.begins();
        match read_all(shared).await {
            Ok(()) => {
                failures = 0;
                let in_vain = asked_for && shared.status.borrow().version == version;
                distance = asked::distance(distance, clock.elapsed().saturating_sub(begun), in_vain);
                asked_for = shared.asked.wait(clock, distance, shared.reading_every).await;
            }
            Err(CallError::NotConnected(error)) if matches!(error.problem, Problem::Closed) => return,
            Err(error) => {
                failures += 1;
                shared.fail(&error, failures).await;
            }
        }
    }
}

async fn read_all(shared: &Arc<Shared>) -> Result<(), CallError> {
    let mut reading = Reading { shared, aside: Arc::default(), put: Arc::default() };
    for class in &shared.classes {
        reading.read(class).await?;
    }
    reading.finish();
    Ok(())
}

/// A reading of everything in progress.
struct Reading<'a> {
    shared: &'a Arc<Shared>,
    aside: Arc<Mutex<Tables>>,
    /// What is new or another.
    put: Arc<Mutex<Vec<Change>>>,
}

macro_rules! by_class {
    ($self:ident, $class:ident, $($record:ident,)*) => {
        match $class {
            $(EventClass::$record => $self.read_class(PhantomData::<$record>, Record::$record).await,)*
            EventClass::Other(_) => Ok(()),
        }
    };
}

impl Reading<'_> {
    async fn read(&mut self, class: &EventClass) -> Result<(), CallError> {
        by_class!(
            self,
            class,
            Pool,
            Host,
            HostMetrics,
            Vm,
            VmGuestMetrics,
            Vbd,
            Vdi,
            Sr,
            Pbd,
            Sm,
            Vtpm,
            Vmss,
            Vmpp,
            VmAppliance,
            Task,
            Message,
        )
    }

    async fn read_class<T>(&self, _: PhantomData<T>, wrap: fn(Box<T>) -> Record) -> Result<(), CallError>
    where
        T: Class + DeserializeOwned + Send + 'static,
    {
        let call = Call::<()>::read(&format!("{}.get_all_records", T::NAME));
        let seed = || RecordsSeed::new(self.sink(wrap));
        match self.shared.core.run(&call.parts, seed).await {
            Ok(_) => Ok(()),
            Err(error) if EventCall::is_unsupported(&error) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// A repeated call puts the same again; a record that vanished in between stays until the next reading.
    fn sink<T: 'static>(&self, wrap: fn(Box<T>) -> Record) -> impl FnMut(Ref<T>, Box<T>) + Send + 'static {
        let (shared, aside, put) = (Arc::clone(self.shared), Arc::clone(&self.aside), Arc::clone(&self.put));
        move |reference, record| {
            let reference: Ref<Any> = reference.cast();
            let record = wrap(record);
            let class = record.class();
            let earlier = shared.tables.read().unwrap_or_else(PoisonError::into_inner);
            if lock(&aside).put(reference.clone(), record, Some(&earlier)) {
                lock(&put).push(Change::Put(class, reference));
            }
        }
    }

    /// Puts the new state in place. The first reading is told as one, later ones by their differences.
    fn finish(self) {
        let shared = self.shared;
        let new = std::mem::take(&mut *lock(&self.aside));
        let login = shared.core.login_number();
        if shared.status.borrow().synchronisations == 0 {
            return shared.replace(new, Follows::ByReading, login);
        }
        let mut changes = std::mem::take(&mut *lock(&self.put));
        changes.extend(shared.gone(&new));
        *shared.tables.write().unwrap_or_else(PoisonError::into_inner) = new;
        shared.status.send_modify(|status| {
            status.synchronisations += 1;
            status.login = login;
        });
        shared.set_follows(Follows::ByReading);
        shared.announce(changes);
    }
}

impl Shared {
    /// What is there now and is not in `new`.
    fn gone(&self, new: &Tables) -> Vec<Change> {
        let tables = self.tables.read().unwrap_or_else(PoisonError::into_inner);
        let of_class = |class: &EventClass| {
            let missing = tables.references(class).into_iter().filter(|reference| !new.contains(class, reference));
            missing.map(|reference| Change::Gone(class.clone(), reference)).collect::<Vec<_>>()
        };
        self.classes.iter().flat_map(of_class).collect()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

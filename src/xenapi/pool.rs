//! The handle of a pool. Cheap to copy; all copies share one session, one list of members and one stream of task events.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use tokio::sync::watch;

use super::call::Call;
use super::connection::{Core, Incarnation};
use super::error::{CallError, ConnectError, Problem};
use super::fence::Fence;
use super::members::KnownHost;
use super::patience::Patience;
use super::settings::Settings;
use super::tally::Tally;
use super::trust::ServerCertificate;
use super::wire::Wire;
use crate::clock::SharedClock;
use crate::domain::address::Address;

/// A pool that can be asked. Its session is opened when it is first needed and lives until [`Pool::logout`].
#[derive(Clone)]
pub struct Pool {
    pub(super) core: Arc<Core>,
    /// Logs out when the last handle goes.
    _last: Arc<LastHandle>,
}

impl Pool {
    /// A handle, without connecting. Needs a tokio runtime from the first call on.
    ///
    /// # Errors
    /// When the certificate settings are unusable, or no address is given.
    pub fn open(settings: Settings, clock: SharedClock) -> Result<Pool, Arc<ConnectError>> {
        let pool = settings.name.clone();
        if settings.addresses.is_empty() {
            return Err(Arc::new(ConnectError { pool, problem: Problem::Internal("a pool without an address".to_owned()) }));
        }
        let core = Core::new(settings, clock).map_err(|error| Arc::new(ConnectError { pool, problem: error.into() }))?;
        let core = Arc::new(core);
        Ok(Pool { _last: Arc::new(LastHandle(Arc::clone(&core))), core })
    }

    /// A handle, connected and logged in. Waits for a pool that is away as long as the settings' patience lasts.
    ///
    /// # Errors
    /// At once when waiting would not help (wrong password, unknown certificate, another pool), else when patience ends.
    pub async fn connect(settings: Settings, clock: SharedClock) -> Result<Pool, Arc<ConnectError>> {
        let pool = Pool::open(settings, clock)?;
        pool.connected().await?;
        Ok(pool)
    }

    /// Makes sure that there is a session; waits as [`Pool::connect`] does.
    ///
    /// # Errors
    /// As [`Pool::connect`].
    pub async fn connected(&self) -> Result<Incarnation, Arc<ConnectError>> {
        let patience = Patience::new(&self.core.clock, self.core.settings.patience);
        Ok(self.core.link(&patience).await?.incarnation.clone())
    }

    /// Makes one call and waits for its result.
    ///
    /// # Errors
    /// See [`CallError`]; its kind decides what may be done next.
    pub async fn call<R: DeserializeOwned + Send + 'static>(&self, call: Call<R>) -> Result<R, CallError> {
        self.core.run(&call.parts, || PhantomData::<R>).await
    }

    /// The configured name.
    pub fn name(&self) -> &str {
        &self.core.settings.name
    }

    /// The pool's uuid, once it is known or if it was configured.
    pub fn uuid(&self) -> Option<String> {
        self.core.pool_uuid.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    /// Which life of which server we were last logged in to; `None` before the first login.
    pub fn incarnation(&self) -> Option<Incarnation> {
        self.core.incarnations().borrow().clone()
    }

    /// The wire in use with the server of the last login; `None` before it.
    pub fn wire(&self) -> Option<Wire> {
        self.incarnation().and_then(|incarnation| self.core.remembered_wire(&incarnation.address))
    }

    /// Tells of every new [`Incarnation`].
    pub fn incarnations(&self) -> watch::Receiver<Option<Incarnation>> {
        self.core.incarnations()
    }

    /// Addresses at which a master may be found: worth storing, and given back as [`Settings::members`] in the next life.
    pub fn known_members(&self) -> Vec<Address> {
        self.core.members.addresses()
    }

    /// The pool's hosts as of the last login.
    pub fn hosts(&self) -> Vec<KnownHost> {
        self.core.members.hosts()
    }

    /// The certificates that were accepted, by server; none over plain HTTP.
    pub fn certificates(&self) -> Vec<ServerCertificate> {
        self.core.certificates()
    }

    /// What every call that changes something has to pass; open until somebody shuts it.
    pub fn fence(&self) -> &Fence {
        &self.core.fence
    }

    /// Calls so far, by method.
    pub fn tallies(&self) -> BTreeMap<String, Tally> {
        self.core.tallies.all()
    }

    /// The clock this pool lives by.
    pub fn clock(&self) -> &SharedClock {
        &self.core.clock
    }

    /// Ends the session and everything that runs in the background. Takes at most twice the settings' bound for a logout, in real
    /// time. Calls made afterwards, also on copies of this handle, fail. Doing it twice does nothing.
    pub async fn logout(&self) {
        self.core.close().await;
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("name", &self.name()).finish_non_exhaustive()
    }
}

/// What background work does not hold, so that its end shows that nobody uses the pool any more.
struct LastHandle(Arc<Core>);

impl Drop for LastHandle {
    fn drop(&mut self) {
        self.0.stop.cancel();
        if self.0.is_closed() {
            return;
        }
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let core = Arc::clone(&self.0);
            runtime.spawn(async move { core.close().await });
        } else {
            tracing::warn!(pool = %self.0.settings.name, "a pool was dropped without a logout; its session stays at the server for a day");
        }
    }
}

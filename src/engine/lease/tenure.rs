//! The task that keeps the lease. It asks the pool only for what the decision needs: a reading and a claim to begin with, a claim and a
//! removal for each renewal. Others are watched through the inventory, which costs nothing.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::home::Home;
use crate::clock::SharedClock;
use crate::domain::id::{InstallationId, PoolUuid};
use crate::domain::lease::{Added, Claim, Keys, Lease, Next, Stands, Terms, epoch_of, key};
use crate::engine::error::{Effect, Result, Setback};
use crate::engine::worker::Worker;
use crate::store::Store;
use crate::xenapi::failure::Kind;
use crate::xenapi::types::{Ref, StringMap};
use crate::xenapi::{Call, Incarnation, Inventory, Pool, calls, records};

/// What a tenure needs.
#[derive(Debug, Clone)]
pub struct TenureSettings {
    /// Who we are.
    pub installation: InstallationId,
    /// Where our history lies.
    pub home: Home,
    /// How long a claim is good for; nothing: nobody is kept out.
    pub terms: Option<Terms>,
    /// The pool.
    pub pool: PoolUuid,
    /// What of it is shown.
    pub inventory: Inventory,
    /// Where numbers are kept.
    pub store: Store,
}

/// How we stand, for whoever works.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// Nobody knows; whoever works goes on, and waits at the fence.
    Unknown,
    /// Another works with the pool.
    Standby(Option<Claim>),
    /// We do.
    Holding {
        /// The claim that ours follows, if that is another's: what it began is ours to go on with.
        follows: Option<Follows>,
    },
    /// We do, and nobody is kept out.
    Alone {
        /// Because the role does not allow it.
        denied: bool,
    },
}

/// Another's lease that was taken over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Follows {
    /// What it said.
    pub claim: Option<Claim>,
    /// When it was last seen to do something, by our clock; nothing if it never was.
    pub last_alive: Option<DateTime<Utc>>,
    /// When it became ours.
    pub at: DateTime<Utc>,
    /// The number of the claim by which it did; nothing where no lease is kept.
    pub epoch: Option<u64>,
}

impl Standing {
    /// Whether we work with the pool.
    pub fn works(&self) -> bool {
        matches!(self, Self::Holding { .. } | Self::Alone { .. })
    }

    /// Whether another does.
    pub fn is_standby(&self) -> bool {
        matches!(self, Self::Standby(_))
    }
}

/// The lease of a pool, for as long as this is held.
#[derive(Debug)]
pub struct Tenure {
    standing: watch::Receiver<Standing>,
    leave: CancellationToken,
    gone: watch::Receiver<bool>,
    failed: tokio::sync::Mutex<mpsc::Receiver<crate::engine::error::HistoryError>>,
    _ends: DropGuard,
}

impl Tenure {
    /// Begins to ask for the lease. Until it is had, nothing that changes something passes the pool's fence.
    pub fn begin(pool: &Pool, settings: TenureSettings) -> Self {
        let (leave, end) = (CancellationToken::new(), CancellationToken::new());
        let (gone, is_gone) = watch::channel(settings.terms.is_none());
        let (failure, failed) = mpsc::channel(1);
        let (said, standing) = watch::channel(Standing::Unknown);
        match settings.terms {
            None => {
                pool.fence().open();
                said.send_replace(Standing::Alone { denied: false });
            }
            Some(terms) => {
                pool.fence().shut();
                let worker = Worker::new(pool.clock());
                let (pool, leave, end) = (pool.clone(), leave.clone(), end.clone());
                tokio::spawn(async move {
                    let keeping = async {
                        let keeper = Keeper::new(worker, pool, settings, terms, said).await?;
                        keeper.run(leave).await
                    };
                    tokio::select! {
                        () = end.cancelled() => {}
                        kept = keeping => if let Err(error) = kept { let _ = failure.send(error).await; }
                    }
                    gone.send_replace(true);
                });
            }
        }
        let failed = tokio::sync::Mutex::new(failed);
        Self { standing, leave, gone: is_gone, failed, _ends: end.drop_guard() }
    }

    /// How we stand, now and later.
    pub fn standing(&self) -> watch::Receiver<Standing> {
        self.standing.clone()
    }

    /// Waits until the history cannot be kept any more.
    pub async fn failed(&self) -> crate::engine::error::HistoryError {
        match self.failed.lock().await.recv().await {
            Some(error) => error,
            None => std::future::pending().await,
        }
    }

    /// Gives the lease back, so that whoever stands by need not wait. Nothing is changed in the pool from here on. Idempotent.
    pub async fn leave(&self) {
        self.leave.cancel();
        let mut gone = self.gone.clone();
        let _ = gone.wait_for(|gone| *gone).await;
    }
}

/// So many claims are remembered.
const SENT: usize = 8;

/// So long nothing happens to a pool that was never logged in to, unless something is heard.
const AWAY: Duration = Duration::from_secs(3600);

struct Keeper {
    worker: Worker,
    pool: Pool,
    settings: TenureSettings,
    clock: SharedClock,
    said: watch::Sender<Standing>,
    lease: Lease,
    /// The login that the decision is about.
    known: Option<Incarnation>,
    /// What the inventory showed last.
    shown: Option<Keys>,
    /// When our newest claims were sent, by both clocks: between them a machine that stood still is seen.
    sent: Vec<(Duration, DateTime<Utc>)>,
}

enum News {
    Leave,
    Doubted,
    Other,
}

impl Keeper {
    async fn new(
        worker: Worker,
        pool: Pool,
        settings: TenureSettings,
        terms: Terms,
        said: watch::Sender<Standing>,
    ) -> Result<Self> {
        let clock = pool.clock().clone();
        let kept = settings.store.kept(&note(settings.pool)).await?;
        let floor = kept.and_then(|value| value.get("epoch").and_then(serde_json::Value::as_u64)).unwrap_or(0);
        let lease = Lease::new(settings.home.claim(terms, clock.now()), terms, floor);
        Ok(Self { worker, pool, settings, clock, said, lease, known: None, shown: None, sent: Vec::new() })
    }

    async fn run(mut self, leave: CancellationToken) -> Result<()> {
        loop {
            self.follow();
            self.notice();
            self.publish();
            let Some(login) = self.known.as_ref().map(|known| known.number) else {
                if self.wait(&leave, AWAY).await == Wake::Leave {
                    return Ok(());
                }
                continue;
            };
            if leave.is_cancelled() {
                return self.leave(login).await;
            }
            match self.lease.next(self.clock.elapsed(), login) {
                Next::Read => self.read(login).await,
                Next::Add(epoch) => self.add(epoch, login).await?,
                Next::Synchronise => self.synchronise().await,
                Next::Sleep(until) => {
                    self.wait(&leave, until.saturating_sub(self.clock.elapsed())).await;
                }
            }
        }
    }

    /// Takes in which login there is.
    fn follow(&mut self) {
        let now = self.pool.incarnation();
        if now.as_ref().map(|now| now.number) == self.known.as_ref().map(|known| known.number) {
            return;
        }
        if let (Some(known), Some(now)) = (&self.known, &now)
            && !now.is_same_server(known)
        {
            self.lease.server_changed();
        }
        self.lease.new_login();
        self.known = now;
    }

    /// Takes in what the inventory shows of others, if that is news.
    fn notice(&mut self) {
        let keys = {
            let tables = self.settings.inventory.read();
            let mut pools = tables.all::<records::Pool>();
            let Some((_, pool)) = pools.next() else { return };
            self.keys(&pool.other_config)
        };
        if self.shown.as_ref() != Some(&keys) {
            self.lease.notice(&keys, self.clock.elapsed());
            self.shown = Some(keys);
        }
    }

    fn keys(&self, map: &StringMap) -> Keys {
        let epoch = |key: &str| epoch_of(&self.settings.installation, key);
        map.iter().filter_map(|(key, value)| Some((epoch(key)?, value.to_owned()))).collect()
    }

    /// Opens and shuts the fence, and says how we stand.
    fn publish(&mut self) {
        let now = self.clock.elapsed();
        let fence = self.pool.fence();
        let stands = self.lease.stands(now);
        match &stands {
            Stands::Holding { until, login } if self.lease.holding(now, *login) => match self.sent_at() {
                Some(set) => fence.open_until(*login, *until, set),
                None => fence.shut(),
            },
            Stands::Holding { .. } | Stands::Unknown => fence.shut(),
            Stands::Standby(_) => fence.lose(),
            Stands::Alone => fence.open(),
        }
        let before = self.said.borrow().clone();
        let standing = match stands {
            // Whoever works goes on; the fence keeps him from doing harm.
            Stands::Unknown if before.works() => return,
            Stands::Unknown => Standing::Unknown,
            Stands::Standby(claim) => Standing::Standby(claim),
            Stands::Alone => Standing::Alone { denied: true },
            Stands::Holding { .. } if matches!(before, Standing::Holding { .. }) => return,
            Stands::Holding { .. } => Standing::Holding { follows: self.follows(now) },
        };
        if standing != before {
            self.said.send_replace(standing);
        }
    }

    /// When the claim was sent by which we hold the lease, by both clocks.
    fn sent_at(&self) -> Option<(Duration, DateTime<Utc>)> {
        let sent = self.lease.sent()?;
        self.sent.iter().find(|(elapsed, _)| *elapsed == sent).copied()
    }

    /// Whose lease ours follows, unless that is an earlier life of ours or nobody's.
    fn follows(&mut self, now: Duration) -> Option<Follows> {
        let at = self.clock.now();
        self.lease.holds_since(at);
        let before = self.lease.before()?;
        if self.lease.is_earlier_life(before) {
            return None;
        }
        let ago = |seen: Duration| TimeDelta::from_std(now.saturating_sub(seen)).unwrap_or(TimeDelta::MAX);
        let last_alive = self.lease.last_alive().and_then(|seen| at.checked_sub_signed(ago(seen)));
        Some(Follows { claim: Some(before.clone()), last_alive, at, epoch: self.lease.epoch() })
    }

    /// Waits, at most so long, for anything that may change the decision.
    async fn wait(&mut self, leave: &CancellationToken, time: Duration) -> Wake {
        let (mut logins, mut shown) = (self.pool.incarnations(), self.settings.inventory.status());
        let (login, version) = (self.known.as_ref().map(|known| known.number), shown.borrow_and_update().version);
        let sleep = self.clock.sleep(time);
        let fence = self.pool.fence().clone();
        let holding = login.is_some_and(|login| self.lease.holding(self.clock.elapsed(), login));
        let news = async {
            tokio::select! {
                () = leave.cancelled() => News::Leave,
                Ok(_) = logins.wait_for(|now| now.as_ref().map(|now| now.number) != login) => News::Other,
                Ok(_) = shown.wait_for(|now| now.version != version) => News::Other,
                () = fence.wanted(), if holding => News::Doubted,
                () = sleep => News::Other,
            }
        };
        match self.worker.wait(news).await {
            News::Leave => return Wake::Leave,
            News::Doubted if login.is_some_and(|login| !self.pool.fence().passes(&self.clock, login)) => self.lease.doubted(),
            News::Doubted | News::Other => {}
        }
        Wake::News
    }

    fn reference(&self) -> Ref<records::Pool> {
        Ref::new(self.known.as_ref().map_or("", |known| &known.pool_ref))
    }

    /// Tried once, in this login, and not waited for longer than a renewal may take.
    fn asked<R>(&self, call: Call<R>, login: u64) -> Call<R> {
        call.within(Duration::ZERO).only_in_login(Some(login)).answered_within(self.lease.terms().renew())
    }

    async fn read(&mut self, login: u64) {
        let call = self.asked(calls::pool::get_other_config(&self.reference()), login);
        let sent = self.clock.elapsed();
        match self.worker.call(&self.pool, call).await {
            Ok(map) => {
                let keys = self.keys(&map);
                self.lease.read(&keys, sent, self.clock.elapsed(), login);
                self.tidy(login).await;
            }
            Err(error) => {
                tracing::debug!(pool = %self.pool.name(), %error, "the lease could not be read");
                self.lease.failed(self.clock.elapsed());
            }
        }
    }

    async fn add(&mut self, epoch: u64, login: u64) -> Result<()> {
        let acting = self.lease.holding(self.clock.elapsed(), login);
        if !acting {
            // Kept before it is used, so that no later life claims below.
            let value = json!({ "epoch": epoch, "holder": self.lease.claim().holder });
            self.settings.store.keep(&note(self.settings.pool), &value, self.clock.now()).await?;
        }
        let value = self.lease.claim().encode();
        let (sent, wall) = (self.clock.elapsed(), self.clock.now());
        let added = self.try_to_add(epoch, &value, login).await;
        let answered = self.clock.elapsed();
        self.sent.push((sent, wall));
        self.sent.drain(..self.sent.len().saturating_sub(SENT));
        match added {
            Some(added) => {
                self.lease.added(epoch, added, sent, answered, login);
                if added == Added::Unclear {
                    self.lease.failed(answered);
                }
            }
            None => self.lease.failed(answered),
        }
        self.publish();
        self.tidy(login).await;
        Ok(())
    }

    /// Nothing: it never left, or was refused for the moment.
    async fn try_to_add(&mut self, epoch: u64, value: &str, login: u64) -> Option<Added> {
        let key = key(&self.settings.installation, epoch);
        let call = calls::pool::add_to_other_config(&self.reference(), &key, value);
        let call = self.asked(call.beside_the_fence(), login);
        match self.worker.call(&self.pool, call).await {
            Ok(_) => Some(Added::Won),
            Err(error) if error.is("MAP_DUPLICATE_KEY") => Some(Added::Taken),
            Err(error) if error.failure().is_some() && error.kind() == Kind::Denied => Some(Added::Denied),
            Err(error) => {
                tracing::debug!(pool = %self.pool.name(), %error, "the lease could not be claimed");
                (Setback::from(error).effect == Effect::Unknown).then_some(Added::Unclear)
            }
        }
    }

    async fn synchronise(&mut self) {
        let call = calls::pool::sync_database().beside_the_fence().within(Duration::ZERO);
        match self.worker.call(&self.pool, call).await {
            Ok(_) => self.lease.synchronised(),
            Err(error) if error.failure().is_some() && error.kind() == Kind::Denied => self.lease.synchronised(),
            Err(error) => {
                tracing::debug!(pool = %self.pool.name(), %error, "the lease could not be synchronised");
                self.lease.failed(self.clock.elapsed());
            }
        }
    }

    /// Removes claims that nobody needs, once ours counts. Failing at it matters to nobody: the next renewal tries again.
    async fn tidy(&mut self, login: u64) {
        if !self.lease.holding(self.clock.elapsed(), login) {
            return;
        }
        for epoch in self.lease.needless() {
            if self.remove(epoch, login).await {
                self.lease.removed(epoch);
            }
        }
    }

    async fn remove(&mut self, epoch: u64, login: u64) -> bool {
        let key = key(&self.settings.installation, epoch);
        let call = calls::pool::remove_from_other_config(&self.reference(), &key);
        let call = self.asked(call.beside_the_fence(), login);
        self.worker.call(&self.pool, call).await.is_ok()
    }

    /// Says that whoever stands by need not wait. It is the next claim, so that it does nothing where another has it already.
    async fn leave(mut self, login: u64) -> Result<()> {
        let held = self.lease.holding(self.clock.elapsed(), login);
        self.pool.fence().shut();
        if !held {
            return Ok(());
        }
        let epoch = self.lease.floor() + 1;
        let left = Claim { released: true, ..self.lease.claim().clone() };
        if self.try_to_add(epoch, &left.encode(), login).await == Some(Added::Won) {
            let mine = self.lease.epoch();
            self.lease.added(epoch, Added::Won, Duration::ZERO, Duration::ZERO, login);
            for epoch in self.lease.needless().into_iter().chain(mine) {
                self.remove(epoch, login).await;
            }
        }
        Ok(())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wake {
    Leave,
    News,
}

/// Where the highest number is kept.
fn note(pool: PoolUuid) -> String {
    format!("lease/{pool}")
}

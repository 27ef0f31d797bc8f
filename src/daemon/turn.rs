//! Whether it is ours to work with a pool. Two daemons of one installation may have the same pool: one works, the other stands by, reached
//! and watching, and claims no slot. What the lease says is told here, to people and to the history.

use std::sync::Arc;

use crate::domain::lease::Claim;
use crate::engine::error::{HistoryError, Result};
use crate::engine::lease::{Follows, Standing, Succession, Tenure};
use crate::engine::worker::Worker;
use crate::store::{EventKind, NewEvent};
use crate::telemetry::Fact;

use super::keeper::{Keeper, Reached, staleness};
use super::reach::Phase;

/// The pool is ours for now.
pub(super) struct Turn {
    /// When it was last taken over from another daemon, if it ever was.
    pub(super) succession: Option<Succession>,
}

enum News {
    Stop,
    Standing,
    Plan,
    Shown,
    Failed(HistoryError),
}

impl Keeper {
    /// Waits until the pool is ours. Nothing if the service stops before.
    pub(super) async fn our_turn(&self, worker: &mut Worker, reached: &Reached, tenure: &Arc<Tenure>) -> Result<Option<Turn>> {
        let (mut standing, mut plan) = (tenure.standing(), self.plan.clone());
        let mut shown = reached.inventory.status();
        let mut stale = None;
        let mut known: Option<Follows> = None;
        loop {
            let now = standing.borrow_and_update().clone();
            match now {
                Standing::Holding { follows } => return self.take(reached, follows).await.map(Some),
                Standing::Alone { denied } => return self.go_alone(reached, denied, known).await.map(Some),
                Standing::Standby(claim) => {
                    self.stand_by(reached, claim.as_ref(), known.is_none()).await?;
                    if stale.is_some() {
                        self.stands(Phase::Unreachable, stale.clone());
                    }
                    known = Some(Follows { claim, last_alive: Some(self.clock.now()), at: self.clock.now(), epoch: None });
                }
                Standing::Unknown => {}
            }
            let news = async {
                tokio::select! {
                    () = self.stop.cancelled() => News::Stop,
                    Ok(()) = standing.changed() => News::Standing,
                    Ok(()) = plan.changed() => News::Plan,
                    Ok(_) = shown.wait_for(|shown| staleness(shown) != stale) => News::Shown,
                    error = tenure.failed() => News::Failed(error),
                }
            };
            match worker.wait(news).await {
                News::Stop => return Ok(None),
                News::Failed(error) => return Err(error),
                News::Standing | News::Plan => {}
                News::Shown => stale = staleness(&shown.borrow()),
            }
        }
    }

    /// Another works with the pool. Policies count from now on, so that what comes due after the other's end is made up for.
    async fn stand_by(&self, reached: &Reached, claim: Option<&Claim>, is_news: bool) -> Result<()> {
        let name = &self.pool.settings.name;
        let who = claim.map_or_else(|| "somebody whose claim cannot be read".to_owned(), Claim::who);
        self.stands(Phase::StandingBy, Some(format!("standing by: held by {who}")));
        let plan = Arc::clone(&self.plan.borrow());
        let policies = plan.enabled_on(name).map(|policy| policy.id.to_string()).collect();
        self.store.start_cursors(reached.uuid.0, policies, self.clock.now()).await?;
        if is_news {
            let text = format!("another daemon of this installation works with the pool {name}, and this one stands by: {who}");
            self.note(reached, EventKind::StandingBy, text).await?;
        }
        Ok(())
    }

    async fn take(&self, reached: &Reached, follows: Option<Follows>) -> Result<Turn> {
        let Some(follows) = follows else { return self.turn(reached, None).await };
        let name = &self.pool.settings.name;
        let who = follows.claim.as_ref().map_or_else(|| "somebody".to_owned(), Claim::who);
        let how = match (&follows.claim, follows.last_alive) {
            (Some(claim), _) if claim.released => "which has left it in order".to_owned(),
            (_, Some(at)) => format!("which was last heard of at {}", at.to_rfc3339_opts(chrono::SecondsFormat::Secs, true)),
            (_, None) => "which was not heard of while this one was there".to_owned(),
        };
        let text = format!("the pool {name} is taken over from another daemon of this installation ({who}), {how}");
        self.note(reached, EventKind::LeaseTaken, text).await?;
        self.turn(reached, Some(&follows)).await
    }

    /// Nobody is kept out, because nobody wishes so or the role does not allow it.
    async fn go_alone(&self, reached: &Reached, denied: bool, known: Option<Follows>) -> Result<Turn> {
        if denied {
            let name = &self.pool.settings.name;
            let text = format!(
                "the role of {} does not allow to write into the pool's other_config, so a second daemon cannot be kept out of the pool \
                 {name}: see to it that there is none, or give the user the role pool-operator",
                self.pool.settings.username
            );
            self.note(reached, EventKind::LeaseDenied, text).await?;
        }
        self.turn(reached, known.map(|follows| Follows { at: self.clock.now(), ..follows }).as_ref()).await
    }

    /// A takeover is written down before anything is done. Without one, an earlier life of ours may have been in the middle of its own.
    async fn turn(&self, reached: &Reached, follows: Option<&Follows>) -> Result<Turn> {
        let Some(follows) = follows else {
            return Ok(Turn { succession: Succession::kept(&self.store, reached.uuid).await? });
        };
        let succession = Succession::from(follows);
        succession.keep(&self.store, reached.uuid, self.clock.now()).await?;
        Ok(Turn { succession: Some(succession) })
    }

    async fn note(&self, reached: &Reached, kind: EventKind, text: String) -> Result<()> {
        Fact::new(kind).pool(&self.pool.settings.name).say(&text);
        let event = NewEvent { pool: Some(reached.uuid.0), ..NewEvent::new(self.clock.now(), kind, text) };
        Ok(self.store.note_event(event).await.map(|_| ())?)
    }
}

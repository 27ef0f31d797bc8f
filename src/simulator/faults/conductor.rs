//! Carries out the faults that wait for their time instead of for a call.

use std::sync::Arc;
use std::time::Duration;

use super::{Action, Faults, Moment, Now, Order, State, World};
use crate::clock::SharedClock;
use crate::simulator::context::Shared;
use crate::simulator::model::Release;

/// Waits for the moments of the plan and carries them out, until the returned future is dropped. No moment ahead costs nothing: no
/// sleeper is registered with the clock.
///
/// `current` gives the server's present life, if it is alive; orders for the server go to its operator.
pub async fn conduct(clock: SharedClock, faults: Arc<Faults>, current: impl Fn() -> Option<Arc<Shared>>) {
    loop {
        let news = faults.news.notified();
        match faults.next_moment(Now::of(&*clock)) {
            None => news.await,
            Some(wait) => tokio::select! {
                () = clock.sleep(wait) => {}
                () = news => {}
            },
        }
        let _busy = clock.activity().hold();
        let now = Now::of(&*clock);
        // What happens to a dead server's world is lost on it, but orders are not.
        let orders = match current() {
            Some(shared) => shared.step(|world| faults.on_time(world, now)),
            None => faults.on_time(&mut World::new(Release::NEWEST, 0), now),
        };
        for (order, delay) in orders {
            faults.order(order, delay);
        }
    }
}

impl Faults {
    /// How long until the next fault that waits for its time.
    pub fn next_moment(&self, now: Now) -> Option<Duration> {
        let state = self.lock();
        (0..state.rules.len()).filter_map(|at| state.until_due(at, now)).min()
    }

    /// Carries out the faults whose time has come, each once; answers what must happen to the server, and how much later.
    pub fn on_time(&self, world: &mut World, now: Now) -> Vec<(Order, Duration)> {
        let mut state = self.lock();
        let mut orders = Vec::new();
        for at in 0..state.rules.len() {
            if state.until_due(at, now) != Some(Duration::ZERO) {
                continue;
            }
            let struck = state.strikes(at, now);
            state.rules[at].met = state.rules[at].met.max(1);
            if struck {
                orders.extend(state.strike_in_time(world, at, now));
            }
        }
        orders
    }
}

impl State {
    /// How long until a fault's time comes; none when it has none, or had it.
    fn until_due(&self, at: usize, now: Now) -> Option<Duration> {
        let armed = &self.rules[at];
        if !armed.rule.matching.is_for_no_call() || armed.met > 0 {
            return None;
        }
        Some(match armed.rule.trigger.from? {
            Moment::Since(after) => (self.start + after).saturating_sub(now.elapsed),
            Moment::At(moment) => (moment - now.wall).to_std().unwrap_or_default(),
        })
    }

    fn strike_in_time(&mut self, world: &mut World, at: usize, now: Now) -> Option<(Order, Duration)> {
        let action = self.rules[at].rule.action.clone();
        let effect = self.on_world(world, at, &action).unwrap_or_else(|| action.to_string());
        self.rules[at].note(now.wall, "", effect);
        match action {
            Action::Server { order, delay, .. } => Some((order, delay)),
            _ => None,
        }
    }
}

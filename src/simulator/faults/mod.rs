//! Faults on purpose: which call, disk or moment something goes wrong at, and what was seen of it.
//!
//! The rule: the same plan, seed and calls give the same faults. Every chance is drawn from the plan's own generator, and only for
//! calls that the fault meets. Faults outlive the server: a plan counts on over kills and restarts.
//!
//! Where the server asks:
//!
//! 1. Before a call is looked at, its session included: [`Faults::on_call`]. It changes the world where the fault says so, and answers
//!    what the connection must do ([`Strikes`]).
//! 2. When the call is over: [`Faults::over`], so that the report says what a cut connection hid.
//! 3. Before each disk of a snapshot: [`Faults::on_disk`].
//! 4. Whenever free space is computed: [`Faults::squeeze`].
//! 5. Whenever `event.next` is asked: [`Faults::events_lost`].
//! 6. Around a call: [`Faults::give_orders`], so that whoever operates the server ([`Faults::operator`]) kills or restarts it.
//!
//! Faults that wait for their time are carried out by [`conduct`].

mod conductor;
mod file;
mod garbage;
mod labels;
mod plan;
mod skew;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

pub use conductor::conduct;
pub use file::PlanError;
pub use garbage::{Garbage, Spoilt};
pub use plan::{Action, Match, Moment, Order, Plan, Rule, Trigger, When};
pub use skew::ServerClock;
use tokio::sync::Notify;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};

use super::error::{ApiError, ApiResult};
use super::value::{Ref, Text, Value};
use super::world::World;

/// A call as faults see it.
#[derive(Debug, Clone, Copy)]
pub struct Call<'a> {
    /// The message as called, `Async.` included, or `GET /export`.
    pub method: &'a str,
    /// The parameters without the session; for an HTTP handler the query's values.
    pub args: &'a [Value],
    /// What the client called itself at login; empty when unknown.
    pub originator: &'a str,
    /// As whom it is logged in, or wants to be; empty when unknown.
    pub user: &'a str,
}

/// What the connection must do about a call, in this order.
#[derive(Debug, Clone, Default, PartialEq)]
#[must_use]
pub struct Strikes {
    /// Wait before doing anything.
    pub delay: Duration,
    /// Instead of the call.
    pub instead: Option<Instead>,
    /// How the call's work goes.
    pub pace: Pace,
    /// Instead of the answer.
    pub answer: Option<Spoil>,
    /// What happens to the server: when seen from the call, what, and how much later.
    pub orders: Vec<(When, Order, Duration)>,
    notes: Vec<(usize, usize)>,
}

/// What happens instead of a call.
#[derive(Debug, Clone, PartialEq)]
pub enum Instead {
    /// It fails.
    Refuse(ApiError),
    /// Nothing; the connection stays open until the client gives up.
    Hang,
    /// The connection is closed.
    Cut,
}

/// What happens instead of an answer.
#[derive(Debug, Clone, PartialEq)]
pub enum Spoil {
    /// The connection is closed.
    Cut,
    /// Nothing is sent; the connection stays open until the client gives up.
    Mute,
    /// Something else is sent.
    Garbage(Garbage),
}

/// How a call's work goes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pace {
    /// It takes so many times as long.
    pub factor: f64,
    /// It never ends.
    pub stuck: bool,
}

impl Default for Pace {
    fn default() -> Self {
        Self { factor: 1.0, stuck: false }
    }
}

/// What became of one fault.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// The fault's name.
    pub name: String,
    /// How many calls, disks or moments it met.
    pub met: u64,
    /// How many it struck.
    pub struck: u64,
    /// What was seen each time, oldest first; of very many only the newest.
    pub effects: Vec<Effect>,
}

/// What was seen when a fault struck.
#[derive(Debug, Clone, PartialEq)]
pub struct Effect {
    /// By the pool's wall clock.
    pub at: DateTime<Utc>,
    /// What was struck: the method, or empty for a moment.
    pub what: String,
    /// What was seen.
    pub effect: String,
}

/// How many effects are kept of one fault.
const EFFECTS_KEPT: usize = 1000;

/// The faults of one simulator, shared by all its lives.
#[derive(Debug, Default)]
pub struct Faults {
    state: Mutex<State>,
    /// Wakes the conductor when faults were added.
    news: Notify,
    orders: Orders,
}

/// Orders for the server on their way to whoever operates it.
#[derive(Debug)]
struct Orders {
    sender: UnboundedSender<(Order, Duration)>,
    receiver: Mutex<Option<UnboundedReceiver<(Order, Duration)>>>,
}

impl Default for Orders {
    fn default() -> Self {
        let (sender, receiver) = mpsc::unbounded_channel();
        Self { sender, receiver: Mutex::new(Some(receiver)) }
    }
}

#[derive(Debug)]
struct State {
    rules: Vec<Armed>,
    random: ChaCha8Rng,
    /// The clock's elapsed time when the plan was loaded.
    start: Duration,
    squeezed: Vec<Squeezed>,
    losses: u64,
    skew: TimeDelta,
}

impl Default for State {
    fn default() -> Self {
        let random = ChaCha8Rng::seed_from_u64(0);
        Self { rules: Vec::new(), random, start: Duration::ZERO, squeezed: Vec::new(), losses: 0, skew: TimeDelta::zero() }
    }
}

/// An SR that somebody else has filled.
#[derive(Debug)]
struct Squeezed {
    sr: Ref,
    leave: i64,
    /// How many bytes were written into it.
    added: i64,
}

#[derive(Debug)]
struct Armed {
    rule: Rule,
    met: u64,
    struck: u64,
    struck_user: Option<Text>,
    effects: Vec<Effect>,
    /// How many effects were dropped from the front.
    dropped: usize,
}

/// A moment: elapsed time of the clock, and the wall clock.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    /// [`Clock::elapsed`](crate::clock::Clock::elapsed).
    pub elapsed: Duration,
    /// [`Clock::now`](crate::clock::Clock::now).
    pub wall: DateTime<Utc>,
}

impl Now {
    /// The clock's moment.
    pub fn of(clock: &dyn crate::clock::Clock) -> Self {
        Self { elapsed: clock.elapsed(), wall: clock.now() }
    }
}

impl Faults {
    /// Puts a plan in force and forgets the one before, its reports included.
    pub fn load(&self, plan: Plan, now: Now) {
        let mut state = self.lock();
        *state = State { random: ChaCha8Rng::seed_from_u64(plan.seed), start: now.elapsed, skew: state.skew, ..State::default() };
        state.rules = plan.rules.into_iter().map(Armed::new).collect();
        drop(state);
        self.news.notify_one();
    }

    /// Adds one fault to those in force.
    pub fn add(&self, rule: Rule) {
        self.lock().rules.push(Armed::new(rule));
        self.news.notify_one();
    }

    /// True while no fault is in force: nobody needs to ask.
    pub fn is_empty(&self) -> bool {
        self.lock().rules.is_empty()
    }

    /// What became of every fault, in the plan's order.
    pub fn reports(&self) -> Vec<Report> {
        self.lock().rules.iter().map(Armed::report).collect()
    }

    /// How often faults of this name have struck.
    pub fn struck(&self, name: &str) -> u64 {
        self.lock().rules.iter().filter(|armed| armed.rule.name == name).map(|armed| armed.struck).sum()
    }

    /// As whom the client was logged in whose call a fault of this name struck last.
    pub fn struck_user(&self, name: &str) -> Option<Text> {
        let state = self.lock();
        let named = state.rules.iter().filter(|armed| armed.rule.name == name);
        named.rev().find_map(|armed| armed.struck_user.clone())
    }

    /// What the faults do to a call. Effects on the world take place here.
    pub fn on_call(&self, world: &mut World, call: Call<'_>, now: Now) -> Strikes {
        let mut state = self.lock();
        let mut strikes = Strikes::default();
        for at in 0..state.rules.len() {
            if state.rules[at].rule.matching.is_for_no_call() || matches!(state.rules[at].rule.action, Action::FailDisk { .. }) {
                continue;
            }
            if !labels::meets(&state.rules[at].rule.matching, world, call) || !state.strikes(at, now) {
                continue;
            }
            let action = state.rules[at].rule.action.clone();
            let effect = state.on_world(world, at, &action).unwrap_or_else(|| action.to_string());
            let note = state.rules[at].note(now.wall, call.method, effect);
            state.rules[at].struck_user = Some(call.user.into());
            strikes.notes.push((at, note));
            strikes.take(action);
        }
        strikes
    }

    /// Notes how a struck call ended, which its client may never learn.
    pub fn over(&self, strikes: &Strikes, result: &ApiResult) {
        let mut state = self.lock();
        for (at, note) in &strikes.notes {
            let ending = match result {
                Ok(_) => "; the call succeeded".to_owned(),
                Err(error) => format!("; the call failed with {}", error.code),
            };
            if let Some(armed) = state.rules.get_mut(*at) {
                armed.amend(*note, &ending);
            }
        }
    }

    /// The error that the `nth` disk (from 1) of a snapshot of `vm` must end in.
    pub fn on_disk(&self, world: &World, method: &str, vm: &str, nth: u64, now: Now) -> Option<ApiError> {
        let mut state = self.lock();
        let args = [Value::str(vm)];
        let call = Call { method, args: &args, originator: "", user: "" };
        for at in 0..state.rules.len() {
            let Action::FailDisk { disk, error } = state.rules[at].rule.action.clone() else { continue };
            let matching = Match { originator: None, ..state.rules[at].rule.matching.clone() };
            if disk == nth && labels::meets(&matching, world, call) && state.strikes(at, now) {
                state.rules[at].note(now.wall, method, format!("disk {nth} failed with {}", error.code));
                return Some(error);
            }
        }
        None
    }

    /// How many bytes of an SR are free, when the storage says `free`.
    pub fn squeeze(&self, sr: &str, free: i64) -> i64 {
        let state = self.lock();
        state.squeezed.iter().filter(|full| &*full.sr == sr).fold(free, |free, full| free.min(full.leave))
    }

    /// Takes away what [`Action::FillSr`] did.
    pub fn empty_srs(&self, world: &mut World) {
        for full in self.lock().squeezed.drain(..) {
            labels::show_more(world, &full.sr, -full.added);
        }
    }

    /// A number that grows when `event.next` must answer EVENTS_LOST to sessions that were there before.
    pub fn events_lost(&self) -> u64 {
        self.lock().losses
    }

    /// Passes on what the faults that struck a call order for the server: before and during the call, or after it.
    pub fn give_orders(&self, strikes: &Strikes, after: bool) {
        for (when, order, delay) in &strikes.orders {
            if (*when == When::After) == after {
                self.order(order.clone(), *delay);
            }
        }
    }

    /// Orders something for the server, to be done after `delay`. Without an operator nothing happens.
    pub fn order(&self, order: Order, delay: Duration) {
        let _ = self.orders.sender.send((order, delay));
    }

    /// Takes the office of the operator, once: whoever holds the receiver carries out the orders.
    pub fn operator(&self) -> Option<UnboundedReceiver<(Order, Duration)>> {
        self.orders.receiver.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// By how much the server's wall clock is wrong.
    pub fn skew(&self) -> TimeDelta {
        self.lock().skew
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Counts a meeting and decides whether the fault strikes.
    fn strikes(&mut self, at: usize, now: Now) -> bool {
        let Self { rules, random, start, .. } = self;
        let armed = &mut rules[at];
        let trigger = &armed.rule.trigger;
        if trigger.from.is_some_and(|from| !reached(from, *start, now))
            || trigger.until.is_some_and(|to| reached(to, *start, now))
        {
            return false;
        }
        armed.met += 1;
        let counted = (trigger.nth.is_empty() || trigger.nth.contains(&armed.met))
            && trigger.every.is_none_or(|every| armed.met.is_multiple_of(every.max(1)))
            && trigger.times.is_none_or(|times| armed.struck < times);
        // The draw is made for every meeting, so that other conditions do not shift the dice.
        let lucky = trigger.probability.is_none_or(|chance| ((random.next_u64() >> 11) as f64) < chance * (1u64 << 53) as f64);
        let strikes = counted && lucky;
        armed.struck += u64::from(strikes);
        strikes
    }

    /// Carries out what concerns the world; says what was seen.
    fn on_world(&mut self, world: &mut World, at: usize, action: &Action) -> Option<String> {
        match action {
            Action::LoseEvents => {
                self.losses += 1;
                world.database.forget_deletions();
                Some("deletions forgotten".to_owned())
            }
            Action::ExpireSessions => {
                let originator = self.rules[at].rule.matching.originator.clone();
                Some(format!("{} sessions ended", labels::end_sessions(world, originator.as_deref())))
            }
            Action::FillSr { sr, leave } => Some(match labels::find_sr(world, sr) {
                Some(reference) => {
                    let added = labels::show_full(world, &reference, *leave);
                    self.squeezed.push(Squeezed { sr: reference, leave: *leave, added });
                    format!("SR {sr} has {leave} bytes free")
                }
                None => format!("there is no SR {sr}: nothing done"),
            }),
            Action::Skew(by) => {
                self.skew += *by;
                Some(format!("the clock is wrong by {}", self.skew))
            }
            _ => None,
        }
    }
}

fn reached(moment: Moment, start: Duration, now: Now) -> bool {
    match moment {
        Moment::Since(after) => now.elapsed >= start + after,
        Moment::At(at) => now.wall >= at,
    }
}

impl Armed {
    fn new(rule: Rule) -> Self {
        Self { rule, met: 0, struck: 0, struck_user: None, effects: Vec::new(), dropped: 0 }
    }

    /// Notes an effect; the number finds it again.
    fn note(&mut self, at: DateTime<Utc>, what: &str, effect: String) -> usize {
        if self.effects.len() == EFFECTS_KEPT {
            self.effects.drain(..EFFECTS_KEPT / 2);
            self.dropped += EFFECTS_KEPT / 2;
        }
        self.effects.push(Effect { at, what: what.to_owned(), effect });
        self.dropped + self.effects.len() - 1
    }

    fn amend(&mut self, note: usize, more: &str) {
        if let Some(effect) = note.checked_sub(self.dropped).and_then(|at| self.effects.get_mut(at)) {
            effect.effect.push_str(more);
        }
    }

    fn report(&self) -> Report {
        Report { name: self.rule.name.clone(), met: self.met, struck: self.struck, effects: self.effects.clone() }
    }
}

impl Strikes {
    /// True when a fault struck.
    pub fn is_any(&self) -> bool {
        !self.notes.is_empty()
    }

    fn take(&mut self, action: Action) {
        match action {
            Action::Delay(by) => self.delay += by,
            Action::Refuse(error) => self.instead = self.instead.take().or(Some(Instead::Refuse(error))),
            Action::Hang => self.instead = Some(Instead::Hang),
            Action::Cut(When::Before) => self.instead = Some(Instead::Cut),
            Action::Cut(_) => self.answer = Some(Spoil::Cut),
            Action::Mute => self.answer = Some(Spoil::Mute),
            Action::Garbage(kind) => self.answer = Some(Spoil::Garbage(kind)),
            Action::Slow(factor) => self.pace.factor *= factor,
            Action::Stuck => self.pace.stuck = true,
            Action::Server { order, when, delay } => self.orders.push((when, order, delay)),
            Action::LoseEvents | Action::ExpireSessions | Action::FillSr { .. } => {}
            Action::FailDisk { .. } | Action::Skew(_) => {}
        }
    }
}

#[cfg(test)]
mod tests;

//! One time for two processes. One of them leads: it owns a [`HandClock`] and moves it. The others follow: each has a hand clock of its
//! own, and a socket at which the leader looks whether it is at rest and when its next sleeper wakes, and moves its time.
//!
//! The rule: time passes only while nobody works in any of the processes and nothing is between their sockets. Each process counts what
//! it sends and reads itself, so only the sum says what is on the wire ([`Counts`]). A follower that is killed takes its counters along,
//! and those of the others are what they would be without it.
//!
//! A question is nine bytes: a letter and a number of nanoseconds. `L`: look. `J`: move elapsed time to there. `W`: step the wall clock.
//! The answer comes once the follower rests: five numbers.

use std::io;
use std::path::Path;
use std::time::Duration;

use chrono::{DateTime, TimeDelta};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

use super::{Activity, Clock as _, Counts, HandClock};

/// How long a process may take, in real time, until it rests; a process that works longer works for ever.
const REST_BOUND: Duration = Duration::from_secs(60);

/// What stands for "nobody sleeps".
const NEVER: i64 = i64::MAX;

/// Joins the leader at this socket. The clock shows what the leader's shows; it moves while somebody polls the future, which ends with
/// the leader.
///
/// # Errors
/// When nobody leads there.
pub async fn follow(socket: &Path) -> io::Result<(HandClock, impl Future<Output = io::Error> + Send + use<>)> {
    let mut stream = UnixStream::connect(socket).await?;
    let start = DateTime::from_timestamp_nanos(stream.read_i64().await?);
    let clock = HandClock::new(start);
    let following = clock.clone();
    Ok((clock, async move {
        loop {
            if let Err(error) = answer(&mut stream, &following).await {
                return error;
            }
        }
    }))
}

async fn answer(stream: &mut UnixStream, clock: &HandClock) -> io::Result<()> {
    let question = stream.read_u8().await?;
    let nanos = stream.read_i64().await?;
    match question {
        b'J' => clock.jump_to(Duration::from_nanos(nanos.unsigned_abs())),
        b'W' => clock.step_wall_clock(TimeDelta::nanoseconds(nanos)),
        _ => {}
    }
    clock.pause_of_work().await;
    let counts = clock.activity().counts();
    let next = clock.next_sleeper().and_then(|at| i64::try_from(at.as_nanos()).ok()).unwrap_or(NEVER);
    let numbers = [counts.busy, counts.wire, counts.abandoned, counts.changes.cast_signed(), next];
    stream.write_all(&numbers.map(i64::to_be_bytes).concat()).await
}

/// What a follower answered.
#[derive(Debug, Clone, Copy)]
struct Look {
    counts: Counts,
    /// When its next sleeper wakes, by its own elapsed time.
    next: Option<Duration>,
}

/// A process that follows.
#[derive(Debug)]
struct Follower {
    stream: UnixStream,
    /// What the leader's clock showed when it joined.
    joined: Duration,
}

impl Follower {
    async fn ask(&mut self, question: u8, nanos: i64) -> io::Result<Look> {
        let asked = tokio::time::timeout(REST_BOUND, self.exchange(question, nanos)).await;
        asked.unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, "the follower works and does not come to rest")))
    }

    async fn exchange(&mut self, question: u8, nanos: i64) -> io::Result<Look> {
        let mut bytes = [0; 9];
        bytes[0] = question;
        bytes[1..].copy_from_slice(&nanos.to_be_bytes());
        self.stream.write_all(&bytes).await?;
        let mut numbers = [0; 5];
        for number in &mut numbers {
            *number = self.stream.read_i64().await?;
        }
        let [busy, wire, abandoned, changes, next] = numbers;
        let counts = Counts { busy, wire, abandoned, changes: changes.cast_unsigned() };
        let next = (next != NEVER).then(|| Duration::from_nanos(next.unsigned_abs()));
        Ok(Look { counts, next })
    }
}

/// The clock that others follow, and its followers. For a runtime of one thread.
#[derive(Debug)]
pub struct Leader {
    clock: HandClock,
    followers: Vec<(u64, Follower)>,
    joined: u64,
}

/// A follower that could not be asked: it has ended, or does not come to rest.
#[derive(Debug, thiserror::Error)]
#[error("the process that follows the clock as number {number} does not answer")]
pub struct Lost {
    /// Its number.
    pub number: u64,
    #[source]
    source: io::Error,
}

impl Leader {
    /// Leads with this clock.
    pub fn new(clock: HandClock) -> Self {
        Self { clock, followers: Vec::new(), joined: 0 }
    }

    /// The clock.
    pub fn clock(&self) -> &HandClock {
        &self.clock
    }

    /// Admits a process that follows from now on; the number names it. Its wall clock is off by `skew`.
    ///
    /// # Errors
    /// When it cannot be told the time.
    pub async fn admit(&mut self, mut stream: UnixStream, skew: TimeDelta) -> io::Result<u64> {
        let now = self.clock.now() + skew;
        stream.write_i64(now.timestamp_nanos_opt().unwrap_or_default()).await?;
        self.joined += 1;
        self.followers.push((self.joined, Follower { stream, joined: self.clock.elapsed() }));
        Ok(self.joined)
    }

    /// Goes on without a follower that was killed or has ended.
    pub fn dismiss(&mut self, number: u64) {
        self.followers.retain(|(named, _)| *named != number);
    }

    /// Steps the wall clock of a follower; one that is gone has none.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn step_wall_clock(&mut self, number: u64, by: TimeDelta) -> Result<(), Lost> {
        let Some((number, follower)) = self.followers.iter_mut().find(|(named, _)| *named == number) else { return Ok(()) };
        let nanos = by.num_nanoseconds().unwrap_or_default();
        follower.ask(b'W', nanos).await.map(drop).map_err(|source| Lost { number: *number, source })
    }

    /// Waits until all rest; then says when the next sleeper of anybody wakes.
    ///
    /// # Errors
    /// When a follower does not answer.
    pub async fn settle(&mut self) -> Result<Option<Duration>, Lost> {
        let bound = tokio::time::Instant::now() + REST_BOUND;
        let mut before = None;
        loop {
            self.clock.pause_of_work().await;
            let (counts, next) = self.look().await?;
            let rests = counts.is_idle() && before == Some(counts);
            if rests || tokio::time::Instant::now() > bound {
                return Ok(next);
            }
            if !counts.is_idle() {
                // A socket's news comes with a turn of the runtime's driver.
                tokio::time::sleep(Duration::from_micros(50)).await;
            }
            before = Some(counts);
        }
    }

    async fn look(&mut self) -> Result<(Counts, Option<Duration>), Lost> {
        let (mut counts, mut next) = (Counts::default(), None);
        for (number, follower) in &mut self.followers {
            let look = follower.ask(b'L', 0).await.map_err(|source| Lost { number: *number, source })?;
            counts = counts.and(look.counts);
            next = earlier(next, look.next.map(|at| at + follower.joined));
        }
        Ok((counts.and(self.clock.activity().counts()), earlier(next, self.clock.next_sleeper())))
    }

    /// Lets time pass until the next sleeper of anybody has woken and all rest again, but not beyond `end`. True once `end` is reached.
    ///
    /// # Errors
    /// When a follower does not answer.
    pub async fn step(&mut self, end: Duration) -> Result<bool, Lost> {
        let next = self.settle().await?;
        let to = next.map_or(end, |next| next.min(end)).max(self.clock.elapsed());
        self.clock.jump_to(to);
        for (number, follower) in &mut self.followers {
            let nanos = i64::try_from((to - follower.joined).as_nanos()).unwrap_or(NEVER);
            follower.ask(b'J', nanos).await.map_err(|source| Lost { number: *number, source })?;
        }
        Ok(to >= end)
    }

    /// Who works here and what is on the wire, of this process.
    pub fn activity(&self) -> &std::sync::Arc<Activity> {
        self.clock.activity()
    }
}

fn earlier(one: Option<Duration>, other: Option<Duration>) -> Option<Duration> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    /// A leader and somebody who follows, both on this thread: what goes between them is a socket all the same.
    async fn two() -> (Leader, HandClock) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("clock");
        let listener = tokio::net::UnixListener::bind(&path).unwrap();
        let joining = tokio::spawn(async move { follow(&path).await.unwrap() });
        let mut leader = Leader::new(HandClock::new("2026-03-01T12:00:00Z".parse().unwrap()));
        leader.clock.jump_to(Duration::from_secs(7));
        leader.admit(listener.accept().await.unwrap().0, TimeDelta::zero()).await.unwrap();
        let (clock, following) = joining.await.unwrap();
        tokio::spawn(following);
        (leader, clock)
    }

    async fn until(leader: &mut Leader, seconds: u64) {
        while !leader.step(Duration::from_secs(seconds)).await.unwrap() {}
        leader.settle().await.unwrap();
    }

    #[tokio::test]
    async fn sleepers_of_both_processes_wake_in_the_order_of_their_instants() {
        let (mut leader, clock) = two().await;
        let woken = Arc::new(Mutex::new(Vec::new()));
        for (seconds, clock) in [(30, leader.clock.clone()), (20, clock.clone()), (10, leader.clock.clone())] {
            let woken = Arc::clone(&woken);
            tokio::spawn(async move {
                clock.sleep(Duration::from_secs(seconds)).await;
                woken.lock().unwrap().push((seconds, clock.now().timestamp()));
            });
        }
        leader.settle().await.unwrap();
        let now = clock.now().timestamp();
        until(&mut leader, 37).await;
        assert_eq!(*woken.lock().unwrap(), [(10, now + 10), (20, now + 20), (30, now + 30)]);
    }

    #[tokio::test]
    async fn what_one_process_has_sent_holds_the_clock_of_both_until_the_other_has_read_it() {
        let (mut leader, clock) = two().await;
        let sent = clock.activity().request();
        let asleep = leader.clock.sleep(Duration::from_secs(1));
        let moved = tokio::time::timeout(Duration::from_millis(200), leader.step(Duration::from_secs(60))).await;
        assert!(moved.is_err() && leader.clock.elapsed() == Duration::from_secs(7));
        drop((asleep, sent.answered()));
    }

    #[tokio::test]
    async fn a_follower_that_is_gone_is_named_and_can_be_dismissed() {
        let mut leader = Leader::new(HandClock::new("2026-03-01T12:00:00Z".parse().unwrap()));
        let (here, there) = UnixStream::pair().unwrap();
        let number = leader.admit(here, TimeDelta::zero()).await.unwrap();
        drop(there);
        assert_eq!(leader.settle().await.unwrap_err().number, number);
        leader.dismiss(number);
        assert_eq!(leader.settle().await.unwrap(), None);
    }
}

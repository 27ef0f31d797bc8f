//! A server and whoever operates it: starts it, stops it, kills it, makes another host master, and follows the orders of faults.
//!
//! The rule: a life of the server is one [`Server`]; between two lives the world is reborn ([`durability::reboot`]). The sockets stay
//! bound all the time, so that nobody else takes the ports; while the server is down, or a host is dead, connections are reset at
//! once, which to a client is the same as a refusal.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::task::AbortHandle;
use tokio_util::task::AbortOnDropHandle;

use super::context::Shared;
use super::durability::{self, Start};
use super::faults::{self, Faults, Now, Order, Plan, ServerClock};
use super::front::Mode;
use super::model::Release;
use super::options::Options;
use super::server::Server;
use super::value::Ref;
use super::world::World;
use crate::clock::SharedClock;

/// A host and the socket it is reached at.
#[derive(Debug)]
pub struct Seat {
    /// The host.
    pub host: Ref,
    /// Its socket.
    pub listener: std::net::TcpListener,
}

/// A simulated pool with its operator.
#[derive(Debug)]
pub struct Simulation {
    inner: Arc<Inner>,
    _tasks: [AbortOnDropHandle<()>; 2],
}

#[derive(Debug)]
struct Inner {
    options: Options,
    clock: SharedClock,
    seats: Vec<Seat>,
    state: tokio::sync::Mutex<State>,
    /// The present life, for those who only look.
    current: Mutex<Option<Arc<Shared>>>,
}

#[derive(Debug)]
enum State {
    Up {
        server: Box<Server>,
        _deaf: Vec<Deaf>,
        dead: Vec<Ref>,
    },
    Down {
        world: Box<World>,
        deaf: Vec<Deaf>,
        dead: Vec<Ref>,
        start: Start,
    },
    /// Only while one turns into the other.
    Between,
}

/// Resets every connection to a socket.
#[derive(Debug)]
struct Deaf(AbortHandle);

impl Drop for Deaf {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Simulation {
    /// Starts a pool. Every seat's host must exist; the master must have a seat.
    ///
    /// # Errors
    /// When a socket cannot be used.
    pub async fn start(options: Options, clock: SharedClock, world: World, seats: Vec<Seat>) -> io::Result<Self> {
        let faults = Arc::clone(&options.faults);
        let clock: SharedClock = Arc::new(ServerClock::new(clock, Arc::clone(&faults)));
        let state = tokio::sync::Mutex::new(State::Between);
        let inner = Arc::new(Inner { options, clock, seats, state, current: Mutex::new(None) });
        let server = inner.serve(world, &[]).await?;
        *inner.state.lock().await = State::Up { server: Box::new(server), _deaf: Vec::new(), dead: Vec::new() };
        let tasks = [inner.operate(&faults), inner.conduct(faults)].map(AbortOnDropHandle::new);
        Ok(Self { inner, _tasks: tasks })
    }

    /// The present life of the server; none while it is down.
    pub fn shared(&self) -> Option<Arc<Shared>> {
        self.inner.current()
    }

    /// What goes wrong on purpose.
    pub fn faults(&self) -> &Arc<Faults> {
        &self.inner.options.faults
    }

    /// Puts a fault plan in force; its time begins now.
    pub fn set_faults(&self, plan: Plan) {
        self.faults().load(plan, Now::of(&*self.inner.clock));
    }

    /// The clock of the server, which faults can make wrong.
    pub fn clock(&self) -> &SharedClock {
        &self.inner.clock
    }

    /// Where a host is reached.
    pub fn address_of(&self, host: &str) -> Option<SocketAddr> {
        let seat = self.inner.seats.iter().find(|seat| *seat.host == *host)?;
        seat.listener.local_addr().ok()
    }

    /// The hosts and where they are reached, as they were given.
    pub fn addresses(&self) -> Vec<(Ref, SocketAddr)> {
        let seats = self.inner.seats.iter();
        seats.filter_map(|seat| Some((seat.host.clone(), seat.listener.local_addr().ok()?))).collect()
    }

    /// Kills the server: connections are cut, work is dropped, and what was not written out is lost. Does nothing when it is down.
    pub async fn kill(&self) {
        self.inner.down(Start::Killed).await;
    }

    /// Stops the server in order, with everything written out.
    pub async fn stop(&self) {
        self.inner.down(Start::Clean).await;
    }

    /// Starts a server that is down.
    ///
    /// # Errors
    /// When a socket cannot be used.
    pub async fn up(&self) -> io::Result<()> {
        self.inner.up().await
    }

    /// Stops the server in order and starts it again at once.
    ///
    /// # Errors
    /// When a socket cannot be used.
    pub async fn restart(&self) -> io::Result<()> {
        self.stop().await;
        self.up().await
    }

    /// Makes another host master: as planned, or in an emergency with the database that the host received last, the old master
    /// being dead. `host` is a name, uuid or reference; none: the first host that is not master. Nothing happens when there is no
    /// such host.
    ///
    /// # Errors
    /// When a socket cannot be used.
    pub async fn promote(&self, host: Option<&str>, emergency: bool) -> io::Result<()> {
        self.inner.promote(host, emergency).await
    }

    /// Does what an order says, now.
    ///
    /// # Errors
    /// When a socket cannot be used.
    pub async fn carry_out(&self, order: &Order) -> io::Result<()> {
        self.inner.carry_out(order).await
    }

    /// Stops everything and gives the world back.
    pub async fn shutdown(self) -> World {
        self.inner.down(Start::Clean).await;
        let mut state = self.inner.state.lock().await;
        match std::mem::replace(&mut *state, State::Between) {
            State::Down { world, .. } => *world,
            State::Up { .. } | State::Between => World::new(Release::NEWEST, 0),
        }
    }
}

impl Inner {
    fn current(&self) -> Option<Arc<Shared>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_current(&self, shared: Option<Arc<Shared>>) {
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = shared;
    }

    /// Begins a life: the master's seat first, then the others that are not dead.
    async fn serve(&self, world: World, dead: &[Ref]) -> io::Result<Server> {
        let master = world.master.clone();
        let seat = self.seats.iter().find(|seat| seat.host == master);
        let seat = seat.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "the master has no address to listen on"))?;
        let server = Server::start(self.options.clone(), Arc::clone(&self.clock), world, socket(seat)?).await?;
        for seat in self.seats.iter().filter(|seat| seat.host != master && !dead.contains(&seat.host)) {
            server.listen(&seat.host, socket(seat)?)?;
        }
        for host in dead {
            if let Some(front) = server.shared().front(host) {
                front.set_mode(Mode::Down);
            }
        }
        self.set_current(Some(Arc::clone(server.shared())));
        Ok(server)
    }

    async fn down(&self, start: Start) {
        let mut state = self.state.lock().await;
        let _busy = self.clock.activity().hold();
        if !matches!(*state, State::Up { .. }) {
            return;
        }
        let State::Up { server, dead, .. } = std::mem::replace(&mut *state, State::Between) else { return };
        self.set_current(None);
        let shared = Arc::clone(server.shared());
        server.shutdown().await;
        let world = shared.step(|world| std::mem::replace(world, World::new(world.release, 0)));
        let deaf = self.seats.iter().filter_map(|seat| deafen(seat).ok()).collect();
        *state = State::Down { world: Box::new(world), deaf, dead, start };
    }

    async fn up(&self) -> io::Result<()> {
        let mut state = self.state.lock().await;
        let _busy = self.clock.activity().hold();
        if !matches!(*state, State::Down { .. }) {
            return Ok(());
        }
        let State::Down { mut world, deaf, dead, start } = std::mem::replace(&mut *state, State::Between) else { return Ok(()) };
        drop(deaf);
        durability::reboot(&mut world, &start, self.clock.now(), self.clock.elapsed());
        let server = self.serve(*world, &dead).await?;
        let deaf = self.seats.iter().filter(|seat| dead.contains(&seat.host)).filter_map(|seat| deafen(seat).ok()).collect();
        *state = State::Up { server: Box::new(server), _deaf: deaf, dead };
        Ok(())
    }

    async fn promote(&self, host: Option<&str>, emergency: bool) -> io::Result<()> {
        let Some(chosen) = self.chosen(host).await else { return Ok(()) };
        let start = if emergency { Start::Emergency(chosen.clone()) } else { Start::Planned(chosen.clone()) };
        self.down(start.clone()).await;
        if let State::Down { dead, world, start: planned, .. } = &mut *self.state.lock().await {
            // A server that was down already is taken over as it is.
            *planned = start;
            dead.retain(|host| *host != chosen);
            dead.extend(emergency.then(|| world.master.clone()).filter(|old| *old != chosen));
        }
        self.up().await
    }

    /// The host that is meant, if it can become master.
    async fn chosen(&self, host: Option<&str>) -> Option<Ref> {
        let choose = |world: &World| {
            let text = |reference: &Ref, field| world.database.text("host", reference, field);
            let meant = |reference: &Ref| match host {
                Some(host) => {
                    **reference == *host || *text(reference, "uuid") == *host || *text(reference, "name_label") == *host
                }
                None => *reference != world.master,
            };
            self.seats.iter().map(|seat| &seat.host).find(|reference| meant(reference)).cloned()
        };
        match &*self.state.lock().await {
            State::Up { server, .. } => server.shared().step(|world| choose(world)),
            State::Down { world, .. } => choose(world),
            State::Between => None,
        }
    }

    async fn carry_out(&self, order: &Order) -> io::Result<()> {
        match order {
            Order::Stop { down } => self.away(Start::Clean, *down).await,
            Order::Kill { down } => self.away(Start::Killed, *down).await,
            Order::Promote { host, emergency } => self.promote(host.as_deref(), *emergency).await,
        }
    }

    async fn away(&self, start: Start, time: Option<Duration>) -> io::Result<()> {
        self.down(start).await;
        match time {
            Some(time) => {
                self.clock.sleep(time).await;
                self.up().await
            }
            None => Ok(()),
        }
    }

    /// Follows the orders of faults.
    fn operate(self: &Arc<Self>, faults: &Arc<Faults>) -> tokio::task::JoinHandle<()> {
        let (this, orders) = (Arc::downgrade(self), faults.operator());
        tokio::spawn(async move {
            let Some(mut orders) = orders else { return };
            while let Some((order, delay)) = orders.recv().await {
                tokio::spawn(follow(Weak::clone(&this), order, delay));
            }
        })
    }

    /// Lets the moments of the fault plan come.
    fn conduct(self: &Arc<Self>, faults: Arc<Faults>) -> tokio::task::JoinHandle<()> {
        let this = Arc::downgrade(self);
        let current = move || this.upgrade().and_then(|this| this.current());
        tokio::spawn(faults::conduct(Arc::clone(&self.clock), faults, current))
    }
}

async fn follow(this: Weak<Inner>, order: Order, delay: Duration) {
    let Some(clock) = this.upgrade().map(|this| Arc::clone(&this.clock)) else { return };
    if !delay.is_zero() {
        clock.sleep(delay).await;
    }
    if let Some(this) = this.upgrade()
        && let Err(error) = this.carry_out(&order).await
    {
        tracing::error!(%error, %order, "the simulated server could not follow an order");
    }
}

/// The seat's socket once more; both names of it accept the same connections.
fn socket(seat: &Seat) -> io::Result<TcpListener> {
    let listener = seat.listener.try_clone()?;
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener)
}

fn deafen(seat: &Seat) -> io::Result<Deaf> {
    let listener = socket(seat)?;
    let deaf = tokio::spawn(async move {
        loop {
            match listener.accept().await {
                // Closing at once with nothing to linger for resets the connection.
                Ok((stream, _)) => drop(stream.set_zero_linger()),
                Err(_) => tokio::task::yield_now().await,
            }
        }
    });
    Ok(Deaf(deaf.abort_handle()))
}

//! A simulated pool and a real client on one hand clock.

use std::sync::Arc;

use xensnap::clock::{HandClock, SharedClock};
use xensnap::simulator::faults::{Action, Match, Plan, Rule, Trigger};
use xensnap::simulator::options::User;
use xensnap::simulator::value::{Ref, Value};
use xensnap::simulator::world::World;
use xensnap::xenapi::{Pool, Settings};

use crate::simulated;

/// A pool on the wire, and the client.
pub struct Lab {
    pub clock: HandClock,
    pub server: simulated::Pool,
    pub pool: Pool,
}

impl Lab {
    /// A small pool whose storage takes no time.
    pub async fn new() -> Self {
        Self::of(simulated::world(&simulated::recipe("26.17")), "root").await
    }

    /// A pool of this world; the client is `root`, or `vm-admin`, who has that role only.
    pub async fn of(world: World, user: &str) -> Self {
        let clock = HandClock::new("2026-11-22T12:00:00Z".parse().unwrap());
        let mut options = simulated::at_once();
        let limited = User { name: "vm-admin".into(), password: "xensnap".into(), role: Some("vm-admin".into()) };
        options.users.push(limited);
        let server = simulated::Pool::start_on(Arc::new(clock.clone()), world, options).await;
        let address = format!("http://{}", server.master()).parse().unwrap();
        let shared: SharedClock = Arc::new(clock.clone());
        let pool = Pool::open(Settings::new("lab", address, user, "xensnap".into()), shared).unwrap();
        clock.run(pool.connected()).await.unwrap();
        Self { clock, server, pool }
    }

    pub async fn kill_and_start(&mut self) {
        self.server.simulation.kill().await;
        self.server.simulation.up().await.unwrap();
        self.server.login().await;
    }

    /// How often a message was called since the server was started.
    pub fn calls(&self, method: &str) -> u64 {
        self.server.shared().calls().get(method).copied().unwrap_or(0)
    }

    pub fn set(&self, class: &str, reference: &Ref, field: &str, value: Value) {
        self.server.shared().step(|world| world.database.set(class, reference, field, value)).unwrap();
    }

    pub fn pool_object(&self) -> Ref {
        self.server.find("pool", |_, _| true)
    }

    /// Lets an action strike calls of a message.
    pub fn strike(&self, method: &str, trigger: Trigger, action: Action) {
        let matching = Match { method: Some(method.to_owned()), ..Match::default() };
        let rule = Rule { name: method.to_owned(), matching, trigger, action };
        self.server.simulation.set_faults(Plan { seed: 1, rules: vec![rule] });
    }

    pub async fn end(self) {
        self.clock.run(self.pool.logout()).await;
        self.server.simulation.shutdown().await;
    }
}

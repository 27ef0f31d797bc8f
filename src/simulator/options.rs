//! What can be set about a server. The defaults are the real server's.

use std::sync::Arc;
use std::time::Duration;

use super::faults::Faults;
use super::ledger::Witness;
use super::value::Text;

/// Settings of one server.
#[derive(Debug, Clone)]
pub struct Options {
    /// Who may log in.
    pub users: Vec<User>,
    /// TLS instead of plain HTTP.
    pub tls: Option<super::http::tls::Identity>,
    /// Limits on connections and requests.
    pub limits: Limits,
    /// How long sessions live and how many there may be.
    pub sessions: SessionLimits,
    /// How often the garbage collector looks.
    pub collect_every: Duration,
    /// Simulated time a login takes that succeeds (measured: 44 ms).
    pub login_takes: Duration,
    /// Simulated time a login takes that fails (measured: 1.5 to 2.3 s); at least 5 s up to 8.2.
    pub refusal_takes: Duration,
    /// What goes wrong on purpose. Shared by all lives of a server.
    pub faults: Arc<Faults>,
    /// Who sees everything that happens to objects, through all lives of a server.
    pub witness: Option<Arc<dyn Witness>>,
}

/// A user.
#[derive(Debug, Clone)]
pub struct User {
    /// The name.
    pub name: Text,
    /// The password.
    pub password: Text,
    /// The role; none: a local superuser.
    pub role: Option<Text>,
}

/// Limits on connections and requests.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Simultaneous connections; more wait.
    pub connections: usize,
    /// Bytes of a request's head. The real limit is 1024 less the shortest request.
    pub head: usize,
    /// Bytes of a call's body.
    pub body: u64,
    /// Real time until the next byte of a connection's first head.
    pub head_read: Duration,
    /// Real time until a connection's first head is complete.
    pub head_total: Duration,
}

/// How long sessions live and how many there may be.
#[derive(Debug, Clone)]
pub struct SessionLimits {
    /// Without a call for this long a session is destroyed.
    pub idle: Duration,
    /// Sessions of superusers that name the same originator.
    pub per_originator: usize,
    /// Sessions of one external user.
    pub per_user: usize,
    /// Sessions with neither.
    pub anonymous: usize,
    /// `last_active` is written again only when it is older than this.
    pub touch_after: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            users: vec![User { name: "root".into(), password: "xensnap".into(), role: None }],
            tls: None,
            limits: Limits::default(),
            sessions: SessionLimits::default(),
            collect_every: Duration::from_secs(30),
            login_takes: Duration::ZERO,
            refusal_takes: Duration::from_millis(1800),
            faults: Arc::default(),
            witness: None,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 800,
            head: 1006,
            body: 300 * 1024,
            head_read: Duration::from_secs(10),
            head_total: Duration::from_secs(60),
        }
    }
}

impl Default for SessionLimits {
    fn default() -> Self {
        Self {
            idle: Duration::from_secs(86_400),
            per_originator: 500,
            per_user: 500,
            anonymous: 400,
            touch_after: Duration::from_secs(600),
        }
    }
}

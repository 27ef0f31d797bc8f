//! The ways out, as the plan has them.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use crate::domain::alarm::{Content, Rules, letter};
use crate::domain::event::Severity;
use crate::domain::schedule::Schedule;
use crate::outward::{MailRoute, OutwardError, WebRoute};

/// Begins the name of the channel of a pool's messages; what follows is the pool's name.
const POOL: &str = "pool:";

/// Who is told, and how.
#[derive(Debug, Clone)]
pub struct Alarms {
    /// How often what is wrong is looked at.
    pub look_every: Duration,
    /// What is told at once, and when again.
    pub rules: Rules,
    /// At most one message of what cannot wait in this time.
    pub interval: TimeDelta,
    /// How long a message is tried.
    pub give_up: TimeDelta,
    /// When everything else is told; never if nothing is said.
    pub digest: Option<Schedule>,
    /// Mail servers and addresses on the web.
    pub channels: Vec<Channel>,
    /// What matters at least so much becomes a message of the pool that it is about; nothing does if nothing is said.
    pub pool_messages: Option<Severity>,
    /// Who is told that all is well.
    pub dead_man: Option<DeadMan>,
}

/// A way out.
#[derive(Debug, Clone)]
pub struct Channel {
    /// Its name, unlike that of any other.
    pub name: String,
    /// Where it leads.
    pub route: Route,
}

/// Where a channel leads.
#[derive(Debug, Clone)]
pub enum Route {
    /// Through a mail server.
    Mail(Box<MailRoute>),
    /// To an address on the web.
    Web(Box<WebRoute>),
}

/// A monitor outside.
#[derive(Debug, Clone)]
pub struct DeadMan {
    /// Where it is told.
    pub route: WebRoute,
    /// How often.
    pub interval: Duration,
}

impl Alarms {
    /// The channel of this name.
    pub fn channel(&self, name: &str) -> Option<&Channel> {
        self.channels.iter().find(|channel| channel.name == name)
    }

    /// The zone in which people read times.
    pub(super) fn zone(&self) -> &str {
        self.digest.as_ref().map_or("UTC", |digest| digest.zone().name())
    }
}

/// The channel of a pool's messages.
pub(super) fn channel_of_pool(pool: &str) -> String {
    format!("{POOL}{pool}")
}

/// The pool whose messages a channel is.
pub(super) fn pool_of_channel(channel: &str) -> Option<&str> {
    channel.strip_prefix(POOL)
}

impl Route {
    /// Delivers a message.
    ///
    /// # Errors
    /// When it was not taken, or nobody knows.
    pub(super) async fn deliver(&self, content: &Content, at: DateTime<Utc>) -> Result<(), OutwardError> {
        let message: Uuid = content.message;
        match self {
            Route::Mail(mail) => mail.send(&letter(content), message, at).await,
            Route::Web(web) => {
                let body = serde_json::to_vec(content).map_err(|error| OutwardError::Unwritable(error.to_string()))?;
                web.post(body, message, at).await
            }
        }
    }
}

impl std::fmt::Display for Route {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Route::Mail(mail) => mail.fmt(f),
            Route::Web(web) => web.fmt(f),
        }
    }
}

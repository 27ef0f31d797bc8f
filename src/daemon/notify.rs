//! The service manager that started us: it is told when the service is ready, what it does, that it is alive, and when it ends. Where
//! nobody listens nothing is told, and nothing depends on it.

use std::time::Duration;

use sd_notify::NotifyState;

/// systemd, or whoever reads `NOTIFY_SOCKET`.
#[derive(Debug, Clone, Default)]
pub struct Manager {
    listens: bool,
    watchdog: Option<Duration>,
}

impl Manager {
    /// Nobody.
    pub fn none() -> Self {
        Self::default()
    }

    /// Whoever the environment names.
    pub fn of_environment() -> Self {
        let listens = std::env::var_os("NOTIFY_SOCKET").is_some();
        Self { listens, watchdog: sd_notify::watchdog_enabled().filter(|_| listens) }
    }

    /// Whether anybody listens.
    pub fn listens(&self) -> bool {
        self.listens
    }

    /// How often it has to hear that we are alive: twice as often as it looks. Nothing if it does not look.
    pub fn beat(&self) -> Option<Duration> {
        self.watchdog.map(|watchdog| watchdog / 2)
    }

    /// The service works; also after a reload.
    pub fn ready(&self) {
        self.tell(&[NotifyState::Ready]);
    }

    /// The files are being read anew. Followed by [`Self::ready`], whatever comes of it.
    pub fn reloading(&self) {
        match NotifyState::monotonic_usec_now() {
            Ok(now) => self.tell(&[NotifyState::Reloading, now]),
            Err(error) => tracing::debug!(%error, "the time since the machine's start cannot be read"),
        }
    }

    /// What the service does, in one line.
    pub fn status(&self, text: &str) {
        self.tell(&[NotifyState::Status(text)]);
    }

    /// The part that decides what is due has come round.
    pub fn alive(&self) {
        if self.watchdog.is_some() {
            self.tell(&[NotifyState::Watchdog]);
        }
    }

    /// The service ends; `grace` is what it may take until then.
    pub fn stopping(&self, grace: Duration) {
        let extended = u32::try_from((grace + MARGIN).as_micros()).unwrap_or(u32::MAX);
        self.tell(&[NotifyState::Stopping, NotifyState::ExtendTimeoutUsec(extended)]);
    }

    fn tell(&self, states: &[NotifyState<'_>]) {
        if self.listens
            && let Err(error) = sd_notify::notify(states)
        {
            tracing::debug!(%error, "the service manager does not take notice");
        }
    }
}

/// For what follows the runs at the end: logouts, and closing the history.
const MARGIN: Duration = Duration::from_secs(30);

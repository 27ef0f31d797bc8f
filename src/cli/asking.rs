//! Verbs that ask the service for something. Where a service runs it is asked at its socket; where none runs, whoever may write the
//! history does the work itself, as a service without a timekeeper that ends when the work is done.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Args as ClapArgs;
use serde_json::Value;
use tokio::sync::mpsc;

use super::check::{DEFAULT, WRONG_CONFIGURATION};
use super::control::{Nobody, Service};
use super::out::say;
use super::{Exit, planned};
use crate::clock::{Clock as _, SharedClock, SystemClock};
use crate::config::{Config, Diagnostics};
use crate::daemon::{Ask, Daemon, DaemonError, Handle, Said};

/// How long a pool may take to be reached where no service runs.
const REACHING: Duration = Duration::from_secs(60);

/// The same, where the history answers for those that are not.
const LOOKING: Duration = Duration::from_secs(15);

/// Which service is asked.
#[derive(Debug, ClapArgs)]
pub(super) struct Asking {
    /// The main file, which says where the service's socket and the history are
    #[arg(long, value_name = "FILE", default_value = DEFAULT)]
    config: PathBuf,
    /// The service's socket, whatever the main file says
    #[arg(long, value_name = "SOCKET")]
    socket: Option<PathBuf>,
}

/// A way to ask.
pub(super) enum Asker {
    /// A service that runs.
    Service(Box<Service>),
    /// None runs, so this is one.
    Hosted(Box<Hosted>),
}

/// A service for as long as a verb takes.
pub(super) struct Hosted {
    handle: Handle,
    task: tokio::task::JoinHandle<Result<(), DaemonError>>,
    answer: Option<mpsc::UnboundedReceiver<Said>>,
}

/// Who can be asked.
pub(super) enum Found {
    /// A service that runs.
    Service(Asker),
    /// None runs, and this is the configuration.
    Nobody {
        /// Where it would be.
        socket: PathBuf,
        /// Or why it cannot be used.
        config: anyhow::Result<Box<Config>>,
    },
}

impl Asking {
    /// Looks for the service.
    ///
    /// # Errors
    /// When a service runs that does not answer us.
    pub(super) async fn find(&self) -> anyhow::Result<Found> {
        let (socket, config) = self.look();
        match Service::at(&socket).await? {
            Ok(service) => Ok(Found::Service(Asker::Service(Box::new(service)))),
            Err(Nobody::Denied) => bail!("{}", denied(&socket)),
            Err(Nobody::Absent) => {
                let config = config.map(Box::new).map_err(|problems| self.unusable(&problems));
                Ok(Found::Nobody { socket, config })
            }
        }
    }

    /// Finds the service, or becomes one for a while.
    ///
    /// # Errors
    /// When a service runs that does not answer us, the configuration or the history cannot be used, or no pool is reached.
    pub(super) async fn asker(&self) -> anyhow::Result<Asker> {
        match self.find().await? {
            Found::Service(asker) => Ok(asker),
            Found::Nobody { socket, config } => Ok(Asker::Hosted(Box::new(host(&*config?, &socket, Reached::One).await?))),
        }
    }

    /// The same, for what can be answered from the history while no pool is reached.
    ///
    /// # Errors
    /// When a service runs that does not answer us, or the configuration or the history cannot be used.
    pub(super) async fn asker_even_alone(&self) -> anyhow::Result<Asker> {
        match self.find().await? {
            Found::Service(asker) => Ok(asker),
            Found::Nobody { socket, config } => Ok(Asker::Hosted(Box::new(host(&*config?, &socket, Reached::None).await?))),
        }
    }

    /// The service, if one runs.
    ///
    /// # Errors
    /// When none runs, or one that does not answer us.
    pub(super) async fn service(&self) -> anyhow::Result<Asker> {
        match self.find().await? {
            Found::Service(asker) => Ok(asker),
            Found::Nobody { socket, .. } => {
                bail!("no service answers at {}; is it started (`systemctl status xensnap`)?", socket.display())
            }
        }
    }

    /// The socket, also where the files cannot be used now: a service that runs goes on with those of before.
    fn look(&self) -> (PathBuf, Result<Config, Diagnostics>) {
        let now = SystemClock::new().now();
        let config = Config::load(&self.config, now).map(|loaded| loaded.config);
        let said = || config.as_ref().map_or_else(|_| Config::socket(&self.config, now), |config| config.daemon.socket.clone());
        (self.socket.clone().unwrap_or_else(said), config)
    }

    fn unusable(&self, problems: &Diagnostics) -> anyhow::Error {
        let text = format!("no service answers, and {} cannot be used\n{}", self.config.display(), problems.render(false));
        Exit { code: WRONG_CONFIGURATION, text }.into()
    }
}

fn denied(path: &Path) -> String {
    format!(
        "you may not talk to the service at {}: root and its own user may; others may ask it if they are in the group that `socket_group` in [daemon] names",
        path.display()
    )
}

/// How many pools are needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reached {
    /// At least one.
    One,
    /// None: the history is enough, and nobody waits long for the pools.
    None,
}

/// Does the work itself, if nobody else has the history.
async fn host(config: &Config, socket: &Path, needed: Reached) -> anyhow::Result<Hosted> {
    let clock: SharedClock = Arc::new(SystemClock::new());
    let opened = planned::history(&config.store.path, clock.now()).await?;
    if !opened.alone {
        bail!(
            "a service uses the history {} but does not answer at {}; give --socket or the --config that it was started with",
            config.store.path.display(),
            socket.display()
        );
    }
    let daemon = Daemon::new(opened, planned::plan(config)?, clock).await?.without_timekeeping();
    let handle = daemon.handle();
    let task = tokio::spawn(daemon.run(Duration::from_secs(60)));
    reached(&handle, config.pools.len(), needed).await?;
    Ok(Hosted { handle, task, answer: None })
}

/// Waits until every pool is reached, or until it is known which are not.
async fn reached(handle: &Handle, pools: usize, needed: Reached) -> anyhow::Result<()> {
    let mut sites = handle.sites();
    let all = sites.wait_for(|sites| sites.len() >= pools);
    let patience = if needed == Reached::None { LOOKING } else { REACHING };
    match tokio::time::timeout(patience, all).await {
        Ok(_) => Ok(()),
        // What is told says which pools were not reached.
        Err(_) if needed == Reached::None => Ok(()),
        Err(_) if handle.sites().borrow().is_empty() => {
            bail!(
                "no pool was reached within {} s; `xensnap doctor --config FILE` says why, and whether another daemon works with it stands in \
                 the journal (docs/LEASE.md)",
                REACHING.as_secs()
            )
        }
        Err(_) => {
            eprintln!("xensnap: not every pool was reached within {} s; going on with those that were", REACHING.as_secs());
            Ok(())
        }
    }
}

impl Asker {
    /// Asks.
    ///
    /// # Errors
    /// When the service is gone.
    pub(super) async fn ask(&mut self, ask: Ask) -> anyhow::Result<()> {
        match self {
            Asker::Service(service) => service.ask(ask, person()).await,
            Asker::Hosted(hosted) => {
                let by = person().unwrap_or_else(|| "somebody".to_owned());
                // Nobody goes on with it when this verb ends.
                let ask = match ask {
                    Ask::Run { policy, vms, .. } => Ask::Run { policy, vms, wait: true },
                    other => other,
                };
                hosted.answer = Some(hosted.handle.ask(ask, by));
                Ok(())
            }
        }
    }

    /// The next piece of the answer.
    ///
    /// # Errors
    /// When the service is gone.
    pub(super) async fn next(&mut self) -> anyhow::Result<Said> {
        match self {
            Asker::Service(service) => service.next().await,
            Asker::Hosted(hosted) => {
                let answer = hosted.answer.as_mut().context("nothing was asked")?;
                answer.recv().await.context("the work ended without a result; this is a defect of xensnap, please report it")
            }
        }
    }

    /// Ends what was hosted.
    ///
    /// # Errors
    /// When it did not end well.
    pub(super) async fn done(self) -> anyhow::Result<()> {
        if let Asker::Hosted(hosted) = self {
            let Hosted { handle, task, .. } = *hosted;
            handle.stop();
            task.await??;
        }
        Ok(())
    }
}

/// Asks, prints the answer as it comes, and makes an exit code of its end.
///
/// # Errors
/// When nobody can be asked, or the request is refused.
pub(super) async fn carry_out(asking: &Asking, ask: Ask) -> anyhow::Result<ExitCode> {
    carry_out_asked(asking.asker().await?, ask).await
}

/// The same, but only of a service that runs.
///
/// # Errors
/// When there is none, or the request is refused.
pub(super) async fn carry_out_at_the_service(asking: &Asking, ask: Ask) -> anyhow::Result<ExitCode> {
    carry_out_asked(asking.service().await?, ask).await
}

/// Asks somebody who was found, and prints the answer as it comes.
///
/// # Errors
/// When the request is refused.
pub(super) async fn carry_out_asked(mut asker: Asker, ask: Ask) -> anyhow::Result<ExitCode> {
    asker.ask(ask).await?;
    let end = listen(&mut asker).await;
    asker.done().await?;
    Ok(if end? { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Asks for what programs read.
///
/// # Errors
/// When the request is refused.
pub(super) async fn data(asker: &mut Asker, ask: Ask) -> anyhow::Result<Value> {
    asker.ask(ask).await?;
    let mut found = Value::Null;
    loop {
        match asker.next().await? {
            Said::Data(data) => found = data,
            Said::End { .. } => return Ok(found),
            Said::Error { code, text } => return Err(refused(&code, text)),
            Said::Say(_) | Said::Progress { .. } | Said::Alive {} => {}
        }
    }
}

/// Prints an answer to its end. True if all could be done.
async fn listen(asker: &mut Asker) -> anyhow::Result<bool> {
    loop {
        match asker.next().await? {
            Said::Say(line) => say!("{line}"),
            Said::Progress { done, of } => tracing::info!("{done} of {of} jobs have ended"),
            Said::Data(_) | Said::Alive {} => {}
            Said::End { failed, .. } => return Ok(!failed),
            Said::Error { code, text } => return Err(refused(&code, text)),
        }
    }
}

/// A refusal as an error, with the exit code that its kind has.
fn refused(code: &str, text: String) -> anyhow::Error {
    let code = match code {
        "not-found" | "usage" | "bad-request" | "unknown-verb" => 2,
        "configuration" => WRONG_CONFIGURATION,
        _ => 1,
    };
    Exit { code, text }.into()
}

/// Who asks: behind `sudo` the person, not root.
fn person() -> Option<String> {
    std::env::var("SUDO_USER").or_else(|_| std::env::var("USER")).ok().filter(|name| !name.is_empty())
}

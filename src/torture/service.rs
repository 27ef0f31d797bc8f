//! The service under test: this binary as `xensnap daemon`, a process of its own, whose clock follows ours. It is killed by SIGKILL.

use std::fs::OpenOptions;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use chrono::TimeDelta;
use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process, prlimit};
use tokio::net::UnixListener;

use super::stage::{CLOCK, JOURNAL, MAIN};
use crate::clock::Leader;

/// How long the machine may take to start a process.
const STARTS: Duration = Duration::from_secs(60);

/// A service, alive or not.
#[derive(Debug)]
pub(super) struct Service {
    program: PathBuf,
    folder: PathBuf,
    listener: UnixListener,
    alive: Option<Alive>,
    /// Whether it is to run: it is started again after a crash.
    pub(super) wanted: bool,
    /// Whether it was told to stop.
    leaving: bool,
    /// By how much the clock of its machine is wrong.
    pub(super) skew: TimeDelta,
    /// How many lives it had.
    pub(super) lives: u64,
}

/// How a service ended.
#[derive(Debug, Clone, Copy)]
pub(super) struct End {
    pub(super) status: ExitStatus,
    /// Whether it had been told to.
    pub(super) told: bool,
}

#[derive(Debug)]
struct Alive {
    child: Child,
    /// Its number among the clock's followers.
    number: u64,
}

impl Drop for Service {
    fn drop(&mut self) {
        if let Some(mut alive) = self.alive.take() {
            let _ = alive.child.kill();
            let _ = alive.child.wait();
        }
    }
}

impl Service {
    /// One that has not been started.
    ///
    /// # Errors
    /// When the clock's socket cannot be made in the folder.
    pub(super) fn new(program: &Path, folder: &Path) -> io::Result<Self> {
        let listener = UnixListener::bind(folder.join(CLOCK))?;
        let (program, folder) = (program.to_owned(), folder.to_owned());
        Ok(Self { program, folder, listener, alive: None, wanted: false, leaving: false, skew: TimeDelta::zero(), lives: 0 })
    }

    /// Begins a life.
    ///
    /// # Errors
    /// When the process cannot be started or ends before it has the time.
    pub(super) async fn start(&mut self, leader: &mut Leader) -> io::Result<()> {
        let mut child = self.spawn()?;
        let joined = tokio::select! {
            joined = tokio::time::timeout(STARTS, self.listener.accept()) => joined,
            () = ended(&mut child) => return Err(io::Error::other("the service ended before it had the time; see its journal")),
        };
        let (stream, _) = joined.map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "the service does not start"))??;
        let number = leader.admit(stream, self.skew).await?;
        self.alive = Some(Alive { child, number });
        self.lives += 1;
        Ok(())
    }

    /// Through a shell that lets it ignore the signal of a file that grows too long: the write then fails instead.
    fn spawn(&self) -> io::Result<Child> {
        let journal = OpenOptions::new().create(true).append(true).open(self.folder.join(JOURNAL))?;
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "trap '' XFSZ; exec \"$@\"", "sh"]).arg(&self.program).args(["daemon", "--log-format", "text"]);
        command.arg("--config").arg(self.folder.join(MAIN)).arg("--clock").arg(self.folder.join(CLOCK));
        command.env_remove("NOTIFY_SOCKET").env_remove("XENSNAP_LOG");
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
        let mut said = child.stderr.take();
        // Its own files may not grow at times; what it says is written down by us.
        std::thread::spawn(move || said.as_mut().map(|said| io::copy(said, &mut &journal)));
        Ok(child)
    }

    pub(super) fn is_alive(&self) -> bool {
        self.alive.is_some()
    }

    /// Its number among the clock's followers.
    pub(super) fn number(&self) -> Option<u64> {
        self.alive.as_ref().map(|alive| alive.number)
    }

    /// SIGKILL. False: there was nobody to kill.
    ///
    /// # Errors
    /// When it cannot be waited for.
    pub(super) fn kill(&mut self, leader: &mut Leader) -> io::Result<bool> {
        let Some(mut alive) = self.alive.take() else { return Ok(false) };
        self.leaving = false;
        alive.child.kill()?;
        alive.child.wait()?;
        leader.dismiss(alive.number);
        Ok(true)
    }

    /// How it ended without having been killed, if it did.
    ///
    /// # Errors
    /// When it cannot be looked at.
    pub(super) fn ended(&mut self, leader: &mut Leader) -> io::Result<Option<End>> {
        let Some(alive) = &mut self.alive else { return Ok(None) };
        let Some(status) = alive.child.try_wait()? else { return Ok(None) };
        leader.dismiss(alive.number);
        self.alive = None;
        Ok(Some(End { status, told: std::mem::take(&mut self.leaving) }))
    }

    /// SIGTERM, once.
    pub(super) fn terminate(&mut self) {
        if let Some(pid) = self.pid().filter(|_| !self.leaving) {
            let _ = kill_process(pid, Signal::TERM);
            self.leaving = true;
        }
    }

    /// Whether its files can grow. Writes beyond fail, as on a disk that is full.
    pub(super) fn may_write(&self, may: bool) {
        if let Some(pid) = self.pid() {
            let _ = prlimit(Some(pid), Resource::Fsize, Rlimit { current: if may { None } else { Some(0) }, maximum: None });
        }
    }

    /// The number of its process, which its claims to the lease name.
    pub(super) fn process(&self) -> Option<u32> {
        self.alive.as_ref().map(|alive| alive.child.id())
    }

    fn pid(&self) -> Option<Pid> {
        Pid::from_raw(i32::try_from(self.process()?).ok()?)
    }
}

async fn ended(child: &mut Child) {
    while matches!(child.try_wait(), Ok(None)) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

//! One program from its start to its end. The rule: whatever it does, this comes to an end in a bounded time, and nothing of it that
//! was told to end is left running.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;
use tokio::process::{Child, Command};

use super::output::Tail;
use crate::clock::SharedClock;
use crate::domain::policy::Hook;
use crate::domain::span::Exact;

/// So much time has a program between being asked to end and being ended.
pub(super) const GRACE: Duration = Duration::from_secs(10);
/// How often is looked whether a group that was asked to end has done so.
const LOOK: Duration = Duration::from_millis(50);
/// So long is read on after the program's end: what it wrote itself is in the pipe by then, and what somebody it left behind may yet
/// write is not waited for.
const DRAIN: Duration = Duration::from_millis(250);

/// Why a hook failed.
#[derive(Debug, thiserror::Error)]
pub enum HookFailure {
    /// There is no command.
    #[error("the hook has no command; give it the full path of a program")]
    NoCommand,
    /// The program was not started.
    #[error("the program cannot be started; {}", what_to_do(.0))]
    NotStarted(#[source] io::Error),
    /// It ended by itself, not well.
    #[error("it ended with exit code {code}; its output says why")]
    Code {
        /// The exit code.
        code: i32,
    },
    /// A signal that was not ours ended it.
    #[error("it was ended by signal {signal}; look at its output, and in the system's log for who sent it")]
    Signal {
        /// The signal's number.
        signal: i32,
    },
    /// It took too long.
    #[error("it did not end within {} and was {}; allow it more time with `timeout`, or look for what held it up", Exact(*timeout), if *killed { "killed, because it did not end when asked to either" } else { "asked to end" })]
    TooLong {
        /// What it was given.
        timeout: Duration,
        /// It did not go on its own when asked.
        killed: bool,
    },
    /// It was started, and how it ended cannot be found out.
    #[error("it was started, but how it ended cannot be found out; look at its output")]
    Lost(#[source] io::Error),
}

fn what_to_do(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::NotFound => "there is no such file, or not the interpreter named in its first line: correct the path",
        io::ErrorKind::PermissionDenied => "make it executable (chmod +x), and readable for the user the service runs as",
        io::ErrorKind::ArgumentListTooLong => "arguments and environment are too long: pass them in a file",
        _ => "a script needs a first line that names its interpreter, a program must be made for this machine",
    }
}

/// How long a program is borne with.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Until it is asked to end.
    pub(super) timeout: Duration,
    /// From then until it is ended.
    pub(super) grace: Duration,
}

impl Limits {
    pub(super) fn of(hook: &Hook) -> Self {
        Self { timeout: hook.timeout.0, grace: GRACE }
    }
}

/// How a program ended, and what it wrote.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) result: Result<(), HookFailure>,
    pub(super) output: String,
}

/// Runs a program to its end.
pub(super) async fn run(
    clock: &SharedClock,
    command: &[String],
    environment: BTreeMap<OsString, OsString>,
    limits: Limits,
) -> Ended {
    match start(command, environment) {
        Ok(running) => running.ended(clock, limits).await,
        Err(failure) => Ended { result: Err(failure), output: String::new() },
    }
}

/// A program at work. Dropped before its end, it is killed with all its children.
#[derive(Debug)]
struct Running {
    group: Group,
    child: Child,
    pipe: pipe::Receiver,
}

fn start(command: &[String], environment: BTreeMap<OsString, OsString>) -> Result<Running, HookFailure> {
    let [program, arguments @ ..] = command else { return Err(HookFailure::NoCommand) };
    // One pipe for both, so that lines stay in the order in which they were written.
    let (reader, writer) = io::pipe().map_err(HookFailure::NotStarted)?;
    let pipe = pipe::Receiver::from_owned_fd(reader.into()).map_err(HookFailure::NotStarted)?;
    let second = writer.try_clone().map_err(HookFailure::NotStarted)?;
    let child = Command::new(program)
        .args(arguments)
        .env_clear()
        .envs(environment)
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(writer)
        .stderr(second)
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(HookFailure::NotStarted)?;
    Ok(Running { group: Group::led_by(&child), child, pipe })
}

impl Running {
    async fn ended(mut self, clock: &SharedClock, limits: Limits) -> Ended {
        let mut tail = Tail::default();
        let exited = {
            let deadline = clock.sleep(limits.timeout);
            let reading = read(&mut self.pipe, &mut tail);
            tokio::select! {
                biased;
                exited = self.child.wait() => Some(exited),
                () = reading_beside(reading, deadline) => None,
            }
        };
        let result = match exited {
            Some(Ok(status)) => judged(status),
            Some(Err(error)) => Err(HookFailure::Lost(error)),
            None => {
                let killed = self.stop(clock, limits.grace, &mut tail).await;
                Err(HookFailure::TooLong { timeout: limits.timeout, killed })
            }
        };
        self.group.let_go();
        // The machine's timer bounds a read from somebody who may never write.
        let _ = tokio::time::timeout(DRAIN, read(&mut self.pipe, &mut tail)).await;
        Ended { result, output: tail.into_text() }
    }

    /// Asks the whole group to end, and ends it after a time. True if that was needed.
    async fn stop(&mut self, clock: &SharedClock, grace: Duration, tail: &mut Tail) -> bool {
        self.group.signal(Signal::TERM);
        let gone = async {
            let _ = self.child.wait().await;
            while self.group.exists() {
                tokio::time::sleep(LOOK).await;
            }
        };
        let reading = read(&mut self.pipe, tail);
        let killed = tokio::select! {
            biased;
            () = gone => false,
            () = reading_beside(reading, clock.sleep(grace)) => true,
        };
        if killed {
            self.group.signal(Signal::KILL);
            let _ = self.child.wait().await;
        }
        killed
    }
}

/// Reads for as long as `until` takes, so that a program is never held up by a full pipe.
async fn reading_beside(reading: impl Future<Output = ()>, until: impl Future<Output = ()>) {
    let reading = async {
        reading.await;
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = reading => {}
        () = until => {}
    }
}

/// Reads until nobody holds the pipe's other end any more.
async fn read(pipe: &mut pipe::Receiver, tail: &mut Tail) {
    let mut buffer = [0; 8 * 1024];
    while let Ok(read @ 1..) = pipe.read(&mut buffer).await {
        tail.push(&buffer[..read]);
    }
}

fn judged(status: ExitStatus) -> Result<(), HookFailure> {
    match (status.code(), status.signal()) {
        (Some(0), _) => Ok(()),
        (Some(code), _) => Err(HookFailure::Code { code }),
        (None, signal) => Err(HookFailure::Signal { signal: signal.unwrap_or_default() }),
    }
}

/// The process group of a program, which it leads. Killed when dropped, unless it was let go.
///
/// The number stays the group's for as long as the leader was not waited for or any member lives; it is not used later than that,
/// but for the pause between two looks.
#[derive(Debug)]
struct Group(Option<Pid>);

impl Group {
    fn led_by(child: &Child) -> Self {
        let number = child.id().and_then(|id| i32::try_from(id).ok());
        Self(number.and_then(Pid::from_raw))
    }

    fn signal(&self, signal: Signal) {
        if let Some(group) = self.0 {
            // It may have gone by itself.
            let _ = kill_process_group(group, signal);
        }
    }

    fn exists(&self) -> bool {
        self.0.is_some_and(|group| test_kill_process_group(group).is_ok())
    }

    fn let_go(&mut self) {
        self.0 = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}

//! Plays systemd for the maintainer scripts of a package: what they ask `systemctl` below a root is done here.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use chrono::{DateTime, DurationRound as _, TimeDelta, Utc};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::unix::pipe;
use xensnap::clock::{Clock as _, SystemClock};

use crate::launcher::{Machine, Service, confined};

/// Hands over what it is asked, waits for the answer, and ends with the code that it begins with.
const SYSTEMCTL: &str =
    "#!/bin/sh\necho \"$*\" >/run/asked\nread -r code text </run/answer\n[ -z \"$text\" ] || echo \"$text\"\nexit \"$code\"\n";

/// What time it is.
pub fn now() -> DateTime<Utc> {
    SystemClock::new().now()
}

/// A command that succeeds, and what it prints.
pub fn done(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", said(&output));
    String::from_utf8(output.stdout).unwrap()
}

/// All that it has said.
pub fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// A command as root below a root.
pub fn below(root: &Path, program: &str) -> Command {
    let mut command = confined(root, &[], program);
    command.env_clear().env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    command.env("LC_ALL", "C.UTF-8").env("HOME", "/root").env("DEBIAN_FRONTEND", "noninteractive").current_dir("/");
    command
}

/// The service manager below a root.
pub struct Manager {
    root: PathBuf,
    asks: BufReader<pipe::Receiver>,
    answers: pipe::Sender,
    service: Option<(Machine, Service)>,
    /// What the scripts have asked.
    pub asked: Vec<String>,
    /// How often it was made to start the service anew.
    pub restarts: usize,
    /// When it does so, the service is away until a full minute has passed.
    pub lingers: bool,
    /// The full minute at which it was away.
    pub away_at: Option<DateTime<Utc>>,
    /// When it was started anew.
    pub back_at: Option<DateTime<Utc>>,
}

impl Manager {
    /// Takes over.
    pub fn of(root: &Path) -> Self {
        let script = root.join("usr/local/bin/systemctl");
        std::fs::write(&script, SYSTEMCTL).unwrap();
        done(Command::new("chmod").arg("755").arg(&script));
        std::fs::create_dir_all(root.join("run/systemd/system")).unwrap();
        let (asks, answers) = (root.join("run/asked"), root.join("run/answer"));
        done(Command::new("mkfifo").args([&asks, &answers]));
        // Open at both ends, so that it lasts from one script to the next.
        let asks = BufReader::new(pipe::OpenOptions::new().read_write(true).open_receiver(asks).unwrap());
        let answers = pipe::OpenOptions::new().read_write(true).open_sender(answers).unwrap();
        let (asked, root, service) = (Vec::new(), root.to_owned(), None);
        Self { root, asks, answers, service, asked, restarts: 0, lingers: false, away_at: None, back_at: None }
    }

    /// The machine that the service runs on.
    pub fn machine(&self) -> &Machine {
        &self.service.as_ref().unwrap().0
    }

    /// Whether the service runs.
    pub fn runs(&self) -> bool {
        self.service.is_some()
    }

    /// `systemctl start`: waits until it is ready.
    pub async fn start(&mut self, machine: Machine) {
        let mut service = machine.start();
        service.tells("that it is ready", |line| line == "READY=1").await;
        self.service = Some((machine, service));
    }

    /// `systemctl stop`: waits for its safe end, and removes what it had while it ran.
    async fn stop(&mut self) -> Option<Machine> {
        let (machine, mut service) = self.service.take()?;
        service.signal("-TERM");
        let ended = service.ends().await;
        assert!(ended.success(), "{ended}: {}", service.log());
        std::fs::remove_dir_all(machine.path("/run").join(machine.unit.last("RuntimeDirectory"))).unwrap();
        Some(machine)
    }

    async fn restart(&mut self) {
        let machine = self.stop().await.unwrap();
        if std::mem::take(&mut self.lingers) {
            let minute = now().duration_trunc(TimeDelta::minutes(1)).unwrap() + TimeDelta::minutes(1);
            while now() < minute + TimeDelta::seconds(1) {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            self.away_at = Some(minute);
        }
        (self.restarts, self.back_at) = (self.restarts + 1, Some(now()));
        self.start(machine).await;
    }

    /// Runs dpkg, with a package that is put where it looks, and does what its scripts ask meanwhile.
    pub async fn dpkg(&mut self, arguments: &[&str], package: &Path) {
        if package.is_file() {
            std::fs::copy(package, self.root.join(arguments[1].trim_start_matches('/'))).unwrap();
        }
        let mut command = tokio::process::Command::from(below(&self.root, "dpkg"));
        let child = command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let output = child.wait_with_output();
        tokio::pin!(output);
        let output = loop {
            let mut line = String::new();
            tokio::select! {
                output = &mut output => break output.unwrap(),
                read = self.asks.read_line(&mut line) => { read.unwrap(); self.answer(line.trim()).await }
            }
        };
        assert!(output.status.success(), "{}, asked: {:?}", said(&output), self.asked);
        if package.is_file() {
            std::fs::remove_file(self.root.join(arguments[1].trim_start_matches('/'))).unwrap();
        }
    }

    async fn answer(&mut self, ask: &str) {
        self.asked.push(ask.to_owned());
        let words: Vec<&str> = ask.split_whitespace().filter(|word| !word.starts_with("--")).collect();
        let answer = match words[..] {
            ["daemon-reload"] => "0",
            ["is-enabled", "xensnap.service"] if self.enabled() => "0 enabled",
            ["is-enabled", "xensnap.service"] => "1 disabled",
            ["is-active", "xensnap.service"] if self.runs() => "0",
            ["is-active", "xensnap.service"] => "3",
            ["restart", "xensnap.service"] => {
                self.restart().await;
                "0"
            }
            ["stop", "xensnap.service"] => {
                self.stop().await;
                "0"
            }
            _ => panic!("nobody knows what to do about: systemctl {ask}"),
        };
        self.answers.write_all(format!("{answer}\n").as_bytes()).await.unwrap();
    }

    fn enabled(&self) -> bool {
        self.root.join("etc/systemd/system/multi-user.target.wants/xensnap.service").is_symlink()
    }

    /// Takes away what it and the launcher brought themselves.
    pub fn gone(self) {
        let ours = ["usr/local/bin/systemctl", "run/asked", "run/answer", "run/notify", "run/stderr"];
        ours.iter().for_each(|path| std::fs::remove_file(self.root.join(path)).unwrap());
        let ours = ["run/credentials", "run/systemd/system"];
        ours.iter().for_each(|path| std::fs::remove_dir_all(self.root.join(path)).unwrap());
    }
}

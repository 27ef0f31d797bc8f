//! Plays systemd for the binary: reads the unit, makes the folders and credentials that it names below a root of its own, starts the
//! program as another user where that is possible, with the environment that systemd gives and nothing else, and listens to what it
//! is told. It waits for what is said, never for time; only the watchdog's interval is real.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use tempfile::TempDir;
use tokio::net::UnixDatagram;

use crate::unit::Unit;

/// How long the machine may take for anything; only a failure waits so long.
const BOUND: Duration = Duration::from_secs(120);

/// Whose processes the tests start when they are root: nobody else's.
const USER: u32 = 61_234;

/// A machine with the unit on it.
pub struct Machine {
    root: TempDir,
    pub unit: Unit,
    /// Nothing where the test itself is not root: then everything is its own.
    user: Option<u32>,
}

impl Machine {
    /// With the unit and these drop-ins, and an empty configuration.
    pub fn new(drop_ins: &[&str]) -> Self {
        let root = tempfile::tempdir().unwrap();
        let user = (std::fs::metadata("/proc/self").unwrap().uid() == 0).then_some(USER);
        let machine = Self { root, unit: Unit::with(drop_ins), user };
        std::fs::set_permissions(machine.root.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        for folder in ["usr/bin", "run/credentials", "etc/xensnap/policies.d"] {
            std::fs::create_dir_all(machine.root.path().join(folder)).unwrap();
        }
        let (built, program) = (env!("CARGO_BIN_EXE_xensnap"), machine.path("/usr/bin/xensnap"));
        std::fs::hard_link(built, &program).or_else(|_| std::fs::copy(built, &program).map(drop)).unwrap();
        machine.give("/etc/xensnap", 0o750);
        machine.give("/etc/xensnap/policies.d", 0o750);
        machine
    }

    /// Where a path of the unit is in truth.
    pub fn path(&self, path: &str) -> PathBuf {
        self.root.path().join(path.trim_start_matches('/'))
    }

    /// A file that root writes and the service reads.
    pub fn write(&self, path: &str, text: &str) {
        std::fs::create_dir_all(self.path(path).parent().unwrap()).unwrap();
        std::fs::write(self.path(path), text).unwrap();
        self.give(path, 0o640);
    }

    /// Root's, and the service's group's.
    fn give(&self, path: &str, mode: u32) {
        std::fs::set_permissions(self.path(path), std::fs::Permissions::from_mode(mode)).unwrap();
        std::os::unix::fs::chown(self.path(path), self.user.map(|_| 0), self.user).unwrap();
    }

    /// The service's own, as `StateDirectory=` and its like are.
    fn own_folder(&self, below: &str, name: &str, mode: &str) -> PathBuf {
        let path = self.path(below).join(name);
        std::fs::create_dir_all(&path).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(u32::from_str_radix(mode, 8).unwrap())).unwrap();
        std::os::unix::fs::chown(&path, self.user, self.user).unwrap();
        path
    }

    /// Copies of what `LoadCredential=` names, readable for the service alone. Systemd does not start the unit if one is missing.
    fn credentials(&self) -> Option<PathBuf> {
        let named = self.unit.all("LoadCredential");
        if named.is_empty() {
            return None;
        }
        let folder = self.own_folder("/run/credentials", "xensnap.service", "500");
        for credential in named {
            let (name, source) = credential.split_once(':').unwrap();
            let copy = folder.join(name);
            let _ = std::fs::remove_file(&copy);
            std::fs::copy(self.path(source), &copy).unwrap();
            std::fs::set_permissions(&copy, std::fs::Permissions::from_mode(0o400)).unwrap();
            std::os::unix::fs::chown(&copy, self.user, self.user).unwrap();
        }
        Some(folder)
    }

    /// The environment of the unit, and nothing of ours.
    fn environment(&self, command: &mut Command) {
        let folder = |below: &str, key: &str| {
            self.own_folder(below, self.unit.last(&format!("{key}Directory")), self.unit.last(&format!("{key}DirectoryMode")))
        };
        let (state, runtime) = (folder("/var/lib", "State"), folder("/run", "Runtime"));
        command.env_clear().env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin").env("LANG", "C.UTF-8");
        command.env("HOME", &state).env("USER", self.unit.last("User")).env("LOGNAME", self.unit.last("User"));
        command.env("STATE_DIRECTORY", &state).env("RUNTIME_DIRECTORY", &runtime);
        command.env("CONFIGURATION_DIRECTORY", self.path("/etc").join(self.unit.last("ConfigurationDirectory")));
        command.env("INVOCATION_ID", "0123456789abcdef0123456789abcdef").env("SYSTEMD_EXEC_PID", "1");
        command.env("WATCHDOG_USEC", self.unit.duration("WatchdogSec").as_micros().to_string());
        if let Some(credentials) = self.credentials() {
            command.env("CREDENTIALS_DIRECTORY", credentials);
        }
    }

    /// `systemctl start`.
    pub fn start(&self) -> Service {
        assert_eq!((self.unit.last("Type"), self.unit.last("NotifyAccess")), ("notify", "main"));
        let mut words = self.unit.last("ExecStart").split_whitespace();
        let mut command = Command::new(self.path(words.next().unwrap()));
        command.args(words.map(|word| if word.starts_with("/etc/") { self.path(word) } else { word.into() }));
        self.environment(&mut command);
        let (socket, log) = (self.path("/run/notify"), self.path("/run/stderr"));
        let _ = std::fs::remove_file(&socket);
        let notify = UnixDatagram::bind(&socket).unwrap();
        std::fs::set_permissions(&socket, std::fs::Permissions::from_mode(0o666)).unwrap();
        command.env("NOTIFY_SOCKET", &socket).current_dir("/");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(std::fs::File::create(&log).unwrap());
        if let Some(user) = self.user {
            command.uid(user).gid(user);
        }
        Service { child: command.spawn().unwrap(), notify, log, told: Vec::new(), read: 0 }
    }
}

/// A service that runs; it ends with the test.
pub struct Service {
    child: Child,
    notify: UnixDatagram,
    log: PathBuf,
    /// What it has told so far, one assignment each.
    pub told: Vec<String>,
    /// How much of that was waited for.
    read: usize,
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Service {
    /// What it wrote to standard error.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    /// Waits for something that it tells after what was waited for before.
    pub async fn tells(&mut self, what: &str, fits: impl Fn(&str) -> bool) {
        let end = tokio::time::Instant::now() + BOUND;
        loop {
            while self.read < self.told.len() {
                self.read += 1;
                if fits(&self.told[self.read - 1]) {
                    return;
                }
            }
            let heard = tokio::time::timeout_at(end, self.hear()).await;
            assert!(heard.is_ok(), "it does not tell {what}, but {:?}; it said: {}", self.told, self.log());
        }
    }

    async fn hear(&mut self) {
        let mut buffer = vec![0; 4096];
        let length = self.notify.recv(&mut buffer).await.unwrap();
        let text = String::from_utf8(buffer[..length].to_vec()).unwrap();
        self.told.extend(text.lines().map(str::to_owned));
    }

    /// `systemctl kill --signal`.
    pub fn signal(&self, name: &str) {
        assert!(Command::new("kill").args([name, &self.child.id().to_string()]).status().unwrap().success());
    }

    /// Waits for its end, and hears what it has left to tell.
    pub async fn ends(&mut self) -> ExitStatus {
        let end = tokio::time::Instant::now() + BOUND;
        while tokio::time::Instant::now() < end {
            let heard = tokio::time::timeout(Duration::from_millis(20), self.hear()).await;
            if heard.is_err()
                && let Some(status) = self.child.try_wait().unwrap()
            {
                return status;
            }
        }
        panic!("it does not end; it said: {}", self.log());
    }

    /// Looks after it as the watchdog does: who tells nothing for an interval is stuck, and is ended by SIGABRT.
    pub async fn watched(&mut self, interval: Duration) -> ExitStatus {
        let alive = |told: &[String]| told.iter().filter(|line| *line == "WATCHDOG=1").count();
        let end = tokio::time::Instant::now() + BOUND;
        while tokio::time::Instant::now() < end {
            let (before, until) = (alive(&self.told), tokio::time::Instant::now() + interval);
            while alive(&self.told) == before && tokio::time::timeout_at(until, self.hear()).await.is_ok() {}
            if alive(&self.told) == before {
                self.signal("-ABRT");
                return self.ends().await;
            }
        }
        panic!("it is never stuck");
    }
}

/// The mode of a file or folder.
pub fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

//! Plays systemd for the binary: reads the unit, makes the folders and credentials that it names below a root of its own, starts the
//! program as another user where that is possible, with the environment that systemd gives and nothing else, and listens to what it
//! is told. It waits for what is said, never for time; only the watchdog's interval is real. The root is a folder in which paths are
//! rewritten, or a whole Debian that the program is confined to.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::Duration;

use tempfile::TempDir;
use tokio::net::UnixDatagram;
use tokio::sync::mpsc;

use crate::unit::Unit;

/// How long the machine may take for anything; only a failure waits so long.
const BOUND: Duration = Duration::from_secs(120);

/// Whose processes the tests start when they are root: nobody else's.
const USER: u32 = 61_234;

/// Mounts what programs expect, for the process and those it starts alone, and becomes what follows, below that root.
const CONFINE: &str = "mount -t proc proc \"$0/proc\" && exec chroot \"$@\"";

/// A machine with the unit on it.
pub struct Machine {
    root: PathBuf,
    pub unit: Unit,
    /// Nothing where the test itself is not root: then everything is its own.
    user: Option<u32>,
    /// A whole Debian, which programs see nothing but.
    confined: bool,
    _folder: Option<TempDir>,
}

impl Machine {
    /// With the unit and these drop-ins, and an empty configuration.
    pub fn new(drop_ins: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let user = (std::fs::metadata("/proc/self").unwrap().uid() == 0).then_some(USER);
        let (root, unit) = (folder.path().to_owned(), Unit::with(drop_ins));
        let machine = Self { root, unit, user, confined: false, _folder: Some(folder) };
        std::fs::set_permissions(&machine.root, std::fs::Permissions::from_mode(0o755)).unwrap();
        for folder in ["usr/bin", "run/credentials", "etc/xensnap/policies.d"] {
            std::fs::create_dir_all(machine.root.join(folder)).unwrap();
        }
        let (built, program) = (env!("CARGO_BIN_EXE_xensnap"), machine.path("/usr/bin/xensnap"));
        std::fs::hard_link(built, &program).or_else(|_| std::fs::copy(built, &program).map(drop)).unwrap();
        machine.give("/etc/xensnap", 0o750);
        machine.give("/etc/xensnap/policies.d", 0o750);
        machine
    }

    /// A whole Debian, on which the package has put the unit and the program, and made the user.
    pub fn debian(root: &Path, drop_ins: &[&str]) -> Self {
        let installed = std::fs::read_to_string(root.join("lib/systemd/system/xensnap.service")).unwrap();
        let unit = Unit::of(&installed, drop_ins);
        let users = std::fs::read_to_string(root.join("etc/passwd")).unwrap();
        let line = users.lines().find_map(|line| line.strip_prefix(unit.last("User"))?.strip_prefix(":x:")).unwrap();
        let user = line.split(':').next().unwrap().parse().unwrap();
        std::fs::create_dir_all(root.join("run/credentials")).unwrap();
        Self { root: root.to_owned(), unit, user: Some(user), confined: true, _folder: None }
    }

    /// Where a path of the unit is in truth.
    pub fn path(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    /// What the program calls such a path.
    fn told(&self, path: PathBuf) -> PathBuf {
        if self.confined { Path::new("/").join(path.strip_prefix(&self.root).unwrap()) } else { path }
    }

    /// A command of the unit, as the unit's user and with its environment.
    fn command(&self, key: &str) -> Command {
        let mut words = self.unit.last(key).split_whitespace();
        let program = words.next().unwrap();
        let mut command = if self.confined {
            let as_whom = format!("--userspec={}:{}", self.unit.last("User"), self.unit.last("Group"));
            confined(&self.root, &[&as_whom], program)
        } else {
            let mut command = Command::new(self.path(program));
            if let Some(user) = self.user {
                command.uid(user).gid(user);
            }
            command
        };
        command.args(words.map(|word| if word.starts_with("/etc/") { self.told(self.path(word)) } else { word.into() }));
        self.environment(&mut command);
        command.current_dir("/").stdin(Stdio::null());
        command
    }

    /// `systemctl reload`: what the unit's command says, once it is done. Below a root of its own the main file has to be named.
    pub fn reload(&self) -> Output {
        let mut command = self.command("ExecReload");
        command.arg("--config").arg(self.told(self.path("/etc/xensnap/xensnap.toml")));
        command.output().unwrap()
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
        let (state, runtime) = (self.told(state), self.told(runtime));
        command.env("HOME", &state).env("USER", self.unit.last("User")).env("LOGNAME", self.unit.last("User"));
        command.env("STATE_DIRECTORY", &state).env("RUNTIME_DIRECTORY", &runtime);
        command.env("CONFIGURATION_DIRECTORY", self.told(self.path("/etc").join(self.unit.last("ConfigurationDirectory"))));
        command.env("INVOCATION_ID", "0123456789abcdef0123456789abcdef").env("SYSTEMD_EXEC_PID", "1");
        command.env("WATCHDOG_USEC", self.unit.duration("WatchdogSec").as_micros().to_string());
        if let Some(credentials) = self.credentials() {
            command.env("CREDENTIALS_DIRECTORY", self.told(credentials));
        }
    }

    /// `systemctl start`.
    pub fn start(&self) -> Service {
        assert_eq!((self.unit.last("Type"), self.unit.last("NotifyAccess")), ("notify", "main"));
        let mut command = self.command("ExecStart");
        let (socket, log) = (self.path("/run/notify"), self.path("/run/stderr"));
        let _ = std::fs::remove_file(&socket);
        let notify = UnixDatagram::bind(&socket).unwrap();
        std::fs::set_permissions(&socket, std::fs::Permissions::from_mode(0o666)).unwrap();
        command.env("NOTIFY_SOCKET", self.told(socket));
        command.stdout(Stdio::null()).stderr(std::fs::File::create(&log).unwrap());
        Service { child: command.spawn().unwrap(), notify: listen(notify), log, told: Vec::new(), read: 0 }
    }
}

/// A command below this root, that sees nothing else; its process is the program's own.
pub fn confined(root: &Path, options: &[&str], program: &str) -> Command {
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", CONFINE]).arg(root).args(options).arg(root).arg(program);
    command
}

/// Takes what is told as soon as it is: the kernel holds ten datagrams, and whoever tells more waits.
fn listen(notify: UnixDatagram) -> mpsc::UnboundedReceiver<String> {
    let (heard, told) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        let mut buffer = vec![0; 4096];
        while let Ok(length) = notify.recv(&mut buffer).await {
            let text = String::from_utf8(buffer[..length].to_vec()).unwrap();
            if heard.send(text).is_err() {
                return;
            }
        }
    });
    told
}

/// A service that runs; it ends with the test.
pub struct Service {
    child: Child,
    notify: mpsc::UnboundedReceiver<String>,
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
    /// Whom the kernel names as the owner of what is shown of its memory: root, where nobody else may look into it.
    pub fn memory_is_shown_to(&self) -> u32 {
        std::fs::metadata(format!("/proc/{}/environ", self.child.id())).unwrap().uid()
    }

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
        let text = self.notify.recv().await.unwrap();
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

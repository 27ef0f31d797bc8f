//! What a unit of systemd lets its service see and execute, as far as programs that it starts depend on it. A unit is its file with all
//! its drop-ins, in the order in which systemd reads them: later lines win, lists grow, and an empty value begins a list anew.

use std::path::{Path, PathBuf};

/// What matters of a unit.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sandbox {
    /// Home folders are not there.
    hides_homes: bool,
    /// `/tmp` and `/var/tmp` are its own, and empty at first.
    own_tmp: bool,
    /// Only harmless devices are there.
    own_devices: bool,
    /// These are not there.
    hidden: Vec<PathBuf>,
    /// What is in these is not executed, but for what is in `executable`.
    not_executable: Vec<PathBuf>,
    executable: Vec<PathBuf>,
    /// Folders that it may write to; true for those that may be missing.
    writable: Vec<(PathBuf, bool)>,
    /// Names of credentials that it is handed.
    credentials: Vec<String>,
    /// No memory is written first and executed then.
    no_new_code: bool,
    /// Nobody gets more rights by starting a program.
    no_new_rights: bool,
}

/// Why a program cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Barrier {
    /// It is in a home folder.
    Home,
    /// It is in a folder for temporary files.
    Tmp,
    /// It is below a path that is hidden.
    Hidden(PathBuf),
    /// It is below a path from which nothing is executed.
    NotExecutable(PathBuf),
    /// It compiles while it runs.
    NewCode,
    /// It needs more rights than its caller has.
    NewRights,
}

/// Programs that compile while they run.
const COMPILERS: [&str; 6] = ["java", "node", "nodejs", "dotnet", "pwsh", "luajit"];

/// Programs that give more rights.
const RAISERS: [&str; 4] = ["sudo", "su", "doas", "pkexec"];

impl Sandbox {
    /// From the lines of a unit file and its drop-ins.
    pub fn of_unit(text: &str) -> Self {
        let mut sandbox = Self::default();
        let mut in_service = false;
        for line in logical_lines(text) {
            let line = line.trim();
            if line.starts_with('[') {
                in_service = line == "[Service]";
            } else if let Some((key, value)) = line.split_once('=').filter(|_| in_service && !line.starts_with(['#', ';'])) {
                sandbox.set(key.trim(), value.trim());
            }
        }
        sandbox
    }

    fn set(&mut self, key: &str, value: &str) {
        let yes = matches!(value.to_ascii_lowercase().as_str(), "yes" | "true" | "on" | "1");
        match key {
            // With read-only they are there.
            "ProtectHome" => self.hides_homes = yes || value == "tmpfs",
            "PrivateTmp" => self.own_tmp = yes || value == "disconnected",
            "PrivateDevices" => self.own_devices = yes,
            "MemoryDenyWriteExecute" => self.no_new_code = yes,
            "NoNewPrivileges" => self.no_new_rights = yes,
            "InaccessiblePaths" | "InaccessibleDirectories" => paths(&mut self.hidden, value),
            "NoExecPaths" => paths(&mut self.not_executable, value),
            "ExecPaths" => paths(&mut self.executable, value),
            "ReadWritePaths" => list(&mut self.writable, value, |word| (path(word), word.starts_with('-'))),
            "LoadCredential" | "LoadCredentialEncrypted" | "SetCredential" | "SetCredentialEncrypted" => {
                let name = value.split(':').next().unwrap_or_default();
                list(&mut self.credentials, name, str::to_owned);
            }
            _ => {}
        }
    }

    /// What keeps a program from being used, by the path of its file.
    pub fn barrier(&self, program: &Path) -> Option<Barrier> {
        let name = program.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let below = |folders: &[PathBuf]| {
            folders.iter().filter(|folder| program.starts_with(folder)).max_by_key(|path| path.as_os_str().len()).cloned()
        };
        if self.hides_homes && ["/home", "/root", "/run/user"].iter().any(|home| program.starts_with(home)) {
            return Some(Barrier::Home);
        }
        if self.own_tmp && ["/tmp", "/var/tmp"].iter().any(|tmp| program.starts_with(tmp)) {
            return Some(Barrier::Tmp);
        }
        if let Some(hidden) =
            below(&self.hidden).or_else(|| (self.own_devices && program.starts_with("/dev")).then(|| "/dev".into()))
        {
            return Some(Barrier::Hidden(hidden));
        }
        // Of two that contain one another, the inner one counts.
        let depth = |path: &Option<PathBuf>| path.as_ref().map_or(0, |path| path.as_os_str().len());
        let (not, yet) = (below(&self.not_executable), below(&self.executable));
        if depth(&not) > depth(&yet) {
            return not.map(Barrier::NotExecutable);
        }
        if self.no_new_code && COMPILERS.contains(&name) {
            return Some(Barrier::NewCode);
        }
        (self.no_new_rights && RAISERS.contains(&name)).then_some(Barrier::NewRights)
    }

    /// Folders without which the service does not start.
    pub fn needed_folders(&self) -> impl Iterator<Item = &Path> {
        self.writable.iter().filter(|(_, optional)| !optional).map(|(path, _)| path.as_path())
    }

    /// Whether it is handed a credential of this name.
    pub fn has_credential(&self, name: &str) -> bool {
        self.credentials.iter().any(|known| known == name)
    }
}

/// A line that ends with a backslash goes on in the next.
fn logical_lines(text: &str) -> Vec<String> {
    let mut lines = vec![String::new()];
    for line in text.lines() {
        let (part, goes_on) = line.strip_suffix('\\').map_or((line, false), |part| (part, true));
        if let Some(last) = lines.last_mut() {
            last.push_str(part);
        }
        lines.push(String::new());
        if goes_on {
            lines.pop();
            lines.last_mut().into_iter().for_each(|last| last.push(' '));
        }
    }
    lines
}

fn list<T>(list: &mut Vec<T>, value: &str, read: impl Fn(&str) -> T) {
    if value.is_empty() {
        list.clear();
    }
    list.extend(value.split_whitespace().map(read));
}

fn paths(known: &mut Vec<PathBuf>, value: &str) {
    list(known, value, path);
}

/// Without the signs before it: it may be missing, it counts from the root folder.
fn path(word: &str) -> PathBuf {
    word.trim_start_matches(['-', '+']).trim_matches('"').into()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const UNIT: &str = include_str!("../../systemd/xensnap.service");
    const HOOKS: &str = include_str!("../../systemd/xensnap.service.d/hooks.conf.example");
    const EXPORTS: &str = include_str!("../../systemd/xensnap.service.d/export-directory.conf.example");
    const CREDENTIALS: &str = include_str!("../../systemd/xensnap.service.d/credentials.conf.example");

    #[rstest]
    #[case("/usr/local/bin/freeze", None)]
    #[case("/etc/xensnap/hooks/freeze", None)]
    #[case("/home/ops/freeze.sh", Some(Barrier::Home))]
    #[case("/root/freeze.sh", Some(Barrier::Home))]
    #[case("/homes/freeze.sh", None)]
    #[case("/tmp/freeze.sh", Some(Barrier::Tmp))]
    #[case("/usr/bin/node", Some(Barrier::NewCode))]
    #[case("/usr/bin/sudo", Some(Barrier::NewRights))]
    #[case("/dev/shm/freeze", Some(Barrier::Hidden("/dev".into())))]
    fn the_unit_of_this_program_keeps_hooks_from_homes_and_more(#[case] program: &str, #[case] barrier: Option<Barrier>) {
        assert_eq!(Sandbox::of_unit(UNIT).barrier(Path::new(program)), barrier);
    }

    #[test]
    fn a_drop_in_takes_away_what_it_says() {
        let sandbox = Sandbox::of_unit(&format!("{UNIT}\n{HOOKS}"));
        assert_eq!(sandbox.barrier(Path::new("/usr/bin/node")), None);
        assert_eq!(sandbox.barrier(Path::new("/home/ops/x")), Some(Barrier::Home), "it is commented out");
        let open = HOOKS.replace("#ProtectHome", "ProtectHome");
        assert_eq!(Sandbox::of_unit(&format!("{UNIT}\n{open}")).barrier(Path::new("/home/ops/x")), None);
    }

    #[test]
    fn folders_and_credentials_are_those_of_the_drop_ins() {
        let sandbox = Sandbox::of_unit(&format!("{UNIT}\n{EXPORTS}\n{CREDENTIALS}\n[Service]\nReadWritePaths=/srv/needed\n"));
        assert_eq!(sandbox.needed_folders().collect::<Vec<_>>(), [Path::new("/srv/needed")], "the example may be missing");
        assert!(sandbox.has_credential("tokyo") && !sandbox.has_credential("osaka"));
        assert!(!Sandbox::of_unit(UNIT).has_credential("tokyo"));
    }

    #[rstest]
    #[case("NoExecPaths=/\nExecPaths=/usr /opt/hooks\n", "/opt/hooks/a", None)]
    #[case("NoExecPaths=/\nExecPaths=/usr\n", "/opt/hooks/a", Some(Barrier::NotExecutable("/".into())))]
    #[case("ExecPaths=/opt\nNoExecPaths=/opt/hooks\n", "/opt/hooks/a", Some(Barrier::NotExecutable("/opt/hooks".into())))]
    #[case("InaccessiblePaths=-/opt \\\n  /srv\n", "/srv/a", Some(Barrier::Hidden("/srv".into())))]
    #[case("InaccessiblePaths=/srv\nInaccessiblePaths=\n", "/srv/a", None)]
    #[case("ProtectHome=read-only\n", "/home/a", None)]
    #[case("ProtectHome=tmpfs\n", "/home/a", Some(Barrier::Home))]
    #[case("[Install]\nProtectHome=yes\n", "/home/a", None)]
    fn later_lines_win_lists_grow_and_the_inner_path_counts(
        #[case] text: &str,
        #[case] program: &str,
        #[case] barrier: Option<Barrier>,
    ) {
        assert_eq!(Sandbox::of_unit(&format!("[Service]\n{text}")).barrier(Path::new(program)), barrier);
    }
}

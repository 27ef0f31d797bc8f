//! The service on this machine: whether hooks can be run as its unit lets it, whether it is handed its credentials, whether the folders
//! are there that drop-ins name. The unit is the one that systemd knows; where no systemd answers, the files where systemd looks.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::config::pool::PasswordSource;
use crate::config::{CheckedPolicy, Config};
use crate::domain::finding::{self, Code, Finding, Weight};
use crate::domain::policy::Hook;
use crate::domain::sandbox::{Barrier, Sandbox};

/// The unit's name.
const UNIT: &str = "xensnap.service";

/// Where systemd looks for units, the strongest first.
const PLACES: [&str; 5] = [
    "/etc/systemd/system",
    "/run/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
];

/// How long systemd may take to answer.
const ANSWER: Duration = Duration::from_secs(5);

/// Where the examples of drop-ins are.
const EXAMPLES: &str = "/usr/share/doc/xensnap/xensnap.service.d";

/// A program that a hook needs: its own, or the one that its first line names.
struct Needed<'a> {
    policy: &'a CheckedPolicy,
    program: PathBuf,
    /// The script whose first line names it.
    of_script: Option<PathBuf>,
}

/// Everything about the service; nothing without a configuration.
pub(super) async fn judge(config: Option<&Config>, unit: Option<&Path>) -> Vec<Finding> {
    let Some(config) = config else { return Vec::new() };
    let hooks: Vec<Needed<'_>> = config.policies.iter().filter(|checked| checked.policy.enabled).flat_map(needed).collect();
    let credentials = config.pools.iter().filter_map(|pool| match &pool.password {
        PasswordSource::Credential(name) => Some((pool.name.as_str(), name.as_str())),
        _ => None,
    });
    let credentials: Vec<(&str, &str)> = credentials.collect();
    let text = text_of(unit).await;
    let mut findings: Vec<Finding> = hooks.iter().filter_map(of_file).collect();
    match text.as_deref().map(Sandbox::of_unit) {
        Some(sandbox) => {
            findings.extend(hooks.iter().filter_map(|needed| Some(barred(needed, &sandbox.barrier(&needed.program)?))));
            let missing = credentials.iter().filter(|(_, name)| !sandbox.has_credential(name));
            findings.extend(missing.map(|(pool, name)| no_credential(pool, name)));
            let absent = sandbox.needed_folders().filter(|folder| !folder.exists());
            findings.extend(absent.map(no_folder));
        }
        None if !hooks.is_empty() || !credentials.is_empty() => findings.push(no_unit()),
        None => {}
    }
    finding::sort(&mut findings);
    findings.dedup();
    findings
}

/// The programs of a policy's hooks, each once.
fn needed(policy: &CheckedPolicy) -> Vec<Needed<'_>> {
    let mut found: Vec<Needed<'_>> = Vec::new();
    let programs = policy.policy.hooks.iter().filter_map(|hook: &Hook| hook.command.first()).map(PathBuf::from);
    for program in programs {
        if found.iter().any(|known| known.program == program) {
            continue;
        }
        let interpreter =
            interpreter(&program).map(|interpreter| Needed { policy, program: interpreter, of_script: Some(program.clone()) });
        found.push(Needed { policy, program, of_script: None });
        found.extend(interpreter);
    }
    found
}

/// What the first line of a script names; of `env` the program that it looks for, if it is where programs are.
fn interpreter(script: &Path) -> Option<PathBuf> {
    use std::io::Read as _;
    let mut beginning = Vec::new();
    std::fs::File::open(script).ok()?.take(256).read_to_end(&mut beginning).ok()?;
    let text = String::from_utf8_lossy(&beginning);
    let mut words = text.strip_prefix("#!")?.lines().next()?.split_whitespace();
    let program = PathBuf::from(words.next()?);
    let looked_for = words.find(|word| !word.starts_with('-')).filter(|_| program.ends_with("env"));
    let places = ["/usr/local/bin", "/usr/bin", "/bin"];
    let found = looked_for.and_then(|name| places.iter().map(|place| Path::new(place).join(name)).find(|path| path.exists()));
    Some(found.unwrap_or(program))
}

/// What is wrong with the file itself.
fn of_file(needed: &Needed<'_>) -> Option<Finding> {
    let program = needed.program.display();
    match std::fs::metadata(&needed.program) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let todo = "install it, or mend the hook's command";
            Some(told(needed, Code::HookMissing, format!("{program} is not there"), todo))
        }
        // Whoever asks may not look; the service may.
        Err(_) => None,
        Ok(file) if !file.is_file() || file.permissions().mode() & 0o111 == 0 => {
            let todo = format!("chmod +x {program}, so that the service's user may execute it");
            Some(told(needed, Code::HookNotExecutable, format!("{program} is no file that may be executed"), &todo))
        }
        Ok(_) => None,
    }
}

fn barred(needed: &Needed<'_>, barrier: &Barrier) -> Finding {
    let program = needed.program.display();
    let drop_in =
        |line: &str| format!("install {EXAMPLES}/hooks.conf.example as /etc/systemd/system/{UNIT}.d/hooks.conf with {line}");
    let (code, why, todo) = match barrier {
        Barrier::Home => {
            let todo = format!("move it to /usr/local/lib/xensnap, or {}", drop_in("ProtectHome=read-only"));
            (Code::HookHidden, "in a home folder, which the unit hides (ProtectHome)".to_owned(), todo)
        }
        Barrier::Tmp => {
            let todo = "move it to /usr/local/lib/xensnap".to_owned();
            (Code::HookHidden, "in a folder of which the service has its own, empty one (PrivateTmp)".to_owned(), todo)
        }
        Barrier::Hidden(path) => {
            let todo = "move it to /usr/local/lib/xensnap, or show the path to the service in a drop-in".to_owned();
            (Code::HookHidden, format!("below {}, which the unit hides", path.display()), todo)
        }
        Barrier::NotExecutable(path) => {
            let todo = format!("{}={program}", drop_in("ExecPaths"));
            (
                Code::HookNotAllowed,
                format!("below {}, from which the unit lets nothing be executed (NoExecPaths)", path.display()),
                todo,
            )
        }
        Barrier::NewCode => {
            let why = "a program that compiles while it runs, which the unit forbids (MemoryDenyWriteExecute)";
            (Code::HookNotAllowed, why.to_owned(), drop_in("MemoryDenyWriteExecute=no"))
        }
        Barrier::NewRights => {
            let why = "a program that gives more rights, which the unit forbids (NoNewPrivileges)";
            let todo = format!("let the hook trigger a socket or timer of its own, or {}", drop_in("the lines for sudo"));
            (Code::HookNotAllowed, why.to_owned(), todo)
        }
    };
    told(needed, code, format!("{program} is {why}"), &todo)
}

fn told(needed: &Needed<'_>, code: Code, what: String, todo: &str) -> Finding {
    let script =
        needed.of_script.as_ref().map_or_else(String::new, |script| format!("{}, whose first line asks for ", script.display()));
    let what = format!("a hook of policy {}: {script}{what}", needed.policy.policy.name);
    Finding::new(code, Weight::Problem, what, todo).about("policy", None, &needed.policy.policy.name)
}

fn no_credential(pool: &str, name: &str) -> Finding {
    let what = format!("the password of pool {pool} is the credential {name}, which the unit does not hand to the service");
    let todo = format!("install {EXAMPLES}/credentials.conf.example as a drop-in, with LoadCredential={name}:FILE, and restart");
    Finding::new(Code::CredentialMissing, Weight::Problem, what, todo).about("file", None, name)
}

fn no_folder(folder: &Path) -> Finding {
    let folder = folder.display().to_string();
    let what = format!("{folder}, which a drop-in lets the service write to, is not there, so that the service does not start");
    let todo = format!("install -d -o xensnap -g xensnap -m 0750 {folder}, or write ReadWritePaths=-{folder}");
    Finding::new(Code::FolderMissing, Weight::Problem, what, todo).about("file", None, &folder)
}

fn no_unit() -> Finding {
    let what = format!("the unit {UNIT} was not found, so that hooks and credentials could not be judged by it");
    Finding::new(Code::UnitUnknown, Weight::Note, what, "name it with --unit, if the service runs under systemd somewhere")
}

/// The unit with its drop-ins.
async fn text_of(unit: Option<&Path>) -> Option<String> {
    match unit {
        Some(unit) => with_drop_ins(&[unit.to_owned()], &[PathBuf::from(format!("{}.d", unit.display()))]),
        None => match as_systemd_says().await {
            Some(text) => Some(text),
            None => {
                let places = |name: &str| PLACES.iter().map(|place| Path::new(place).join(name)).collect::<Vec<_>>();
                with_drop_ins(&places(UNIT), &places(&format!("{UNIT}.d")))
            }
        },
    }
}

async fn as_systemd_says() -> Option<String> {
    let mut systemctl = tokio::process::Command::new("systemctl");
    let asked = systemctl.args(["cat", "--no-pager", UNIT]).stdin(std::process::Stdio::null()).kill_on_drop(true).output();
    let output = tokio::time::timeout(ANSWER, asked).await.ok()?.ok()?;
    (output.status.success() && !output.stdout.is_empty()).then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The first unit that is there, and all drop-ins, by name; of two with one name the first counts.
fn with_drop_ins(units: &[PathBuf], folders: &[PathBuf]) -> Option<String> {
    let mut text = units.iter().find_map(|unit| std::fs::read_to_string(unit).ok())?;
    let mut drop_ins = std::collections::BTreeMap::new();
    for folder in folders {
        let Ok(entries) = std::fs::read_dir(folder) else { continue };
        for path in entries.flatten().map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|end| end == "conf")) {
            drop_ins.entry(path.file_name().map(ToOwned::to_owned)).or_insert(path);
        }
    }
    for path in drop_ins.values() {
        text.push('\n');
        text.push_str(&std::fs::read_to_string(path).unwrap_or_default());
    }
    Some(text)
}

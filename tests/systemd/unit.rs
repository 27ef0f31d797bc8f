//! A unit file as systemd reads it: sections, keys that may be repeated, drop-ins that come after it, an empty value that takes back
//! what was said before. And what systemd itself says of ours.

use std::path::Path;
use std::time::Duration;

use crate::{file, systemd};

/// What a unit and its drop-ins say.
pub struct Unit(Vec<(String, String, String)>);

impl Unit {
    /// Our unit with these drop-ins.
    pub fn with(drop_ins: &[&str]) -> Self {
        Self::of(&std::fs::read_to_string(file("systemd/xensnap.service")).unwrap(), drop_ins)
    }

    /// This unit with these drop-ins.
    pub fn of(text: &str, drop_ins: &[&str]) -> Self {
        let mut unit = Self(Vec::new());
        unit.read(text);
        for drop_in in drop_ins {
            unit.read(drop_in);
        }
        unit
    }

    fn read(&mut self, text: &str) {
        let mut section = String::new();
        for line in text.replace("\\\n", " ").lines().map(str::trim) {
            if let Some(name) = line.strip_prefix('[') {
                section = name.trim_end_matches(']').to_owned();
            } else if let Some((key, value)) = line.split_once('=').filter(|_| !line.starts_with(['#', ';'])) {
                if value.is_empty() {
                    self.0.retain(|(of, name, _)| (of.as_str(), name.as_str()) != (&section, key));
                }
                self.0.push((section.clone(), key.to_owned(), value.to_owned()));
            }
        }
    }

    /// All values of a key of `[Service]`.
    pub fn all(&self, key: &str) -> Vec<&str> {
        let of_key = self.0.iter().filter(|(section, name, value)| section == "Service" && name == key && !value.is_empty());
        of_key.map(|(.., value)| value.as_str()).collect()
    }

    /// The last value of a key of `[Service]`.
    pub fn last(&self, key: &str) -> &str {
        self.all(key).last().copied().unwrap_or_else(|| panic!("the unit says nothing of {key}"))
    }

    /// The last value of a key of `[Unit]`.
    pub fn of_unit(&self, key: &str) -> &str {
        let of_key = self.0.iter().rfind(|(section, name, _)| section == "Unit" && name == key);
        of_key.map_or_else(|| panic!("the unit says nothing of {key}"), |(.., value)| value.as_str())
    }

    /// A length of time.
    pub fn duration(&self, key: &str) -> Duration {
        let value = self.last(key);
        let digits = value.trim_end_matches(|c: char| !c.is_ascii_digit());
        let number: u64 = digits.parse().unwrap();
        match &value[digits.len()..] {
            "" | "s" => Duration::from_secs(number),
            "ms" => Duration::from_millis(number),
            "min" => Duration::from_secs(60 * number),
            unit => panic!("{key}={value}: {unit}?"),
        }
    }

    /// Whether systemd would start the service again after this end.
    pub fn restarts_after(&self, ended: std::process::ExitStatus) -> bool {
        assert_eq!(self.last("Restart"), "on-failure");
        let prevented = self.last("RestartPreventExitStatus").split_whitespace();
        let prevented: Vec<i32> = prevented.map(|code| code.parse().unwrap()).collect();
        !ended.success() && !ended.code().is_some_and(|code| prevented.contains(&code))
    }
}

const DROP_INS: [&str; 3] = ["credentials", "export-directory", "hooks"];

/// A folder with our unit, which starts a program that is installed here, and these of its drop-ins.
fn installed(drop_ins: &[&str]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let text = std::fs::read_to_string(file("systemd/xensnap.service")).unwrap();
    std::fs::write(folder.path().join("xensnap.service"), text.replace("/usr/bin/xensnap", "/bin/true")).unwrap();
    std::fs::create_dir(folder.path().join("xensnap.service.d")).unwrap();
    for name in drop_ins {
        let example = file(&format!("systemd/xensnap.service.d/{name}.conf.example"));
        std::fs::copy(example, folder.path().join(format!("xensnap.service.d/{name}.conf"))).unwrap();
    }
    folder
}

fn said(output: &std::process::Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn systemd_finds_nothing_to_say_about_the_unit_and_its_drop_ins() {
    for drop_ins in [&[][..], &DROP_INS] {
        let folder = installed(drop_ins);
        let unit = folder.path().join("xensnap.service");
        let Some(verified) = systemd("systemd-analyze", &["verify", "--man=no", unit.to_str().unwrap()]) else { return };
        assert_eq!((verified.status.success(), said(&verified).as_str()), (true, ""));
    }
}

#[test]
fn the_service_is_exposed_by_two_points_of_ten_at_most() {
    let unit = file("systemd/xensnap.service");
    let arguments = ["security", "--offline=true", "--threshold=20", "--no-pager", unit.to_str().unwrap()];
    let Some(judged) = systemd("systemd-analyze", &arguments) else { return };
    assert!(judged.status.success(), "{}", said(&judged));
}

#[test]
fn every_drop_in_is_an_example_that_is_not_in_force() {
    let entries = std::fs::read_dir(file("systemd/xensnap.service.d")).unwrap();
    let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    let mut expected: Vec<String> =
        DROP_INS.iter().chain(&["notify-reload"]).map(|name| format!("{name}.conf.example")).collect();
    expected.sort();
    assert_eq!(names, expected);
}

#[test]
fn the_user_and_the_folders_are_made_as_the_unit_needs_them() {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
    if std::fs::metadata("/proc/self").unwrap().uid() != 0 {
        eprintln!("skipped: only root can make users and folders of others");
        return;
    }
    let root = tempfile::tempdir().unwrap();
    std::fs::create_dir(root.path().join("etc")).unwrap();
    std::fs::write(root.path().join("etc/passwd"), "root:x:0:0::/root:/bin/sh\n").unwrap();
    std::fs::write(root.path().join("etc/group"), "root:x:0:\n").unwrap();
    let (at, users) = (format!("--root={}", root.path().display()), file("systemd/sysusers.d/xensnap.conf"));
    let Some(made) = systemd("systemd-sysusers", &[&at, users.to_str().unwrap()]) else { return };
    assert!(made.status.success(), "{}", said(&made));
    let folders = file("systemd/tmpfiles.d/xensnap.conf");
    let Some(made) = systemd("systemd-tmpfiles", &[&at, "--create", folders.to_str().unwrap()]) else { return };
    assert_eq!((made.status.success(), said(&made).as_str()), (true, ""));
    let passwd = std::fs::read_to_string(root.path().join("etc/passwd")).unwrap();
    let uid: u32 =
        passwd.lines().find_map(|line| line.strip_prefix("xensnap:x:")).unwrap().split(':').next().unwrap().parse().unwrap();
    let look = |path: &str| {
        let found = std::fs::metadata(root.path().join(path)).unwrap();
        (found.uid(), found.gid() == 0, found.permissions().mode() & 0o777)
    };
    assert_eq!(look("etc/xensnap/policies.d"), (0, false, 0o750));
    assert_eq!(look("etc/xensnap/credentials"), (0, true, 0o700));
    assert_eq!(look("var/lib/xensnap"), (uid, false, 0o750));
}

#[test]
fn drop_ins_come_after_the_unit_and_an_empty_value_takes_back() {
    let unit = Unit::with(&["[Service]\nWatchdogSec=500ms\nExecReload=\n"]);
    assert_eq!(unit.duration("WatchdogSec"), Duration::from_millis(500));
    assert_eq!(unit.all("ExecReload"), Vec::<&str>::new());
    assert!(Path::new(unit.last("ExecStart").split_whitespace().next().unwrap()).is_absolute());
}

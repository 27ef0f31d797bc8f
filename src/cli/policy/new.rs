//! `xensnap policy new`: a commented file to begin with. It is read as the daemon would before it is written, and a file that is
//! there is never touched.

use std::fs::OpenOptions;
use std::io::{BufRead, ErrorKind, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, anyhow};
use clap::Args as ClapArgs;

use super::super::Exit;
use super::super::check::DEFAULT;
use super::super::out::say;
use super::sheet::{Answers, Which, text};
use crate::clock::{Clock as _, SystemClock};
use crate::config::Config;

/// Writes a commented policy file. What no option says is asked for on a terminal; elsewhere the defaults count.
#[derive(Debug, Default, ClapArgs)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// The new file, or - to print it [default: named after the id, in policies.d beside the main file]
    file: Option<PathBuf>,
    /// What people call the policy
    #[arg(long)]
    name: Option<String>,
    /// Its identity, which stays when it is renamed [default: made from the name]
    #[arg(long)]
    id: Option<String>,
    /// When it fires: minute, hour, day of month, month, weekday [default: 30 2 * * *]
    #[arg(long)]
    cron: Option<String>,
    /// The zone in which times are meant [default: the machine's]
    #[arg(long)]
    zone: Option<String>,
    /// VMs with this tag; may be given several times
    #[arg(long = "tag", value_name = "TAG", conflicts_with_all = ["vms", "all"])]
    tags: Vec<String>,
    /// VMs whose names fit this glob; may be given several times
    #[arg(long = "vm", value_name = "GLOB", conflicts_with = "all")]
    vms: Vec<String>,
    /// Every VM
    #[arg(long)]
    all: bool,
    /// disk, quiesced, memory or offline [default: disk]
    #[arg(long)]
    kind: Option<String>,
    /// How many days to keep one of [default: 7]
    #[arg(long, value_name = "COUNT")]
    daily: Option<u32>,
    /// How many weeks to keep one of [default: 4]
    #[arg(long, value_name = "COUNT")]
    weekly: Option<u32>,
    /// Snapshots are taken and removed at once; without it the policy only observes until its file is changed
    #[arg(long)]
    in_earnest: bool,
    /// The main file, beside which the policies lie
    #[arg(long, value_name = "FILE", default_value = DEFAULT)]
    config: PathBuf,
}

const EXAMPLES: &str = "Examples:
  xensnap policy new                                          asks a few questions
  xensnap policy new --name Nightly --tag backup:nightly      asks the rest
  xensnap policy new - --name Weekly --all --cron '0 3 * * sun' < /dev/null";

/// Writes or prints.
///
/// # Errors
/// When an answer is wrong, or the file cannot be written or exists.
pub(super) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let stdin = std::io::stdin();
    let mut answers = if stdin.is_terminal() { asked(&args, &mut stdin.lock())? } else { given(&args)? };
    // The reader makes an id of a name; it stands in the file, so that a rename does not change it.
    let id = read(&text(&answers))?;
    answers.id = Some(id.clone());
    let text = text(&answers);
    read(&text)?;
    match args.file.as_deref() {
        Some(file) if file == Path::new("-") => say!("{}", text.trim_end()),
        Some(file) => write(file, &text, &args.config)?,
        None => {
            let folder = args.config.parent().unwrap_or(Path::new("")).join("policies.d");
            write(&folder.join(format!("{id}.toml")), &text, &args.config)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Reads the text as the daemon would, and gives the policy's id.
fn read(text: &str) -> anyhow::Result<String> {
    let main = ("xensnap.toml", "installation = \"any\"\n");
    match Config::from_texts(main, &[("the new policy", text)], SystemClock::new().now()) {
        Ok(loaded) => {
            let policy = loaded.config.policies.first().context("no policy was made of the answers")?;
            Ok(policy.policy.id.to_string())
        }
        Err(problems) => {
            let drawn = problems.render(std::io::stderr().is_terminal());
            Err(Exit::usage(format!("no file was written\n{drawn}")).into())
        }
    }
}

fn write(file: &Path, text: &str, config: &Path) -> anyhow::Result<()> {
    let opened = OpenOptions::new().write(true).create_new(true).open(file);
    let mut opened = opened.map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => anyhow!("{} exists and was not touched; name another file", file.display()),
        ErrorKind::NotFound => anyhow!("the folder of {} does not exist; create it, or name another file", file.display()),
        _ => anyhow!("{} cannot be written: {error}", file.display()),
    })?;
    opened.write_all(text.as_bytes()).with_context(|| format!("{} cannot be written", file.display()))?;
    say!("{} is written; `xensnap check --config {}` says what it means", file.display(), config.display());
    Ok(())
}

/// What the options say, and defaults for the rest.
fn given(args: &Args) -> anyhow::Result<Answers> {
    let name = args.name.clone().ok_or_else(|| Exit::usage("a policy needs --name; on a terminal it is asked for".to_owned()))?;
    let which = which(args).ok_or_else(|| Exit::usage("say which VMs: --tag, --vm or --all".to_owned()))?;
    Ok(complete(args, name, which))
}

fn which(args: &Args) -> Option<Which> {
    match (args.all, args.tags.as_slice(), args.vms.as_slice()) {
        (true, ..) => Some(Which::All),
        (_, [], []) => None,
        (_, [], names) => Some(Which::Names(names.to_vec())),
        (_, tags, _) => Some(Which::Tags(tags.to_vec())),
    }
}

fn complete(args: &Args, name: String, which: Which) -> Answers {
    Answers {
        name,
        id: args.id.clone(),
        cron: args.cron.clone().unwrap_or_else(|| CRON.to_owned()),
        zone: args.zone.clone().unwrap_or_else(machines_zone),
        which,
        kind: args.kind.clone().unwrap_or_else(|| "disk".to_owned()),
        daily: args.daily.unwrap_or(DAILY),
        weekly: args.weekly.unwrap_or(WEEKLY),
        observe: !args.in_earnest,
    }
}

const CRON: &str = "30 2 * * *";
const DAILY: u32 = 7;
const WEEKLY: u32 = 4;

/// The name of the zone that the machine is in.
fn machines_zone() -> String {
    jiff::tz::TimeZone::system().iana_name().unwrap_or("UTC").to_owned()
}

/// Asks for what no option says. An empty answer is the default.
fn asked(args: &Args, input: &mut impl BufRead) -> anyhow::Result<Answers> {
    let name = match &args.name {
        Some(name) => name.clone(),
        None => ask("What shall the policy be called?", "Nightly", input)?,
    };
    let which = match which(args) {
        Some(which) => which,
        None => match ask("Which VMs? tag:NAME, a name such as db-*, or all", "tag:backup:nightly", input)?.as_str() {
            "all" => Which::All,
            answer => match answer.strip_prefix("tag:") {
                Some(tag) => Which::Tags(vec![tag.to_owned()]),
                None => Which::Names(vec![answer.to_owned()]),
            },
        },
    };
    let mut answers = complete(args, name, which);
    if args.cron.is_none() {
        answers.cron = ask("When? Minute, hour, day of month, month, weekday", CRON, input)?;
    }
    if args.zone.is_none() {
        answers.zone = ask("In which time zone?", &answers.zone, input)?;
    }
    for (count, given, what) in [(&mut answers.daily, args.daily, "days"), (&mut answers.weekly, args.weekly, "weeks")] {
        if given.is_none() {
            let answer = ask(&format!("How many {what} to keep one snapshot of?"), &count.to_string(), input)?;
            *count = answer.parse().map_err(|_| Exit::usage(format!("\"{answer}\" is no number; nothing was written")))?;
        }
    }
    Ok(answers)
}

fn ask(question: &str, default: &str, input: &mut impl BufRead) -> anyhow::Result<String> {
    eprint!("{question} [{default}] ");
    let mut line = String::new();
    input.read_line(&mut line).context("the answer cannot be read")?;
    let answer = line.trim();
    Ok(if answer.is_empty() { default.to_owned() } else { answer.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_answer_is_the_default_and_a_given_option_is_not_asked_for() {
        let args = Args { zone: Some("UTC".to_owned()), ..Args::default() };
        let answers = asked(&args, &mut "\n\n\n\n\n".as_bytes()).unwrap();
        let expected = complete(&args, "Nightly".to_owned(), Which::Tags(vec!["backup:nightly".to_owned()]));
        assert_eq!(answers, expected);
        assert!(answers.observe);
        assert_eq!(read(&text(&answers)).unwrap(), "nightly");
    }

    #[test]
    fn answers_count() {
        let args = Args { zone: Some("UTC".to_owned()), in_earnest: true, ..Args::default() };
        let answers = asked(&args, &mut "My \"big\" DBs\ndb-*\n@hourly\n3\n0\n".as_bytes()).unwrap();
        assert_eq!(answers.which, Which::Names(vec!["db-*".to_owned()]));
        assert_eq!((answers.cron.as_str(), answers.daily, answers.weekly, answers.observe), ("@hourly", 3, 0, false));
        assert_eq!(read(&text(&answers)).unwrap(), "my-big-dbs");
        assert!(asked(&args, &mut "a\nall\n\nmany\n\n".as_bytes()).is_err());
    }
}

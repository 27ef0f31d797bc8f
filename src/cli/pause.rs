//! `xensnap pause` and `resume`: for some time nothing is begun about a part of the world.

use std::process::ExitCode;

use chrono::{DateTime, NaiveTime, Utc};
use clap::{Args as ClapArgs, ValueEnum};

use super::Exit;
use super::asking::{Asking, carry_out};
use super::view::{Moment, Times};
use crate::clock::{Clock as _, SystemClock};
use crate::daemon::{Ask, Pausable};
use crate::domain::span::Exact;

/// A kind of thing that can be paused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// Everything
    All,
    /// A policy, by id or name
    Policy,
    /// A pool, by its configured name or uuid
    Pool,
    /// What touches a storage repository, by name or uuid
    Sr,
    /// The VMs that are on a host, by name or uuid
    Host,
    /// A VM, by name or uuid
    Vm,
}

/// Begins nothing about a part of the world for a while, for maintenance. Slots that come due meanwhile are recorded as skipped, with
/// the reason. What works already goes on to its end. A restart forgets no pause.
#[derive(Debug, ClapArgs)]
#[command(after_help = "Examples:
  xensnap pause host xen1 --until 18:00 --reason \"new memory\"
  xensnap pause sr san-2 --until 4h
  xensnap pause all --until 2027-01-02")]
pub(super) struct PauseArgs {
    #[command(flatten)]
    what: What,
    /// Until when: 18:00, 2027-01-31, "2027-01-31 06:00", an instant with its zone, or 4h from now [default: until it is resumed]
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Why, for whoever wonders
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    reason: String,
    #[command(flatten)]
    asking: Asking,
}

/// Ends a pause before its time; `all` ends all that there are. What was due meanwhile stays skipped.
#[derive(Debug, ClapArgs)]
pub(super) struct ResumeArgs {
    #[command(flatten)]
    what: What,
    #[command(flatten)]
    asking: Asking,
}

#[derive(Debug, ClapArgs)]
struct What {
    /// What kind of thing
    #[arg(value_enum)]
    kind: Kind,
    /// Which one; nothing with `all`
    name: Option<String>,
}

/// Pauses.
///
/// # Errors
/// When the time is none, or there is no such thing.
pub(super) async fn pause(args: PauseArgs) -> anyhow::Result<ExitCode> {
    let times = Times::new(SystemClock::new().now(), false);
    let until = args.until.as_deref().map(|until| ahead(until, &times)).transpose()?;
    carry_out(&args.asking, Ask::Pause { what: args.what.named()?, until, reason: args.reason }).await
}

/// Resumes.
///
/// # Errors
/// When that is not paused.
pub(super) async fn resume(args: ResumeArgs) -> anyhow::Result<ExitCode> {
    carry_out(&args.asking, Ask::Resume { what: args.what.named()? }).await
}

impl What {
    fn named(self) -> anyhow::Result<Pausable> {
        let what = match (self.kind, self.name) {
            (Kind::All, None) => Pausable::All {},
            (Kind::Policy, Some(name)) => Pausable::Policy(name),
            (Kind::Pool, Some(name)) => Pausable::Pool(name),
            (Kind::Sr, Some(name)) => Pausable::Sr(name),
            (Kind::Host, Some(name)) => Pausable::Host(name),
            (Kind::Vm, Some(name)) => Pausable::Vm(name),
            (Kind::All, Some(name)) => {
                return Err(Exit::usage(format!("`all` is everything and takes no name; leave {name} out")).into());
            }
            (_, None) => return Err(Exit::usage("say which one, for example: xensnap pause policy nightly".to_owned()).into()),
        };
        Ok(what)
    }
}

/// A time that is to come, as people write it; a time of day is the next one.
fn ahead(text: &str, times: &Times) -> anyhow::Result<DateTime<Utc>> {
    let length =
        text.parse::<Exact>().ok().and_then(|length| times.now.checked_add_signed(chrono::TimeDelta::from_std(length.0).ok()?));
    let of_day = || NaiveTime::parse_from_str(text, "%H:%M").ok().map(|time| times.next_at(time));
    let moment = || text.parse::<Moment>().map(|moment| moment.instant(times));
    match length.or_else(of_day) {
        Some(at) => Ok(at),
        None => moment().map_err(|_| {
            let text = format!(
                "\"{text}\" is no time; write 18:00, 2027-01-31, \"2027-01-31 06:00\", 2027-01-31T06:00:00Z, or 4h from now"
            );
            Exit::usage(text).into()
        }),
    }
}

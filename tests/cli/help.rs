//! What `--help` says.

use snapbox::str;

use crate::world::*;

#[test]
fn history_explains_itself() {
    xensnap(100).args(["history", "--help"]).assert().success().stdout_eq(str![[r#"
Show what was done: runs, jobs of a VM, due times; or copy the history

Usage: xensnap history [OPTIONS]

Options:
      --policy <ID|NAME>  Only of this policy
      --vm <NAME|UUID>    The jobs of this VM instead of runs
      --pool <NAME|UUID>  Only on this pool
      --slots             Every due time instead of runs: also those missed or skipped, with the
                          reason
      --since <TIME>      Not before this time: 2026-03-01, "2026-03-01 02:00", or 7d for a week ago
      --until <TIME>      Before this time
      --outcome <WORD>    Only runs with this outcome, such as failed; jobs (with --vm) or due times
                          (with --slots) in this state [alias: --state]
      --limit <COUNT>     How many to show [default: 50]
      --after <PLACE>     Go on after the place that the page before named
      --backup <FILE>     Copy the history to this new file, safely while the daemon runs
      --config <FILE>     The configuration, which says where the history is and what the policies
                          are [default: /etc/xensnap/xensnap.toml]
      --database <FILE>   This history instead, such as a copy; what depends on policies is left out
                          unless --config is given too
      --utc               Show times in UTC
      --json              Print one JSON object for programs (docs/JSON.md)
  -v, --verbose...        Say more on standard error (twice: details). XENSNAP_LOG overrides it
  -h, --help              Print help

Examples:
  xensnap history --outcome failed --since 7d     what went wrong this week
  xensnap history --vm web-01                     every job of one VM
  xensnap history --slots --policy nightly        every night, also those that did not run
  xensnap history --backup /backup/xensnap.db     a copy that can be restored

"#]]);
}

#[test]
fn next_explains_itself() {
    xensnap(100).args(["next", "--help"]).assert().success().stdout_eq(str![[r#"
Show when each policy fires next

Usage: xensnap next [OPTIONS]

Options:
      --count <COUNT>     So many slots of each policy [default: 1]
      --policy <ID|NAME>  Only of this policy
      --config <FILE>     The configuration, which says where the history is and what the policies
                          are [default: /etc/xensnap/xensnap.toml]
      --database <FILE>   This history instead, such as a copy; what depends on policies is left out
                          unless --config is given too
      --utc               Show times in UTC
      --json              Print one JSON object for programs (docs/JSON.md)
  -v, --verbose...        Say more on standard error (twice: details). XENSNAP_LOG overrides it
  -h, --help              Print help

Columns:
  NEXT, LEFT    the coming slot, and how long until then
  LAST, PASSED  the newest slot that was decided, whatever became of it, and how long ago that was

Examples:
  xensnap next --policy nightly --count 14     two weeks of one policy, with its blackouts

"#]]);
}

#[test]
fn show_explains_itself() {
    xensnap(100).args(["show", "--help"]).assert().success().stdout_eq(str![[r#"
Show everything about one run, VM or snapshot

Usage: xensnap show [OPTIONS] <RUN|VM|SNAPSHOT>

Arguments:
  <RUN|VM|SNAPSHOT>  A run (number or uuid), a VM (name or uuid), or a snapshot (uuid or the
                     beginning of one)

Options:
      --pool <NAME|UUID>  The pool it is in, where several have one that is called so
      --config <FILE>     The configuration, which says where the history is and what the policies
                          are [default: /etc/xensnap/xensnap.toml]
      --database <FILE>   This history instead, such as a copy; what depends on policies is left out
                          unless --config is given too
      --utc               Show times in UTC
      --json              Print one JSON object for programs (docs/JSON.md)
  -v, --verbose...        Say more on standard error (twice: details). XENSNAP_LOG overrides it
  -h, --help              Print help

Examples:
  xensnap show 1204         a run: its jobs, calls, removals and events
  xensnap show web-01       a VM: its snapshots and newest jobs
  xensnap show 6a3b1f0e     a snapshot: its disks, mark, pin and removals

"#]]);
}

#[test]
fn snapshots_explains_itself() {
    xensnap(100).args(["snapshots", "--help"]).assert().success().stdout_eq(str![[r#"
Show the snapshots that exist, why each stays, and when it goes

Usage: xensnap snapshots [OPTIONS]

Options:
      --vm <NAME|UUID>    Only of this VM
      --policy <ID|NAME>  Only of this policy
      --pool <NAME|UUID>  Only in this pool
      --all               Also those that are gone: the newest thousand of all
      --config <FILE>     The configuration, which says where the history is and what the policies
                          are [default: /etc/xensnap/xensnap.toml]
      --database <FILE>   This history instead, such as a copy; what depends on policies is left out
                          unless --config is given too
      --utc               Show times in UTC
      --json              Print one JSON object for programs (docs/JSON.md)
  -v, --verbose...        Say more on standard error (twice: details). XENSNAP_LOG overrides it
  -h, --help              Print help

States:
  taken     it exists and has no mark yet        removing  it is on its way out
  marked    the server may still forget it       removed   removed by us, with its disks
  durable   it survives a crash of the server    vanished  gone without us
  detached  turned into a VM, or its disks are used elsewhere: never removed by itself
  ghost     removed, and back because the server forgot: counts for nothing, goes again
  released  given to somebody else

`xensnap show SNAPSHOT` takes a uuid or the beginning of one.

"#]]);
}

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

#[test]
fn status_explains_itself() {
    xensnap(100).args(["status", "--help"]).assert().success().stdout_eq(str![[r#"
Show what runs, what comes, and what is wrong

Usage: xensnap status [OPTIONS]

Options:
      --check            One line for a monitoring system, with its exit codes
      --watch            Look again every two seconds, until interrupted
      --json             Print one JSON object for programs (docs/JSON.md)
      --utc              Show times in UTC
      --config <FILE>    The main file, which says where the service's socket and the history are
                         [default: /etc/xensnap/xensnap.toml]
      --socket <SOCKET>  The service's socket, whatever the main file says
  -v, --verbose...       Say more on standard error (twice: details). XENSNAP_LOG overrides it
  -h, --help             Print help

Exit codes: 0 a service answers, 1 none does, and the history was read instead.
With --check: 0 all is well, 1 somebody should look, 2 a promise is broken or no service answers, 3
it cannot be told.

What is wrong stays in the list until something puts it right: a failed run until the next of that
policy and pool succeeds.

"#]]);
}

#[test]
fn coverage_explains_itself() {
    xensnap(100).args(["coverage", "--help"]).assert().success().stdout_eq(str![[r#"
Show what protects each VM, and whether its promise is kept

Usage: xensnap coverage [OPTIONS]

Options:
      --gaps             Only VMs whose promise is broken, or that nobody protects
      --json             Print one JSON object for programs (docs/JSON.md)
      --utc              Show times in UTC
      --config <FILE>    The main file, which says where the service's socket and the history are
                         [default: /etc/xensnap/xensnap.toml]
      --socket <SOCKET>  The service's socket, whatever the main file says
  -v, --verbose...       Say more on standard error (twice: details). XENSNAP_LOG overrides it
  -h, --help             Print help

A snapshot is good once it is marked, on the disk of the pool's database, and to be seen in the
pool.
The promise (RPO) of a policy is its rpo, or else the longest time between two of its slots, and a
quarter of it, an hour at least, for the run itself.

Of a pool that is not reached the history tells what it knows.

Exit codes: 0 all promises are kept, 1 one is broken.

"#]]);
}

#[test]
fn pause_explains_itself() {
    xensnap(100).args(["pause", "--help"]).assert().success().stdout_eq(str![[r#"
Begin nothing about a part of the world for a while

Usage: xensnap pause [OPTIONS] <KIND> [NAME]

Arguments:
  <KIND>
          What kind of thing

          Possible values:
          - all:    Everything
          - policy: A policy, by id or name
          - pool:   A pool, by its configured name or uuid
          - sr:     What touches a storage repository, by name or uuid
          - host:   The VMs that are on a host, by name or uuid
          - vm:     A VM, by name or uuid

  [NAME]
          Which one; nothing with `all`

Options:
      --until <TIME>
          Until when: 18:00, 2027-01-31, "2027-01-31 06:00", an instant with its zone, or 4h from
          now [default: until it is resumed]

      --reason <TEXT>
          Why, for whoever wonders

      --config <FILE>
          The main file, which says where the service's socket and the history are
          
          [default: /etc/xensnap/xensnap.toml]

      --socket <SOCKET>
          The service's socket, whatever the main file says

  -v, --verbose...
          Say more on standard error (twice: details). XENSNAP_LOG overrides it

  -h, --help
          Print help (see a summary with '-h')

Examples:
  xensnap pause host xen1 --until 18:00 --reason "new memory"
  xensnap pause sr san-2 --until 4h
  xensnap pause all --until 2027-01-02

"#]]);
}

#[test]
fn cancel_explains_itself() {
    xensnap(100).args(["cancel", "--help"]).assert().success().stdout_eq(str![[r#"
End a run, or what is under way about a VM, before it is done

Usage: xensnap cancel [OPTIONS] <RUN|VM>

Arguments:
  <RUN|VM>  The number of a run, or a VM by name or uuid

Options:
      --config <FILE>    The main file, which says where the service's socket and the history are
                         [default: /etc/xensnap/xensnap.toml]
      --socket <SOCKET>  The service's socket, whatever the main file says
  -v, --verbose...       Say more on standard error (twice: details). XENSNAP_LOG overrides it
  -h, --help             Print help

Examples:
  xensnap cancel 412          the run that `xensnap status` shows as 412
  xensnap cancel db-01        whatever is under way about this VM

"#]]);
}

#[test]
fn reload_explains_itself() {
    xensnap(100).args(["reload", "--help"]).assert().success().stdout_eq(str![[r#"
Let the service read its configuration anew, and say what changed

Usage: xensnap reload [OPTIONS]

Options:
      --config <FILE>    The main file, which says where the service's socket and the history are
                         [default: /etc/xensnap/xensnap.toml]
      --socket <SOCKET>  The service's socket, whatever the main file says
  -v, --verbose...       Say more on standard error (twice: details). XENSNAP_LOG overrides it
  -h, --help             Print help

Exit codes: 0 the files are in force, 78 they have errors and those of before stay in force, 1
nobody answers.

What is read anew: policies and templates. Pools, passwords, the history and the socket are read
when the service starts.

"#]]);
}

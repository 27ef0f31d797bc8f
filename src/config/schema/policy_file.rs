//! A policy file. Lengths of time are written 90s, 15m, 1h30m, 2d.

use super::{Block, Key, Shape, block, may, must, needed};

/// A file in the folder of policies.
pub static POLICIES: Block = block("policy file", "Policies, and templates they inherit from.", &[RULES]);

/// What the main file may say too.
pub(super) const RULES: &[Key] = &[
    may("policy", Shape::Tables(&POLICY), "", "The policies."),
    may("template", Shape::Named(&TEMPLATE), "", "What several policies share, in any of the files: [template.NAME]."),
];

static POLICY: Block =
    block("policy", "One named rule: which VMs, when, what kind of snapshot, what to keep.", &[IDENTITY, SHARED]);

static TEMPLATE: Block = block(
    "template",
    "What several policies share: a policy takes it over with inherit = \"NAME\", key by key, and what it says itself counts.",
    &[SHARED],
);

const IDENTITY: &[Key] = &[
    must("name", Shape::Text, "What people call it: 1 to 64 characters."),
    may(
        "id",
        Shape::Text,
        "",
        "The identity of the policy: it stands in the mark of each snapshot and stays when the policy is renamed. Without it, it is \
         made from the name.",
    ),
];

const SHARED: &[Key] = &[
    may("inherit", Shape::Text, "", "The template from which whatever is not said here is taken."),
    may("enabled", Shape::Flag, "true", "Whether it fires."),
    may("observe", Shape::Flag, "false", "Plans and records without touching anything."),
    may("priority", Shape::Number(0, 100), "50", "Higher goes first where several policies want the same storage."),
    may("pools", Shape::Texts, "", "The pools it covers, by name; without it, all of them."),
    needed("schedule", Shape::Table(&SCHEDULE), "When it fires."),
    needed("select", Shape::Table(&SELECT), "Which VMs it covers."),
    may("snapshot", Shape::Table(&SNAPSHOT), "", "How snapshots are taken."),
    may("hooks", Shape::Tables(&HOOK), "", "Commands around snapshots."),
    may(
        "rpo",
        Shape::Text,
        "",
        "An alarm is raised while the newest good snapshot of a VM is older than this: \"26h\". Without it, the longest time between two \
         due times and a quarter of it, which alarms tell by the digest.",
    ),
    needed("retention", Shape::Table(&RETENTION), "What is kept."),
    may("limits", Shape::Table(&LIMITS), "", "How much of it works at once."),
    may("guards", Shape::Table(&GUARDS), "", "What is looked at before a snapshot is begun or removed."),
];

static SCHEDULE: Block = block(
    "policy.schedule",
    "When it fires.",
    &[&[
        needed(
            "cron",
            Shape::Texts,
            "Minute, hour, day of month, month, weekday; six fields begin with the second; @daily and its like; several as a list.",
        ),
        needed(
            "zone",
            Shape::Text,
            "The zone in which times are meant, days are counted and names are written: Europe/Berlin, UTC.",
        ),
        may(
            "spread",
            Shape::Text,
            "\"0s\"",
            "VMs start at places of their own in this time, the same every night, so that they do not hit the storage at once.",
        ),
        may(
            "window",
            Shape::Texts,
            "",
            "Jobs start in this time only: \"22:00-06:00\"; days may stand before the times: \"Sat,Sun\", \"Mon-Fri 20:00-06:00\".",
        ),
        may(
            "blackout",
            Shape::Texts,
            "",
            "No snapshots on these days, whatever the window says: every year (\"12-31..01-01\"), or once (\"2026-12-24..2027-01-02\").",
        ),
        may("deadline", Shape::Text, "", "What has not started by then, from the due time on, is recorded as not done."),
        may(
            "catch_up",
            Shape::Choice(&["none", "one"]),
            "\"one\"",
            "After a night that was missed: one run as soon as possible unless it is older than catch_up_max_age, or none.",
        ),
        may("catch_up_max_age", Shape::Text, "\"1d\"", "What was missed longer ago is not made up for."),
        may("run_on_start", Shape::Flag, "false", "Fires when the daemon starts, too."),
    ]],
);

static SELECT: Block = block(
    "policy.select",
    "A VM is covered when one of `include` fits, or all = true, and none of `exclude` does.",
    &[&[
        may("all", Shape::Flag, "false", "Every VM, instead of include."),
        may("include", Shape::Tables(&CLAUSE), "", "VMs that are covered; within braces all conditions must fit."),
        may("exclude", Shape::Tables(&CLAUSE), "", "VMs that are not covered, whatever includes them."),
        may(
            "honour_no_bak",
            Shape::Flag,
            "false",
            "Xen Orchestra's tag \"xo:no-bak\" keeps a VM out, as \"xensnap:skip\" always does.",
        ),
    ]],
);

static CLAUSE: Block = block(
    "policy.select.include, policy.select.exclude",
    "Conditions about a VM, all of which must fit; of several values in brackets one must.",
    &[&[
        may("uuid", Shape::Texts, "", "Its uuid."),
        may("name", Shape::Texts, "", "Its name, as a glob: \"db-*\"."),
        may("name_exact", Shape::Texts, "", "Its name, to the letter."),
        may("name_regex", Shape::Texts, "", "Its name, as a regular expression."),
        may("tag", Shape::Texts, "", "One of its tags, as a glob."),
        may("folder", Shape::Texts, "", "Its folder in XenCenter, or one above it: \"/Production\"."),
        may("power", Shape::Texts, "", "Its power state: \"running\", \"halted\", \"paused\" or \"suspended\"."),
        may("pool", Shape::Texts, "", "Its pool, by uuid or name."),
        may("host", Shape::Texts, "", "The host it runs on, by uuid or name."),
        may("sr", Shape::Texts, "", "A storage repository of one of its disks, by uuid or name."),
        may("vapp", Shape::Texts, "", "Its vApp, by uuid or name."),
        may("other_config", Shape::Texts, "", "An entry of its other_config: \"key\", or \"key=value\"."),
    ]],
);

static SNAPSHOT: Block = block(
    "policy.snapshot",
    "How snapshots are taken.",
    &[&[
        may(
            "kind",
            Shape::Choice(&["disk", "quiesced", "memory", "offline"]),
            "\"disk\"",
            "The disks as they are, after the guest wrote out its buffers, with the memory, or of a VM that is shut down for it.",
        ),
        may(
            "fallback",
            Shape::Choice(&["fail", "disk"]),
            "\"fail\"",
            "Where quiesced or memory cannot be had: the job fails, or the disks are taken as they are.",
        ),
        may("shutdown_timeout", Shape::Text, "\"5m\"", "How long a guest may take to shut down for offline."),
        may("exclude_disks", Shape::Tables(&DISK), "", "Disks that are left out."),
        may(
            "name",
            Shape::Text,
            "\"{policy} {due:%Y-%m-%d %H:%M}\"",
            "The name of a snapshot. In braces: vm, policy, policy_id, due (with a form of strftime), zone, run, kind.",
        ),
        may(
            "description",
            Shape::Text,
            "\"{kind} snapshot of {vm} by xensnap, policy {policy_id}, due {due:%Y-%m-%d %H:%M} {zone}, run {run}\"",
            "The description of a snapshot, with the same words.",
        ),
    ]],
);

static DISK: Block = block(
    "policy.snapshot.exclude_disks",
    "Conditions about a disk, all of which must fit; of several values in brackets one must.",
    &[&[
        may("uuid", Shape::Texts, "", "Its uuid."),
        may("name", Shape::Texts, "", "Its name, as a glob: \"*swap*\"."),
        may("tag", Shape::Texts, "", "One of its tags, as a glob."),
        may("sr", Shape::Texts, "", "Its storage repository, by uuid or name."),
        may("position", Shape::TextsOrNumber, "", "Its place in the VM: 0 is the first."),
    ]],
);

static HOOK: Block = block(
    "policy.hooks",
    "A command around snapshots. What runs after something runs whatever happened before.",
    &[&[
        must("phase", Shape::Choice(&["before_run", "after_run", "before_vm", "after_vm"]), "When it runs."),
        must("command", Shape::Texts, "The program by its full path, and its arguments; no shell is involved."),
        may("environment", Shape::Map, "", "Variables, besides those that describe run and VM and begin with XENSNAP_."),
        may("timeout", Shape::Text, "\"60s\"", "It is ended when it takes longer."),
        may("on_failure", Shape::Choice(&["fail", "continue"]), "\"fail\"", "What its failure means."),
    ]],
);

static RETENTION: Block = block(
    "policy.retention",
    "What is kept. The rules add up: what one of them keeps stays. Periods are counted in the policy's zone.",
    &[&[
        may("last", Shape::Number(0, MOST), "0", "The newest so many."),
        may("hourly", Shape::Number(0, MOST), "0", "The newest of each of so many hours."),
        may("daily", Shape::Number(0, MOST), "0", "The newest of each of so many days."),
        may("weekly", Shape::Number(0, MOST), "0", "The newest of each of so many ISO weeks."),
        may("monthly", Shape::Number(0, MOST), "0", "The newest of each of so many months."),
        may("yearly", Shape::Number(0, MOST), "0", "The newest of each of so many years."),
        may("within", Shape::Text, "", "Everything up to so long before the newest: \"6h\", \"14d\", \"2mo\"."),
        may("min", Shape::Number(1, MOST), "1", "Whatever happens, so many of the newest stay."),
        may(
            "order",
            Shape::Choice(&["snapshot-first", "prune-first"]),
            "\"snapshot-first\"",
            "\"prune-first\" makes room before the new snapshot, for tight storage; one good snapshot stays all the same.",
        ),
        may(
            "on_vm_deleted",
            Shape::Text,
            "\"keep\"",
            "What becomes of the snapshots of a VM that was deleted: \"keep\", or \"remove after 90d\".",
        ),
        may(
            "on_policy_removed",
            Shape::Text,
            "\"keep\"",
            "What becomes of all snapshots once the policy is in no file any more: \"keep\", or \"remove after 90d\".",
        ),
    ]],
);

/// The most that a rule may keep.
const MOST: u32 = 100_000;

static LIMITS: Block = block(
    "policy.limits",
    "How much of it works at once, below the limits of the daemon.",
    &[&[
        may("per_sr", Shape::Number(1, 1000), "", "Storage operations on one SR."),
        may("per_host", Shape::Number(1, 1000), "", "Jobs of VMs on one host."),
        may("per_pool", Shape::Number(1, 1000), "", "Jobs in one pool."),
    ]],
);

static GUARDS: Block = block(
    "policy.guards",
    "What is looked at before a snapshot is begun or removed, by what the pool shows: nothing is tried to see what comes of it.",
    &[&[
        may("space_reserve", Shape::Text, "\"5%\"", "What stays free on each SR: a share (\"10%\"), or bytes (\"50GiB\")."),
        may(
            "on_low_space",
            Shape::Choice(&["skip", "prune-first", "go-ahead"]),
            "\"skip\"",
            "Where a snapshot would go into the reserve: the VM's job fails with the reason; or what retention gives up is removed before, \
             and the job waits in its window for the space; or it is taken all the same, and the history says so.",
        ),
        may(
            "chain_warn",
            Shape::Number(2, 29),
            "20",
            "From so many layers of a disk's chain on the history says so; the snapshot is taken.",
        ),
        may(
            "chain_refuse",
            Shape::Number(2, 29),
            "28",
            "From so many layers on the VM gets no snapshot: the server itself refuses at 30, and other tools want to take some too.",
        ),
        may(
            "coalesce",
            Shape::Choice(&["wait", "refuse"]),
            "\"wait\"",
            "Where the storage alone would make the chain short enough, the job waits for that in its window; or it fails at once.",
        ),
        may(
            "max_removals_per_vm",
            Shape::Number(0, MOST),
            "",
            "So many snapshots of one VM go in a run without a person's word; of more, none goes until somebody agrees (`xensnap prune \
             --approve`). By default what a run gives up by the rules, and room for a missed week; 25 at most.",
        ),
        may(
            "max_removals_per_run",
            Shape::Number(0, MOST),
            "",
            "So many go in a run in all; VMs beyond wait for a later run, or for a person's word. By default as many as the rules and \
             a missed week tell, of all its VMs.",
        ),
    ]],
);

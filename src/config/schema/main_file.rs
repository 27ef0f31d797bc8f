//! The main file, xensnap.toml.

use super::policy_file::RULES;
use super::{Block, Key, Shape, block, may, must};

/// The main file.
pub static CONFIG: Block =
    block("xensnap.toml", "Who this installation is, how the daemon works, which pools there are.", &[MAIN, RULES]);

const MAIN: &[Key] = &[
    must(
        "installation",
        Shape::Text,
        "Who this installation is: letters, digits, \"-\", \"_\" and \".\". It stands in the mark of every snapshot and decides whose \
         the snapshot is, so no two installations may share it, and it is never changed later.",
    ),
    may(
        "policies",
        Shape::Text,
        "\"policies.d\"",
        "The folder of the policy files. Every *.toml in it is read, in the order of the names.",
    ),
    may("daemon", Shape::Table(&DAEMON), "", "How the daemon works."),
    may("store", Shape::Table(&STORE), "", "Where the history lies."),
    may("metrics", Shape::Table(&METRICS), "", "Figures for Prometheus; without this table nothing listens."),
    may("alarms", Shape::Table(&ALARMS), "", "Who is told of what goes wrong; without this table the journal alone."),
    may("pool", Shape::Tables(&POOL), "", "The pools, each with all its hosts that may become master."),
];

static DAEMON: Block = block(
    "daemon",
    "How the daemon works.",
    &[&[
        may(
            "drain_grace",
            Shape::Text,
            "\"60s\"",
            "How long jobs may go on after SIGTERM, up to 1h. What is not done by then is found and finished by the next start.",
        ),
        may(
            "reconcile_interval",
            Shape::Text,
            "\"10m\"",
            "How often the pool is compared with the history, besides whenever something gives cause: 10s to 1d.",
        ),
        may(
            "sync_interval",
            Shape::Text,
            "\"60s\"",
            "The pool is asked to write its database to disk at most this often, 1s to 1h; runs that end together share the call.",
        ),
        may(
            "socket",
            Shape::Text,
            "\"/run/xensnap/control.sock\"",
            "Where people and their tools talk to the daemon: `xensnap status`, `run`, `reload` and others.",
        ),
        may(
            "socket_group",
            Shape::Text,
            "\"\"",
            "Members of this group may ask what the daemon does; what changes something is for root and the daemon's own user.",
        ),
        may("limits", Shape::Table(&LIMITS), "", "How much is done at once."),
    ]],
);

static LIMITS: Block = block(
    "daemon.limits",
    "How much is done at once, in all policies together; a policy may ask for less.",
    &[&[
        may(
            "per_sr",
            Shape::Number(1, 1000),
            "1",
            "Storage operations on one SR. The server does one at a time and puts whoever else asks to sleep for up to 20 s: 1 is the \
             fastest, 2 does no harm.",
        ),
        may("per_host", Shape::Number(1, 1000), "16", "Jobs of VMs on one host."),
        may("per_pool", Shape::Number(1, 1000), "32", "Jobs in one pool."),
        may(
            "uncoalesced",
            Shape::Number(1, 1_000_000),
            "500",
            "Where so many layers on one SR wait to be coalesced, removals there wait: more of them would free nothing before.",
        ),
    ]],
);

static STORE: Block = block(
    "store",
    "Where the history lies.",
    &[&[
        may("path", Shape::Text, "\"/var/lib/xensnap/history.sqlite\"", "The SQLite file."),
        may(
            "keep",
            Shape::Text,
            "\"400d\"",
            "How long finished runs stay in it. A snapshot that exists stays in it whatever its age.",
        ),
    ]],
);

static METRICS: Block = block(
    "metrics",
    "Figures for Prometheus. Nothing listens unless this table is there; a change needs a restart.",
    &[&[
        may("listen", Shape::Text, "\"127.0.0.1:9755\"", "The address and port to listen at."),
        may(
            "token_file",
            Shape::Text,
            "",
            "A file that others cannot read, whose first line whoever asks has to send as a bearer.",
        ),
        may("token_credential", Shape::Text, "", "The same in a credential of the service, as in LoadCredential=."),
        may("certificate", Shape::Text, "", "A certificate chain in PEM, with which answers are encrypted; it needs key."),
        may("key", Shape::Text, "", "The key of the certificate in PEM."),
        may(
            "vms",
            Shape::Number(0, 1_000_000),
            "5000",
            "So many VMs have series of their own; how many more there are is told as a number.",
        ),
    ]],
);

static ALARMS: Block = block(
    "alarms",
    "Who is told of what goes wrong: once when it begins, once when it ends.",
    &[&[
        may(
            "least",
            SEVERITY,
            "\"error\"",
            "What matters at least so much is told at once; the rest, down to warnings, by the digest.",
        ),
        may(
            "interval",
            Shape::Text,
            "\"10m\"",
            "At most one message in this time: what begins and ends in between goes together. 0s to 1d.",
        ),
        may("remind", Shape::Text, "\"1d\"", "What is still wrong is told again after this: 1h to 30d, or \"never\"."),
        may("give_up", Shape::Text, "\"3d\"", "How long a message that cannot be delivered is tried: 1h to 30d."),
        may("digest", Shape::Table(&DIGEST), "", "When what does not go at once is told."),
        may("mail", Shape::Tables(&MAIL), "", "By mail."),
        may("webhook", Shape::Tables(&WEBHOOK), "", "As signed JSON over HTTP."),
        may("pool_messages", Shape::Table(&POOL_MESSAGES), "", "As messages of the pools, which XenCenter shows."),
        may("dead_man", Shape::Table(&DEAD_MAN), "", "A monitor outside that raises an alarm when it does not hear from us."),
    ]],
);

const SEVERITY: Shape = Shape::Choice(&["notice", "warning", "error", "critical"]);

static DIGEST: Block = block(
    "alarms.digest",
    "When what does not go at once is told. Where nothing changed, nothing goes.",
    &[&[
        may("enabled", Shape::Flag, "true", "Whether there is one."),
        may("cron", Shape::Texts, "\"0 7 * * *\"", "Minute, hour, day of month, month, weekday, as in policies."),
        may("zone", Shape::Text, "\"UTC\"", "The zone in which that is meant."),
    ]],
);

static MAIL: Block = block(
    "alarms.mail",
    "A mail server, and who gets mail through it.",
    &[&[
        must("name", Shape::Text, "What messages and `xensnap alarms` call it: 1 to 32 letters, digits, \"-\", \"_\" or \".\"."),
        must("host", Shape::Text, "The server."),
        may("port", Shape::Number(1, 65_535), "", "Its port; without it 587, 465 with tls, 25 with none."),
        may(
            "tls",
            Shape::Choice(&["starttls", "tls", "none"]),
            "\"starttls\"",
            "\"starttls\" begins in the clear and insists on encryption, \"tls\" is encrypted from the first byte; \"none\" is for this machine.",
        ),
        may("username", Shape::Text, "", "Who logs in; it needs a password."),
        may("password_file", Shape::Text, "", "A file that others cannot read, whose first line is the password."),
        may("password_credential", Shape::Text, "", "The password is this credential of the service, as in LoadCredential=."),
        must("from", Shape::Text, "The sender."),
        must("to", Shape::Texts, "The recipients."),
        may(
            "ca_file",
            Shape::Text,
            "",
            "The authority that signed the server's certificate (PEM); without it, the machine's count.",
        ),
        may("timeout", Shape::Text, "\"30s\"", "How long a delivery may take: 1s to 2m."),
    ]],
);

static WEBHOOK: Block = block(
    "alarms.webhook",
    "Somebody on the web who takes alarms as JSON (docs/ALARMS.md).",
    &[&[
        must("name", Shape::Text, "What messages and `xensnap alarms` call it: 1 to 32 letters, digits, \"-\", \"_\" or \".\"."),
        must("url", Shape::Text, "Where. It is shown nowhere, because it may be a secret by itself."),
        may("secret_file", Shape::Text, "", "A file that others cannot read, whose first line signs each message."),
        may("secret_credential", Shape::Text, "", "The same in a credential of the service, as in LoadCredential=."),
        may(
            "ca_file",
            Shape::Text,
            "",
            "The authority that signed the server's certificate (PEM); without it, the machine's count.",
        ),
        may("timeout", Shape::Text, "\"10s\"", "How long a delivery may take: 1s to 2m."),
    ]],
);

static POOL_MESSAGES: Block = block(
    "alarms.pool_messages",
    "Alarms about snapshots, as messages of the pool in the form that XenCenter shows for scheduled snapshots.",
    &[&[
        may("enabled", Shape::Flag, "true", "Whether they are written."),
        may("least", SEVERITY, "\"warning\"", "What matters less is not."),
    ]],
);

static DEAD_MAN: Block = block(
    "alarms.dead_man",
    "A monitor outside that raises an alarm when it does not hear from us. It is pinged while due times are being looked after.",
    &[&[
        must("url", Shape::Text, "Where. It is shown nowhere, because it may be a secret by itself."),
        may("interval", Shape::Text, "\"60s\"", "How often: 10s to 1d."),
        may(
            "ca_file",
            Shape::Text,
            "",
            "The authority that signed the server's certificate (PEM); without it, the machine's count.",
        ),
        may("timeout", Shape::Text, "\"10s\"", "How long a ping may take: 1s to 2m."),
    ]],
);

static POOL: Block = Block {
    name: "pool",
    about: "A pool, with all its hosts that may become master. Its password is in one of three places.",
    one_of: &["password_file", "password_credential", "password"],
    keys: &[&[
        must("name", Shape::Text, "What policies and messages call it: 1 to 64 letters, digits, \"-\", \"_\" or \".\"."),
        must("addresses", Shape::Texts, "Its hosts. Encrypted unless \"http://\" is written."),
        must("username", Shape::Text, "Who logs in: \"root\", or a user with the role pool-operator."),
        may("password_file", Shape::Text, "", "A file that others cannot read, whose first line is the password."),
        may("password_credential", Shape::Text, "", "The password is this credential of the service, as in LoadCredential=."),
        may("password", Shape::Text, "", "The password itself."),
        may(
            "fingerprints",
            Shape::Texts,
            "",
            "SHA-256 fingerprints of certificates that are accepted by themselves; one for each host.",
        ),
        may(
            "ca_file",
            Shape::Text,
            "",
            "The authority that signed the hosts' certificates (PEM); without it and fingerprints, the machine's authorities count.",
        ),
        may(
            "wire",
            Shape::Choice(&["auto", "json", "xml"]),
            "\"auto\"",
            "\"json\" from XenServer 7.3 on, \"xml\" for all releases; \"auto\" finds out.",
        ),
        may("pool_uuid", Shape::Text, "", "The pool that is meant. Another one that answers at these addresses is refused."),
        may(
            "address_map",
            Shape::Map,
            "",
            "Addresses that hosts have among themselves, with those they have from here, where the two differ.",
        ),
    ]],
};

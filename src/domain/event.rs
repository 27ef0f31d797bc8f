//! What may happen that a person should know of. The set is closed: the history keeps a kind as its word, the journal as its
//! MESSAGE_ID, the catalogue (`systemd/xensnap.catalog`) explains each, and none of the three changes once it was released. How much a
//! kind matters belongs to the kind, so that a filter by severity means the same everywhere.

/// How much something matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// For the record.
    Info,
    /// Out of the ordinary.
    Notice,
    /// It may need somebody.
    Warning,
    /// It needs somebody.
    Error,
    /// It needs somebody now.
    Critical,
}

impl Severity {
    /// Every value, the least first.
    pub const ALL: &'static [Self] = &[Self::Info, Self::Notice, Self::Warning, Self::Error, Self::Critical];

    /// The word that stands for it in the history and in print.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Notice => "notice",
            Self::Warning => "warning",
            Self::Error => "error",
            Self::Critical => "critical",
        }
    }

    /// The value of a word; `None` if there is none.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|severity| severity.as_str() == word)
    }

    /// The number that syslog and the journal give it.
    pub const fn priority(self) -> u8 {
        match self {
            Self::Critical => 2,
            Self::Error => 3,
            Self::Warning => 4,
            Self::Notice => 5,
            Self::Info => 6,
        }
    }
}

impl std::fmt::Display for Severity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

macro_rules! kinds {
    ($(#[$about:meta])* $name:ident { $($(#[$each:meta])* $variant:ident = $word:literal, $severity:ident, $id:literal,)+ }) => {
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[$each])* $variant),+ }

        impl $name {
            /// Every kind, in the order of declaration.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The word that stands for it in the history and in print.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }

            /// How much it matters.
            pub const fn severity(self) -> Severity {
                match self { $(Self::$variant => Severity::$severity),+ }
            }

            /// The journal's MESSAGE_ID: 128 random bits in hexadecimal.
            pub const fn message_id(self) -> &'static str {
                match self { $(Self::$variant => $id),+ }
            }
        }
    };
}

kinds! {
    /// A kind of event.
    EventKind {
        /// The service came up.
        Started = "started", Info, "4926e9467c324c9f813a021d4368a348",
        /// The service came to a safe point and ended.
        Stopped = "stopped", Info, "1c5cc9c9aa5c4173a8bd4043b0012d8c",
        /// The service ended before everything was at a safe point.
        CutShort = "cut-short", Warning, "825c39957cea4fc09572caa05cbf154f",
        /// The policies were read anew and are in force.
        Reloaded = "reloaded", Info, "11baac7ca9424774aaa90bb7bcb43463",
        /// The files have errors: what was in force stays.
        ReloadRefused = "reload-refused", Error, "eb3bd65a666b422c8f78a752ff204362",
        /// A configuration file is wrong.
        ConfigurationWrong = "configuration-wrong", Error, "cf6770a5a47148b78b3519413f6aedf8",
        /// Something in a configuration file is doubtful.
        ConfigurationDoubtful = "configuration-doubtful", Warning, "eaea870201de48fab3d13be6b8511513",
        /// Figures for Prometheus cannot be offered.
        MetricsAway = "metrics-away", Warning, "7c8ce83a0a194807b40edf2baefcfb61",
        /// Something changed that only a restart takes over.
        RestartNeeded = "restart-needed", Warning, "c5cec84229014fb7a7b2b72d852a872a",
        /// The history was another installation's before.
        InstallationChanged = "installation-changed", Warning, "2026a39fa4dd4463b89f05ea06765d85",
        /// The history is not the one that was written last.
        HistoryRestored = "history-restored", Warning, "89ec1a70c27c4a40aa2c970169ad89fc",
        /// A pool was reached, and agrees with the history.
        PoolReached = "pool-reached", Info, "c5cd8e85d63146fb8930fd4e5ffbd7fa",
        /// A pool cannot be worked with.
        PoolAway = "pool-away", Error, "93943b940ad94abfa671f1902c4f2b4e",
        /// Another daemon of the installation works with a pool, and this one stands by.
        StandingBy = "standing-by", Notice, "43c18a90819edb0883fe7c299f31116f",
        /// A pool was taken over from another daemon of the installation.
        LeaseTaken = "lease-taken", Warning, "5c16f3fa99b8dc23263662ad51ba2106",
        /// Another daemon of the installation took over a pool from this one.
        LeaseLost = "lease-lost", Error, "196b066881748a86ef45cb47ce05605f",
        /// Other daemons cannot be kept out of a pool.
        LeaseDenied = "lease-denied", Warning, "12f9dc50da66771b631dd3dc16e30820",
        /// The server restarted, or another host is master.
        ServerChanged = "server-changed", Warning, "417d762fea494433a2310dfc2f486f24",
        /// The pool's database could not be written to disk.
        NotSynchronised = "not-synchronised", Warning, "f18131c81caa40f58b54f54f7187ed5a",
        /// A due time passed without a run.
        SlotMissed = "slot-missed", Warning, "23c63f550c744c33b3c6fc63954579ca",
        /// The clock went back, and what was decided for a time to come is taken back.
        ClockSetBack = "clock-set-back", Warning, "db4bf7b94f5f4246a85be5bac464ae7f",
        /// A due time was left out on purpose.
        SlotSkipped = "slot-skipped", Notice, "9ee8944828d342d8bf80f4a9795c3223",
        /// A part of a policy's selection finds no VM.
        SelectorWithoutVm = "selector-without-vm", Warning, "cfef874e2807472b9816a9b575cf393b",
        /// A run did everything it was to do.
        RunSucceeded = "run-succeeded", Info, "4343d17b27284daea4bea65a7899d841",
        /// A run did a part of it.
        RunPartial = "run-partial", Warning, "3b1d9f947ca549bea1eda2cfce4b38b4",
        /// A run did nothing of it.
        RunFailed = "run-failed", Error, "f904b1afbfe344728567ee38775f724f",
        /// A run found no VM.
        RunEmpty = "run-empty", Warning, "c9197fa7cb614a0f839010b45b2d27cd",
        /// A run only looked, as its policy asks.
        RunObserved = "run-observed", Info, "c33f8b8fd96348bc85b602646f796cc4",
        /// A run cannot go on for the moment.
        RunInterrupted = "run-interrupted", Error, "047038f1cc3840d1bdcf5fa76d7d82dc",
        /// A snapshot was taken.
        SnapshotTaken = "snapshot-taken", Info, "6523302916d84223838b692bc45555e7",
        /// A snapshot of another kind than asked for is taken.
        AnotherKind = "another-kind", Warning, "c27b16d37fa549c4899eca7d0b483ba5",
        /// A snapshot goes into what was to stay free on a storage repository.
        LowSpace = "low-space", Warning, "15d88fbb9f404ccd83f3e154a122514b",
        /// The chain of a disk gets long.
        LongChain = "long-chain", Warning, "2bf781213b9e4f28a44c5a50ce2feeaa",
        /// A VM got no snapshot.
        JobFailed = "failed", Error, "474c2f574e214158851af423808ce4e1",
        /// A VM was left out of a run.
        JobSkipped = "skipped", Warning, "5bdfc3c815d847d08780f7d28ec9845a",
        /// The end of a call is not known yet.
        Doubtful = "doubtful", Warning, "54340aa00bc64a9c94af8b10bea5e365",
        /// The end of a call is not known, and looking now does not help.
        Unresolved = "unresolved", Warning, "64fc53a329ef41bb970ff79c5061e17a",
        /// A call whose end was not known took no snapshot.
        ResolvedAbsent = "resolved-absent", Warning, "35d3077839df4e15bbe12e947458a58c",
        /// What had to follow a snapshot went wrong.
        AfterSnapshot = "after-snapshot", Warning, "14edd3e199ca45858ec590afe909e8bd",
        /// A VM that we shut down does not start again.
        LeftHalted = "left-halted", Critical, "d20be978c81d4f3ca0f5fcad37658a0e",
        /// A hook went well.
        HookRun = "hook-run", Info, "aaa8924a6a4a4070bb1f01fad5be982c",
        /// A hook failed.
        HookFailed = "hook-failed", Warning, "93e141b9f10649e3a14d626c0160afc9",
        /// A snapshot and its disks were removed.
        SnapshotRemoved = "snapshot-removed", Info, "cf3c7d89f2754d92abc85dc25caecdc0",
        /// A snapshot whose VM or policy is gone was removed, as the policy had asked.
        UnattendedRemoved = "unattended-removed", Notice, "19801ab40ca942c8994aeeed4b99a566",
        /// A snapshot that was to go stays, because the pool shows something else.
        Withdrawn = "withdrawn", Warning, "b6cee4b8b2fc454fa9510e330b7f089a",
        /// A snapshot cannot be removed.
        Orphan = "orphan", Error, "615cc74b5efa46fda51457e41d5773e1",
        /// Removals wait until the storage has coalesced what earlier ones left.
        RemovalsWait = "removals-wait", Warning, "e6e7e55ccfa44cc38abef15dc58fe883",
        /// The clocks contradict one another: nothing is removed.
        ClockImplausible = "clock-implausible", Error, "e921f1ceea57dc91b838f3926286b093",
        /// The clocks agree again.
        ClockAgrees = "clock-agrees", Notice, "28f4586c5dcae084b6de9a15262ddd12",
        /// More would be removed than a guard lets pass, or adopted snapshots for the first time: that waits for somebody's word.
        ApprovalNeeded = "approval-needed", Warning, "8eceeb09b1d04cfa84b4b91bf86712d9",
        /// Another tool takes snapshots of VMs that a policy covers.
        OtherTool = "other-tool", Warning, "6a9f2b00d560466fbdd95cdd39604850",
        /// A snapshot is not in the pool any more.
        Vanished = "vanished", Warning, "e9f2dabb72bb40a1b66aeae456806b38",
        /// What a failed attempt left is removed.
        Leftover = "leftover", Notice, "e2e8a86d3fcd43e4a2737ffa2e10d32b",
        /// Snapshots that the pool forgot are taken again.
        TakenAgain = "taken-again", Info, "fd2cef616e5c426ca5bb28190cb781a8",
        /// Disks of a snapshot that is gone are still there.
        LeftBehind = "left-behind", Warning, "6c30e57578fe4341832d1ce9bb602e8e",
        /// Something of ours that belonged to nobody was put right.
        Reclaimed = "reclaimed", Notice, "68adbe888164420e81b3af91d2a6909d",
        /// A VM that a snapshot with memory suspended does not resume.
        LeftSuspended = "left-suspended", Critical, "07042c247d224f53b06c5bb8a37f6016",
        /// A step did not end in its time.
        Stuck = "stuck", Error, "2693e4ecba3b497b8d9e725fd7f931d5",
        /// A snapshot that was removed is back.
        Ghost = "ghost", Notice, "c923c1a7321a4c15a7afdc923c0fd89c",
        /// A snapshot belongs to nobody any more.
        Detached = "detached", Notice, "0091c62376b0492b8e9aa18e30b0b0d6",
        /// A snapshot of others was made a policy's.
        Adopted = "adopted", Notice, "cccdd9316e7a42d38c762ba9ae976de6",
        /// The pin of a snapshot is over.
        PinOver = "pin-over", Info, "005083421c0147d0a4c2e04ba8ed876c",
        /// Somebody cancelled a run, or what was under way about a VM.
        Cancelled = "cancelled", Notice, "ee7531eb536c4261ae3a857a8025a2a8",
        /// Somebody paused something.
        Paused = "paused", Notice, "554105434d444930b68b9e382c8e409d",
        /// Somebody ended a pause.
        Resumed = "resumed", Notice, "d49c134198184798880f10f3f6c623d1",
        /// The control socket cannot be offered as wished.
        SocketAway = "socket-away", Warning, "82848023b65f40cf9038cb7b0f280c0a",
        /// The newest good snapshot of a VM is older than its policy promises in so many words.
        RpoBroken = "rpo-broken", Error, "7530869bacb8426789a40689c3f62deb",
        /// The newest good snapshot of a VM is older than its policy's schedule promises.
        BehindSchedule = "behind-schedule", Warning, "d400c7bc477946e9be650a28baab0539",
        /// A VM has a snapshot again that is as new as its policy promises.
        RpoKept = "rpo-kept", Info, "ec1f000b00ff485db70759387f1b1b7b",
        /// A message about alarms could not be delivered yet.
        AlarmDelayed = "alarm-delayed", Warning, "b13e291d1e964a43a8eabc638f3f0977",
        /// A message about alarms could not be delivered and is not tried any more.
        AlarmUndelivered = "alarm-undelivered", Error, "d8a72802d91c49dc9e99aa93a1e24e05",
        /// The monitor outside cannot be told that all is well.
        MonitorAway = "monitor-away", Warning, "6f30e39acf924f2c9265cc194747a8c4",
    }
}

impl EventKind {
    /// The kind of a word; `None` if there is none.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.as_str() == word)
    }
}

impl std::fmt::Display for EventKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_two_kinds_share_a_word_or_a_message_id() {
        let words: BTreeSet<&str> = EventKind::ALL.iter().map(|kind| kind.as_str()).collect();
        let ids: BTreeSet<&str> = EventKind::ALL.iter().map(|kind| kind.message_id()).collect();
        assert_eq!((words.len(), ids.len()), (EventKind::ALL.len(), EventKind::ALL.len()));
        let hexadecimal = |id: &&str| id.len() == 32 && id.chars().all(|c| matches!(c, '0'..='9' | 'a'..='f'));
        assert!(ids.iter().all(hexadecimal), "{ids:?}");
    }

    #[test]
    fn every_word_is_read_back() {
        assert!(EventKind::ALL.iter().all(|kind| EventKind::from_word(kind.as_str()) == Some(*kind)));
        assert!(Severity::ALL.iter().all(|severity| Severity::from_word(severity.as_str()) == Some(*severity)));
        assert!(Severity::ALL.windows(2).all(|pair| pair[0].priority() > pair[1].priority()));
    }
}

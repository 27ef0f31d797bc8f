//! The exit codes of all verbs, for the code, for `--help` and for the manual. What a verb means by 1 besides, its own help says.

/// The arguments are wrong; clap ends with the same.
pub(super) const USAGE: u8 = 2;

/// The configuration cannot be used (sysexits' EX_CONFIG).
pub(super) const WRONG_CONFIGURATION: u8 = 78;

/// Every code with its meaning.
pub(super) const CODES: [(u8, &str); 4] = [
    (0, "it is done"),
    (1, "it failed, or what was asked about is not well"),
    (USAGE, "the arguments are wrong"),
    (WRONG_CONFIGURATION, "a file of the configuration is wrong"),
];

/// All codes on one line. The probe has its own.
pub(super) fn told() -> String {
    let codes = CODES.map(|(code, meaning)| format!("{code} {meaning}"));
    format!("Exit codes: {}. `status --check` has those of monitoring systems.", codes.join("; "))
}

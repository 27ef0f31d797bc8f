//! The variables that a hook sees. They are chosen by name, one by one, so that nothing which the service was given for itself can
//! slip through.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};

use chrono::SecondsFormat;

use super::{HookContext, word};
use crate::domain::policy::{Hook, Phase};

/// What is kept of the service's own environment, besides every `LC_*`.
const KEPT: [&str; 4] = ["HOME", "LANG", "PATH", "TZ"];

/// Where programs are found when the service itself was not told.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The whole environment of a hook: some of the `inherited` one, then what describes run and VM, then the hook's own. The later wins.
pub(super) fn of(
    inherited: impl Iterator<Item = (OsString, OsString)>,
    hook: &Hook,
    phase: Phase,
    context: &HookContext,
) -> BTreeMap<OsString, OsString> {
    let mut all = BTreeMap::from([("PATH".into(), PATH.into())]);
    all.extend(inherited.filter(|(name, _)| is_kept(name)));
    all.extend(described(phase, context).into_iter().map(|(name, value)| (name.into(), without_nul(&value))));
    all.extend(hook.environment.iter().map(|(name, value)| (name.into(), without_nul(value))));
    all
}

fn is_kept(name: &OsStr) -> bool {
    name.to_str().is_some_and(|name| KEPT.contains(&name) || name.starts_with("LC_"))
}

/// All names are always there, so that a hook can rely on them; what does not apply is empty.
fn described(phase: Phase, context: &HookContext) -> [(&'static str, String); 11] {
    let (vm_uuid, vm_name) = context.vm.clone().unwrap_or_default();
    [
        ("XENSNAP_POLICY", context.policy.clone()),
        ("XENSNAP_POLICY_ID", context.policy_id.clone()),
        ("XENSNAP_POOL", context.pool.clone()),
        ("XENSNAP_POOL_UUID", context.pool_uuid.clone()),
        ("XENSNAP_RUN", context.run.clone()),
        ("XENSNAP_DUE", context.due_at.to_rfc3339_opts(SecondsFormat::Secs, true)),
        ("XENSNAP_PHASE", word(phase).to_owned()),
        ("XENSNAP_VM_UUID", vm_uuid),
        ("XENSNAP_VM_NAME", vm_name),
        ("XENSNAP_SNAPSHOT_UUID", context.snapshot_uuid.clone().unwrap_or_default()),
        ("XENSNAP_OUTCOME", context.outcome.clone().unwrap_or_default()),
    ]
}

/// A value with a zero byte would keep the program from being started at all.
fn without_nul(value: &str) -> OsString {
    value.replace('\0', "").into()
}

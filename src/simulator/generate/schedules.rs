//! The pool's own schedules and a vApp, as far as the release has them.

use super::guests::Guest;
use super::maker::Maker;
use crate::simulator::value::{Ref, Value};

/// What guests may belong to.
pub(super) struct Schedules {
    /// VMSS (7.2 and later).
    vmss: Option<Ref>,
    /// VMPP (5.6 FP1 to 6.1).
    vmpp: Option<Ref>,
    appliance: Option<Ref>,
}

/// Makes a schedule and a vApp.
pub(super) fn make(maker: &mut Maker<'_>) -> Schedules {
    let times = [("hour", "2"), ("min", "30")];
    let vmss = maker.since("falcon").then(|| {
        maker.row(
            "VMSS",
            vec![
                ("name_label", Value::str("nightly")),
                ("name_description", Value::str("Every night, a week's worth")),
                ("enabled", Value::Bool(true)),
                ("type", Value::str("snapshot")),
                ("retained_snapshots", Value::Int(7)),
                ("frequency", Value::str("daily")),
                ("schedule", Value::pairs(times)),
                ("last_run_time", maker.ago(720)),
            ],
        )
    });
    let vmpp = (maker.since("cowley") && !maker.since("clearwater")).then(|| {
        maker.row(
            "VMPP",
            vec![
                ("name_label", Value::str("nightly")),
                ("name_description", Value::str("Every night, a week's worth")),
                ("is_policy_enabled", Value::Bool(true)),
                ("backup_type", Value::str("snapshot")),
                ("backup_retention_value", Value::Int(7)),
                ("backup_frequency", Value::str("daily")),
                ("backup_schedule", Value::pairs(times)),
                ("backup_last_run_time", maker.ago(720)),
                ("archive_frequency", Value::str("never")),
                ("archive_target_type", Value::str("none")),
            ],
        )
    });
    let appliance = maker.since("boston").then(|| {
        maker.row(
            "VM_appliance",
            vec![
                ("name_label", Value::str("ERP")),
                ("name_description", Value::str("Database first, then the rest")),
                ("allowed_operations", Value::texts(["start", "clean_shutdown", "hard_shutdown", "shutdown"])),
            ],
        )
    });
    Schedules { vmss, vmpp, appliance }
}

impl Schedules {
    /// The fields by which a guest belongs to a schedule or a vApp.
    pub(super) fn fields_of(&self, maker: &mut Maker<'_>, guest: &Guest) -> Vec<(&'static str, Value)> {
        let mut fields = Vec::new();
        if maker.percent(20) {
            fields.extend(self.vmss.as_ref().map(|vmss| ("snapshot_schedule", Value::Str(vmss.clone()))));
            fields.extend(self.vmpp.as_ref().map(|vmpp| ("protection_policy", Value::Str(vmpp.clone()))));
        }
        if let Some(appliance) = self.appliance.as_ref().filter(|_| guest.character.folder.ends_with("/ERP")) {
            fields.push(("appliance", Value::Str(appliance.clone())));
            fields.push(("order", Value::Int(maker.below(3) as i64)));
            fields.push(("start_delay", Value::Int(30)));
        }
        fields
    }
}

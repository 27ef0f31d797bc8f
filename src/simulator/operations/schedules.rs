//! VMSS, and VMPP before it: snapshot schedules that the pool keeps. Nobody here carries them out; that is a plugin's work, which this
//! server does not have, as the recorded one had not.

use std::sync::Arc;

use super::Args;
use super::vm::given;
use super::vm_checkpoint::assert_licensed;
use crate::simulator::context::Context;
use crate::simulator::error::{ApiError, ApiResult};
use crate::simulator::value::{Ref, Text, Value};
use crate::simulator::world::World;

/// What differs between the two classes.
#[derive(Debug, Clone, Copy)]
struct Kind {
    class: &'static str,
    retention: &'static str,
    frequency: &'static str,
    schedule: &'static str,
    last_run: &'static str,
    restriction: &'static str,
    assigned: &'static str,
    plugin: &'static str,
}

const VMSS: Kind = Kind {
    class: "VMSS",
    retention: "retained_snapshots",
    frequency: "frequency",
    schedule: "schedule",
    last_run: "last_run_time",
    restriction: "restrict_vmss",
    assigned: "VMSS_HAS_VM",
    plugin: "vmss",
};

const VMPP: Kind = Kind {
    class: "VMPP",
    retention: "backup_retention_value",
    frequency: "backup_frequency",
    schedule: "backup_schedule",
    last_run: "backup_last_run_time",
    restriction: "restrict_vmpr",
    assigned: "VMPP_HAS_VM",
    plugin: "vmpr",
};

impl Kind {
    fn of(context: &Context) -> Self {
        if context.method.starts_with("VMPP.") { VMPP } else { VMSS }
    }

    fn licensed(&self, world: &World) -> ApiResult<()> {
        assert_licensed(world, self.restriction, self.class)
    }
}

/// The keys of a frequency, with their defaults.
fn keys(frequency: &str) -> &'static [(&'static str, &'static str)] {
    match frequency {
        "hourly" => &[("min", "0")],
        "daily" => &[("hour", "0"), ("min", "0")],
        "weekly" => &[("hour", "0"), ("min", "0"), ("days", "Monday")],
        _ => &[],
    }
}

const DAYS: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];

/// A value of a schedule as the server keeps it.
fn checked(field: &str, key: &str, value: &str) -> ApiResult<String> {
    let fits = match key {
        "min" => ["0", "15", "30", "45"].contains(&value).then(|| value.to_owned()),
        "hour" => value.parse::<u8>().ok().filter(|hour| *hour < 24).map(|hour| hour.to_string()),
        "days" => days(value),
        _ => return Err(ApiError::new("INVALID_VALUE", [field, key])),
    };
    fits.ok_or_else(|| ApiError::new("INVALID_VALUE", [&format!("{field}:{key}"), value]))
}

/// Names of days in any case, each once.
fn days(value: &str) -> Option<String> {
    let named = |name: &str| DAYS.iter().find(|day| day.eq_ignore_ascii_case(name.trim())).copied();
    let days = value.split(',').map(named).collect::<Option<Vec<_>>>()?;
    let unique = days.iter().enumerate().all(|(at, day)| !days[..at].contains(day));
    unique.then(|| days.join(","))
}

/// A schedule with all keys of its frequency and no others; given keys stand first, in their order.
fn completed(field: &str, frequency: &str, schedule: &Value) -> ApiResult<Value> {
    let wanted = keys(frequency);
    let mut kept: Vec<(Text, Value)> = Vec::new();
    for (key, value) in schedule.members() {
        let value = checked(field, key, value.as_text().map_or("", |text| text))?;
        if wanted.iter().any(|(wanted, _)| **wanted == **key) {
            kept.push((key.clone(), Value::str(value)));
        }
    }
    for (key, default) in wanted {
        if !kept.iter().any(|(kept, _)| **kept == **key) {
            kept.push(((*key).into(), Value::str(*default)));
        }
    }
    Ok(Value::Map(kept))
}

fn retained(field: &str, value: i64) -> ApiResult<()> {
    if (1..=10).contains(&value) { Ok(()) } else { Err(ApiError::new("INVALID_VALUE", [field, &value.to_string()])) }
}

/// VMSS.create and VMPP.create.
///
/// # Errors
/// LICENCE_RESTRICTION, INVALID_VALUE.
pub async fn create(context: Arc<Context>, args: Args) -> ApiResult {
    let kind = Kind::of(&context);
    let record = args.0.into_iter().next().unwrap_or(Value::Map(Vec::new()));
    context.step(|world| {
        kind.licensed(world)?;
        if let Some(Value::Int(value)) = record.member(kind.retention) {
            retained(kind.retention, *value)?;
        }
        let frequency = record.member(kind.frequency).and_then(Value::as_text).cloned().unwrap_or_default();
        let none = Value::Map(Vec::new());
        let schedule = completed(kind.schedule, &frequency, record.member(kind.schedule).unwrap_or(&none))?;
        let (reference, uuid) = (world.reference(), world.uuid());
        let mut fields = given(kind.class, &record);
        fields.extend([("uuid", Value::str(uuid)), (kind.schedule, schedule)]);
        Ok(Value::str(world.database.create(kind.class, reference, fields)))
    })
}

/// VMSS.destroy and VMPP.destroy. The messages about it go too.
///
/// # Errors
/// LICENCE_RESTRICTION; VMSS_HAS_VM while VMs belong to it.
pub async fn destroy(context: Arc<Context>, args: Args) -> ApiResult {
    let (kind, policy) = (Kind::of(&context), args.reference(0)?);
    context.step(|world| {
        kind.licensed(world)?;
        world.database.check(kind.class, &policy)?;
        if !world.database.texts(kind.class, &policy, "VMs").is_empty() {
            return Err(ApiError::bare(kind.assigned));
        }
        let uuid = world.database.text(kind.class, &policy, "uuid");
        super::messages::forget_about(world, &uuid);
        world.database.destroy(kind.class, &policy);
        Ok(Value::void())
    })
}

/// Changes a policy's field after the licence was looked at.
fn change(context: &Context, policy: &Ref, change: impl FnOnce(&mut World, Kind) -> ApiResult<()>) -> ApiResult {
    let kind = Kind::of(context);
    context.step(|world| {
        kind.licensed(world)?;
        world.database.check(kind.class, policy)?;
        change(world, kind)?;
        Ok(Value::void())
    })
}

/// VMSS.set_retained_snapshots and VMPP.set_backup_retention_value.
///
/// # Errors
/// INVALID_VALUE outside 1 to 10.
pub async fn set_retention(context: Arc<Context>, args: Args) -> ApiResult {
    let (policy, value) = (args.reference(0)?, args.int(1)?);
    change(&context, &policy, |world, kind| {
        retained(kind.retention, value)?;
        world.database.set(kind.class, &policy, kind.retention, Value::Int(value))
    })
}

/// VMSS.set_frequency and VMPP.set_backup_frequency: the schedule follows.
///
/// # Errors
/// LICENCE_RESTRICTION, HANDLE_INVALID.
pub async fn set_frequency(context: Arc<Context>, args: Args) -> ApiResult {
    let (policy, frequency) = (args.reference(0)?, args.text(1)?);
    change(&context, &policy, |world, kind| {
        let old = world.database.get(kind.class, &policy, kind.schedule).cloned().unwrap_or(Value::Map(Vec::new()));
        let schedule = completed(kind.schedule, &frequency, &old)?;
        world.database.set(kind.class, &policy, kind.frequency, Value::str(frequency))?;
        world.database.set(kind.class, &policy, kind.schedule, schedule)
    })
}

/// VMSS.set_schedule and VMPP.set_backup_schedule.
///
/// # Errors
/// INVALID_VALUE.
pub async fn set_schedule(context: Arc<Context>, args: Args) -> ApiResult {
    let policy = args.reference(0)?;
    let wanted = args.0.get(1).cloned().unwrap_or(Value::Map(Vec::new()));
    change(&context, &policy, |world, kind| {
        let frequency = world.database.text(kind.class, &policy, kind.frequency);
        let schedule = completed(kind.schedule, &frequency, &wanted)?;
        world.database.set(kind.class, &policy, kind.schedule, schedule)
    })
}

/// VMSS.add_to_schedule and VMPP.add_to_backup_schedule.
///
/// # Errors
/// INVALID_VALUE.
pub async fn add_to_schedule(context: Arc<Context>, args: Args) -> ApiResult {
    let (policy, key, value) = (args.reference(0)?, args.text(1)?, args.text(2)?);
    change(&context, &policy, |world, kind| {
        let value = checked(kind.schedule, &key, &value)?;
        world.database.put(kind.class, &policy, kind.schedule, &key, Value::str(value))
    })
}

/// VMSS.remove_from_schedule and VMPP.remove_from_backup_schedule.
///
/// # Errors
/// LICENCE_RESTRICTION, HANDLE_INVALID.
pub async fn remove_from_schedule(context: Arc<Context>, args: Args) -> ApiResult {
    let (policy, key) = (args.reference(0)?, args.text(1)?);
    change(&context, &policy, |world, kind| world.database.take(kind.class, &policy, kind.schedule, &key))
}

/// VMSS.set_type.
///
/// # Errors
/// LICENCE_RESTRICTION; VM_SNAPSHOT_WITH_QUIESCE_NOT_SUPPORTED when a VM's guest does not agree to it.
pub async fn set_type(context: Arc<Context>, args: Args) -> ApiResult {
    let (policy, wanted) = (args.reference(0)?, args.text(1)?);
    change(&context, &policy, |world, kind| {
        if &*wanted == "snapshot_with_quiesce" {
            assert_licensed(world, "restrict_vss", "VSS")?;
            for vm in world.database.texts(kind.class, &policy, "VMs") {
                super::vm_lifecycle::check(world, &vm, "snapshot_with_quiesce", false)?;
            }
        }
        world.database.set(kind.class, &policy, "type", Value::str(wanted))
    })
}

/// VMSS.set_last_run_time and VMPP.set_backup_last_run_time: only for who carries schedules out.
///
/// # Errors
/// RBAC_PERMISSION_DENIED.
pub async fn set_last_run_time(context: Arc<Context>, args: Args) -> ApiResult {
    let policy = args.reference(0)?;
    let time = args.0.get(1).cloned().unwrap_or_else(super::clock::epoch);
    if context.caller.role.is_some() && !context.caller.scheduler {
        return Err(ApiError::new("RBAC_PERMISSION_DENIED", [&*context.method, "No permission in user session"]));
    }
    change(&context, &policy, |world, kind| world.database.set(kind.class, &policy, kind.last_run, time))
}

/// VMSS.snapshot_now, VMPP.protect_now and VMPP.archive_now: there is no plugin to do it.
///
/// # Errors
/// XENAPI_MISSING_PLUGIN.
pub async fn run_plugin(context: Arc<Context>, args: Args) -> ApiResult {
    let (kind, object) = (Kind::of(&context), args.reference(0)?);
    let class = if &*context.method == "VMPP.archive_now" { "VM" } else { kind.class };
    context.step(|world| world.database.check(class, &object))?;
    Err(ApiError::new("XENAPI_MISSING_PLUGIN", [kind.plugin]))
}

/// VMPP.get_alerts: nobody leaves any.
///
/// # Errors
/// HANDLE_INVALID.
pub async fn get_alerts(context: Arc<Context>, args: Args) -> ApiResult {
    let policy = args.reference(0)?;
    context.step(|world| world.database.check("VMPP", &policy))?;
    Ok(Value::Set(Vec::new()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schedule_gets_the_keys_of_its_frequency_and_loses_others() {
        let given = Value::pairs([("min", "30"), ("hour", "2")]);
        assert_eq!(completed("schedule", "hourly", &given).unwrap(), Value::pairs([("min", "30")]));
        let weekly = Value::pairs([("hour", "0"), ("min", "0"), ("days", "Monday")]);
        assert_eq!(completed("schedule", "weekly", &Value::Map(vec![])).unwrap(), weekly);
    }

    #[test]
    fn bad_values_are_named_with_their_key() {
        let bad = Value::pairs([("hour", "25"), ("min", "7")]);
        assert_eq!(completed("schedule", "daily", &bad), Err(ApiError::new("INVALID_VALUE", ["schedule:hour", "25"])));
        assert_eq!(checked("schedule", "days", "monday,Sunday").unwrap(), "Monday,Sunday");
        assert!(checked("schedule", "days", "Monday,monday").is_err());
        assert!(retained("retained_snapshots", 11).is_err());
    }
}

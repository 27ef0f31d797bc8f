//! Roles and what they may call.
//!
//! The model names the least role of each message; some map keys need less (idl: `map_keys_roles`). Local superusers may do everything.

use super::error::{ApiError, ApiResult};
use super::model::{Message, Model};
use super::value::{Text, Value};
use super::world::Session;

/// The roles, the mightiest first.
pub const ROLES: [&str; 6] = ["pool-admin", "pool-operator", "vm-power-admin", "vm-admin", "vm-operator", "read-only"];

/// `(map, key, role)`: who may write a key of a map, where that differs from the map; a key that ends in `*` stands for all that begin
/// so.
const KEYS: [(&str, &str, &str); 20] = [
    ("pool.other_config", "folder", "vm-operator"),
    ("pool.other_config", "XenCenter.CustomFields.*", "vm-operator"),
    ("pool.other_config", "EMPTY_FOLDERS", "vm-operator"),
    ("task.other_config", "applies_to", "vm-operator"),
    ("task.other_config", "XenCenterUUID", "vm-operator"),
    ("task.other_config", "XenCenterMeddlingActionTitle", "vm-operator"),
    ("VM.other_config", "pci", "pool-admin"),
    ("VM.other_config", "hvm_serial", "pool-admin"),
    ("VM.other_config", "folder", "vm-operator"),
    ("VM.other_config", "XenCenter.CustomFields.*", "vm-operator"),
    ("VM.platform", "hvm_serial", "pool-admin"),
    ("host.other_config", "folder", "vm-operator"),
    ("host.other_config", "XenCenter.CustomFields.*", "vm-operator"),
    ("SR.other_config", "folder", "vm-operator"),
    ("SR.other_config", "XenCenter.CustomFields.*", "vm-operator"),
    ("VDI.other_config", "folder", "vm-operator"),
    ("VDI.other_config", "XenCenter.CustomFields.*", "vm-operator"),
    ("network.other_config", "folder", "vm-operator"),
    ("network.other_config", "XenCenter.CustomFields.*", "vm-operator"),
    ("network.other_config", "XenCenterCreateInProgress", "vm-operator"),
];

/// Fails unless the caller may use the permission of a message with these arguments (without the session).
///
/// # Errors
/// RBAC_PERMISSION_DENIED.
pub fn check(caller: &Session, method: &str, message: &Message, args: &[Value]) -> ApiResult<()> {
    let Some(role) = &caller.role else { return Ok(()) };
    let (permission, least) = permission(method, message, args);
    if least.is_some_and(|least| rank(role) <= least) { Ok(()) } else { Err(denied(&permission, least)) }
}

/// Fails unless the caller has at least this role, for what messages and HTTP handlers decide themselves.
///
/// # Errors
/// RBAC_PERMISSION_DENIED.
pub fn require(caller: &Session, permission: &str, least: &str) -> ApiResult<()> {
    match &caller.role {
        Some(role) if rank(role) > rank(least) => Err(denied(permission, Some(rank(least)))),
        _ => Ok(()),
    }
}

/// Every permission of a role, as `rbac_permissions` of its sessions lists them.
pub fn permissions(role: &str) -> Vec<Text> {
    let rank = rank(role);
    let mut permissions = Vec::new();
    for class in Model::get().classes() {
        for message in &class.messages {
            let name = format!("{}.{}", class.name, message.name);
            if least_of(message).is_some_and(|least| rank <= least) {
                permissions.push(name.to_lowercase());
            }
            for (key, least) in keys_of(&name) {
                if rank <= self::rank(least) {
                    permissions.push(format!("{name}/key:{key}").to_lowercase());
                }
            }
        }
    }
    permissions.sort();
    permissions.into_iter().map(Text::from).collect()
}

fn permission(method: &str, message: &Message, args: &[Value]) -> (String, Option<usize>) {
    let key = message.params.iter().position(|param| param.name == "key").and_then(|at| args.get(at.checked_sub(1)?));
    let guarded = key.and_then(Value::as_text).and_then(|key| keys_of(method).find(|(pattern, _)| matches(pattern, key)));
    match guarded {
        Some((key, least)) => (format!("{method}/key:{key}").to_lowercase(), Some(rank(least))),
        None => (method.to_lowercase(), least_of(message)),
    }
}

fn keys_of(method: &str) -> impl Iterator<Item = (&'static str, &'static str)> {
    let map = method.replacen(".add_to_", ".", 1).replacen(".remove_from_", ".", 1);
    let map = if map == method { String::new() } else { map };
    KEYS.iter().filter(move |(guarded, ..)| *guarded == map).map(|(_, key, least)| (*key, *least))
}

fn matches(pattern: &str, key: &str) -> bool {
    pattern.strip_suffix('*').map_or(pattern == key, |start| key.starts_with(start))
}

/// The least role that suffices, by its position; none where only local superusers may call. A message without a role may be called
/// by anybody.
fn least_of(message: &Message) -> Option<usize> {
    match message.role.as_deref() {
        None => Some(ROLES.len() - 1),
        Some(role) => ROLES.iter().position(|known| *known == role),
    }
}

/// The position of a role; unknown roles have no rights at all.
fn rank(role: &str) -> usize {
    ROLES.iter().position(|known| *known == role).unwrap_or(ROLES.len())
}

fn denied(permission: &str, least: Option<usize>) -> ApiError {
    let roles: Vec<&str> = ROLES.iter().take(least.map_or(0, |least| least + 1)).copied().collect();
    let text = format!("No permission in user session. (Roles with this permission: {})", roles.join(", "));
    ApiError::new("RBAC_PERMISSION_DENIED", [permission.to_owned(), text])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(role: &str) -> Session {
        Session { user: "u".into(), originator: "".into(), role: Some(role.into()), scheduler: false }
    }

    fn check_call(role: &str, method: &str, args: &[Value]) -> ApiResult<()> {
        let (_, message) = Model::get().message(method).unwrap();
        check(&session(role), method, message, args)
    }

    #[test]
    fn a_role_may_do_what_lesser_roles_may() {
        let args = [Value::str("OpaqueRef:x"), Value::str("name"), Value::Set(Vec::new())];
        check_call("vm-power-admin", "VM.snapshot", &args).unwrap();
        let refused = check_call("vm-admin", "VM.snapshot", &args).unwrap_err();
        assert_eq!(refused.code, "RBAC_PERMISSION_DENIED");
        assert_eq!(refused.params[0], "vm.snapshot");
        assert_eq!(
            refused.params[1],
            "No permission in user session. (Roles with this permission: pool-admin, pool-operator, vm-power-admin)"
        );
    }

    #[test]
    fn some_keys_need_less_than_the_map() {
        let args = |key| [Value::str("OpaqueRef:x"), Value::str(key), Value::str("v")];
        check_call("vm-operator", "VM.add_to_other_config", &args("XenCenter.CustomFields.a")).unwrap();
        let refused = check_call("vm-operator", "VM.add_to_other_config", &args("other")).unwrap_err();
        assert_eq!(refused.params[0], "vm.add_to_other_config");
    }
}

//! Who is logged in. Sessions live in memory only: a restart forgets them all.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::context::Shared;
use super::error::{ApiError, ApiResult};
use super::front::Front;
use super::model::{Model, Release, release};
use super::options::{Options, SessionLimits};
use super::value::{NULL, Ref, Text, Value};
use super::world::{Session, World};

/// A login as it was asked for.
#[derive(Debug, Clone)]
pub struct Login {
    /// The user's name.
    pub user: Text,
    /// The password.
    pub password: Text,
    /// What the client calls itself.
    pub originator: Text,
}

/// Logs somebody in on the master.
///
/// # Errors
/// SESSION_AUTHENTICATION_FAILED. (HOST_IS_SLAVE comes before the password is looked at, see [`refuse_on_member`].)
pub async fn login(shared: &Shared, host: &Ref, login: &Login) -> ApiResult<Ref> {
    let role = check_password(shared, login).await?;
    let originator = login.originator.clone();
    let session = Session { user: login.user.clone(), originator, role, scheduler: &*login.user == VMSS_USER };
    let now = shared.clock.now();
    Ok(shared.step(|world| create(world, host, session, now)))
}

/// The account the snapshot schedules work under.
pub const VMSS_USER: &str = "__dom0__vmss";

/// Logs somebody in on one host only; such a session serves the calls that need no master.
///
/// # Errors
/// SESSION_AUTHENTICATION_FAILED.
pub async fn login_locally(shared: &Shared, host: &Ref, login: &Login) -> ApiResult<Ref> {
    check_password(shared, login).await?;
    Ok(shared.step(|world| {
        let reference = world.reference();
        world.local_sessions.insert(reference.clone(), host.clone());
        reference
    }))
}

async fn check_password(shared: &Shared, login: &Login) -> ApiResult<Option<Text>> {
    let user = shared.options.users.iter().find(|user| user.name == login.user);
    if let Some(user) = user.filter(|user| user.password == login.password) {
        return Ok(user.role.clone());
    }
    let reason = match user {
        Some(_) => "Authentication failure",
        None => "User not known to the underlying authentication module",
    };
    Err(ApiError::new("SESSION_AUTHENTICATION_FAILED", [&*login.user, reason]))
}

/// How long a login takes that succeeds or fails: the check itself, and the pause that slows down guessing (5 s up to 8.2, then the
/// one of the system's own password check).
pub fn login_takes(options: &Options, release: Release, succeeds: bool) -> Duration {
    match succeeds {
        true => options.login_takes,
        false if release <= self::release("stockholm_psr") => options.refusal_takes.max(Duration::from_secs(5)),
        false => options.refusal_takes,
    }
}

fn create(world: &mut World, host: &Ref, session: Session, now: DateTime<Utc>) -> Ref {
    let reference = world.reference();
    let uuid = world.uuid();
    let permissions = session.role.as_ref().map(|role| super::rbac::permissions(role)).unwrap_or_default();
    world.database.create(
        "session",
        reference.clone(),
        [
            ("uuid", Value::Str(uuid)),
            ("this_host", Value::Str(host.clone())),
            ("this_user", Value::null()),
            ("last_active", Value::date(now)),
            ("pool", Value::Bool(false)),
            ("is_local_superuser", Value::Bool(session.role.is_none())),
            ("subject", Value::null()),
            ("validation_time", Value::date(now)),
            ("auth_user_sid", Value::str(if session.role.is_none() { "" } else { &*session.user })),
            ("auth_user_name", Value::Str(session.user.clone())),
            ("rbac_permissions", Value::texts(permissions)),
            ("parent", Value::null()),
            ("originator", Value::Str(session.originator.clone())),
        ],
    );
    world.sessions.insert(reference.clone(), session);
    reference
}

/// Ends a session; whoever waits in `event.from` with it is woken.
pub fn end(world: &mut World, reference: &str) -> bool {
    world.database.destroy("session", reference);
    world.next_events.forget_session(reference);
    world.sessions.remove(reference).is_some() || world.local_sessions.remove(reference).is_some()
}

/// Finds the caller and notes that the session is in use.
///
/// # Errors
/// SESSION_INVALID.
pub fn check(world: &mut World, limits: &SessionLimits, now: DateTime<Utc>, reference: &str) -> ApiResult<Session> {
    let Some(session) = world.sessions.get(reference).cloned() else {
        return Err(ApiError::new("SESSION_INVALID", [reference]));
    };
    let last = world.database.get("session", reference, "last_active").and_then(Value::as_date);
    let threshold = TimeDelta::from_std(touch_after(limits, world.release)).unwrap_or_default();
    if last.is_none_or(|last| now - last > threshold) {
        // The row is there as long as the session is.
        let _ = world.database.set("session", reference, "last_active", Value::date(now));
    }
    Ok(session)
}

/// Every call was noted before 24.29.
fn touch_after(limits: &SessionLimits, release: Release) -> Duration {
    if release < self::release("24.29.0") { Duration::ZERO } else { limits.touch_after }
}

/// The caller of a local session on this host.
pub fn local(world: &World, host: &Ref, reference: &str) -> Option<Session> {
    let here = world.local_sessions.get(reference).is_some_and(|on| on == host);
    here.then(|| Session { user: "root".into(), originator: "".into(), role: None, scheduler: false })
}

/// What a member answers to a login and to the master's sessions.
///
/// # Errors
/// HOST_IS_SLAVE with the address of the host that this member takes for the master.
pub fn refuse_on_member(world: &World, front: &Front) -> ApiResult<()> {
    if world.master == front.host || &*world.master == NULL {
        return Ok(());
    }
    Err(ApiError::new("HOST_IS_SLAVE", [&*world.database.text("host", &world.master, "address")]))
}

/// Ends sessions that nobody used for too long, and of those that are too many the ones used least recently. Sessions with
/// unfinished tasks are spared (xapi: db_gc_util.ml).
pub fn collect(world: &mut World, limits: &SessionLimits, now: DateTime<Utc>) {
    let idle = now - TimeDelta::from_std(limits.idle).unwrap_or(TimeDelta::MAX);
    let mut groups: std::collections::BTreeMap<Group, Vec<(DateTime<Utc>, Ref)>> = std::collections::BTreeMap::new();
    for (reference, session) in &world.sessions {
        if is_busy(world, reference) {
            continue;
        }
        let last = world.database.get("session", reference, "last_active").and_then(Value::as_date).unwrap_or(now);
        let group = if last <= idle { Group::Idle } else { Group::of(world.release, session) };
        groups.entry(group).or_default().push((last, reference.clone()));
    }
    for (group, mut sessions) in groups {
        sessions.sort();
        let kept = group.limit(limits);
        for (_, reference) in &sessions[..sessions.len().saturating_sub(kept)] {
            end(world, reference);
        }
    }
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Group {
    Idle,
    Originator(Text),
    User(Text),
    Anonymous,
}

impl Group {
    /// Up to 6.1 all sessions share one limit.
    fn of(release: Release, session: &Session) -> Self {
        if release < self::release("clearwater") {
            Group::Anonymous
        } else if session.role.is_some() {
            Group::User(session.user.clone())
        } else if !session.originator.is_empty() {
            Group::Originator(session.originator.clone())
        } else {
            Group::Anonymous
        }
    }

    fn limit(&self, limits: &SessionLimits) -> usize {
        match self {
            Group::Idle => 0,
            Group::Originator(_) => limits.per_originator,
            Group::User(_) => limits.per_user,
            Group::Anonymous => limits.anonymous,
        }
    }
}

fn is_busy(world: &World, session: &str) -> bool {
    let pending = Value::str("pending");
    let status = Model::get().class("task").and_then(|class| class.column("status"));
    let tasks = world.task_sessions.iter().filter(|(_, owner)| &***owner == session);
    tasks.into_iter().any(|(task, _)| {
        let row = world.database.row("task", task);
        row.is_ok_and(|row| status.is_some_and(|column| *row.value(column) == pending))
    })
}

/// Ends every session on the server, as a restart does.
pub fn forget_all(shared: &Arc<Shared>) {
    shared.step(|world| {
        let all: Vec<Ref> = world.sessions.keys().chain(world.local_sessions.keys()).cloned().collect();
        for session in all {
            end(world, &session);
        }
    });
    shared.nudge();
}

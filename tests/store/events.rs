//! Events, approvals, notes, pools: what people should know and have decided.

use serde_json::json;
use uuid::Uuid;
use xensnap::store::{
    ApprovalState, Error, EventFilter, EventKind, Member, NewApproval, NewEvent, Page, PoolSeen, RunId, Severity,
};

use crate::support::*;

#[tokio::test]
async fn events_are_found_by_what_they_are_about() {
    let world = World::new().await;
    let job = world.job("nightly", hour(0), 1).await;
    let about = |n: i64, kind: EventKind| NewEvent {
        pool: Some(POOL),
        policy: Some("nightly".into()),
        vm: Some(job.vm_uuid),
        run: Some(job.run),
        snapshot: Some(Uuid::from_u128(5)),
        data: json!({ "n": n }),
        ..NewEvent::new(hour(n), kind, format!("event {n}"))
    };
    world.store.note_event(about(1, EventKind::Vanished)).await.unwrap();
    world.store.note_event(about(2, EventKind::Orphan)).await.unwrap();
    world.store.note_event(NewEvent::new(hour(3), EventKind::Started, "event 3")).await.unwrap();
    let found = async |filter: EventFilter| -> Vec<String> {
        let listed = world.store.events(filter, Page::first(10)).await.unwrap();
        listed.rows.into_iter().map(|event| event.text).collect()
    };
    let all = EventFilter::default;
    assert_eq!(found(all()).await, ["event 3", "event 2", "event 1"]);
    for filter in [
        EventFilter { vm: Some(job.vm), ..all() },
        EventFilter { policy: Some("nightly".into()), ..all() },
        EventFilter { pool: Some(POOL), ..all() },
        EventFilter { run: Some(job.run), ..all() },
        EventFilter { snapshot: Some(Uuid::from_u128(5)), ..all() },
        EventFilter { at_least: Some(Severity::Warning), ..all() },
        EventFilter { until: Some(hour(3)), ..all() },
    ] {
        assert_eq!(found(filter.clone()).await, ["event 2", "event 1"], "{filter:?}");
        assert_eq!(found(EventFilter { kind: Some("vanished".into()), ..filter.clone() }).await, ["event 1"]);
        assert_eq!(found(EventFilter { at_least: Some(Severity::Error), ..filter.clone() }).await, ["event 2"]);
        assert_eq!(found(EventFilter { from: Some(hour(2)), ..filter }).await, ["event 2"]);
    }
    assert_eq!(found(EventFilter { policy: Some("unheard".into()), ..all() }).await, Vec::<String>::new());
    let event = &world.store.events(EventFilter { run: Some(job.run), ..all() }, Page::first(1)).await.unwrap().rows[0];
    assert_eq!((event.vm_uuid, event.vm_name.as_deref(), event.pool), (Some(job.vm_uuid), Some("vm 1"), Some(POOL)));
    assert_eq!((event.policy.as_deref(), &event.data), (Some("nightly"), &json!({ "n": 2 })));
    let lost = NewEvent { run: Some(RunId(999)), ..NewEvent::new(hour(0), EventKind::Started, "") };
    assert!(matches!(world.store.note_event(lost).await, Err(Error::NotFound { what: "run", .. })));
}

#[tokio::test]
async fn an_approval_covers_one_plan_and_is_used_once() {
    let world = World::new().await;
    let job = world.job("nightly", hour(0), 1).await;
    let plan = json!({ "remove": [Uuid::from_u128(5).to_string()] });
    let new = NewApproval {
        kind: "first-pruning".into(),
        pool: POOL,
        policy: "nightly".into(),
        vm: Some(job.vm_uuid),
        run: Some(job.run),
        plan: plan.clone(),
    };
    let id = world.store.ask(new.clone(), hour(1)).await.unwrap();
    let other = world.store.ask(new, hour(2)).await.unwrap();
    assert!(world.store.run(job.run).await.unwrap().approval_needed);
    let granted = world.store.decide(id, ApprovalState::Granted, "root", hour(3)).await.unwrap();
    assert_eq!((granted.state, granted.decided_by.as_deref(), &granted.plan), (ApprovalState::Granted, Some("root"), &plan));
    assert!(world.store.run(job.run).await.unwrap().approval_needed, "the other question is open");
    world.store.decide(other, ApprovalState::Refused, "root", hour(3)).await.unwrap();
    assert!(!world.store.run(job.run).await.unwrap().approval_needed);

    let used = world.store.decide(id, ApprovalState::Used, "daemon", hour(4)).await.unwrap();
    assert_eq!((used.decided_by.as_deref(), used.decided_at), (Some("root"), Some(hour(3))), "who granted it stays written");
    assert_eq!(world.store.decide(id, ApprovalState::Used, "daemon", hour(5)).await.unwrap(), used);
    let error = world.store.decide(other, ApprovalState::Granted, "root", hour(5)).await.unwrap_err();
    assert!(matches!(error, Error::Illegal { what: "approval", from: "refused", .. }), "{error:?}");
    assert_eq!(world.store.approvals(ApprovalState::Pending).await.unwrap(), []);
    assert_eq!(world.store.approvals_of(job.run).await.unwrap().len(), 2);
}

#[tokio::test]
async fn notes_are_kept_replaced_listed_and_dropped() {
    let world = World::new().await;
    let store = &world.store;
    for (name, value) in [("lease/a", json!(1)), ("lease/b", json!(2)), ("pause/all", json!({})), ("lease/a", json!(3))] {
        store.keep(name, &value, hour(0)).await.unwrap();
    }
    assert_eq!(store.kept("lease/a").await.unwrap(), Some(json!(3)));
    let under: Vec<_> = store.kept_under("lease/").await.unwrap();
    assert_eq!(under, [("lease/a".to_owned(), json!(3)), ("lease/b".to_owned(), json!(2))]);
    store.drop_note("lease/a").await.unwrap();
    store.drop_note("lease/a").await.unwrap();
    assert_eq!(store.kept("lease/a").await.unwrap(), None);
}

#[tokio::test]
async fn a_pool_is_remembered_with_its_hosts_so_that_a_new_master_can_be_looked_for() {
    let world = World::new().await;
    let host = |n: u128| Member { uuid: Uuid::from_u128(n), name: format!("host {n}"), address: format!("10.0.0.{n}") };
    let seen = PoolSeen {
        uuid: POOL,
        name: "Tokyo".into(),
        members: vec![host(1), host(2)],
        master: Uuid::from_u128(1),
        server_start: "1772330000.".into(),
    };
    let before = world.store.see_pool(seen.clone(), hour(1)).await.unwrap().unwrap();
    assert_eq!((before.name.as_str(), before.server_start), ("", None), "it was only referred to");
    let restarted = PoolSeen { server_start: "1772339999.".into(), ..seen };
    let before = world.store.see_pool(restarted, hour(2)).await.unwrap().unwrap();
    assert_eq!(before.server_start.as_deref(), Some("1772330000."), "and so a restart is noticed");
    let pool = world.store.pool(POOL).await.unwrap().unwrap();
    assert_eq!((pool.members.len(), pool.last_seen, pool.first_seen), (2, hour(2), hour(0)));
    assert_eq!(world.store.pools().await.unwrap(), [pool]);
    assert_eq!(world.store.pool(Uuid::from_u128(404)).await.unwrap(), None);
}

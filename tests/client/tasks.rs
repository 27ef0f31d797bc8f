//! Long calls: watched through one stream, decoded, cancelled at the deadline, destroyed at the end, and found again.

use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;

use super::fake::{Reply, failure};
use super::feed::{Feed, task};
use super::*;
use xensnap::clock::{Clock, HandClock};
use xensnap::xenapi::TaskError;
use xensnap::xenapi::records::Vm;
use xensnap::xenapi::types::{Ref, Void};

const TASK: &str = "OpaqueRef:7a5c0000-0000-0000-0000-000000000001";
const DONE: &str = "<value>OpaqueRef:5aa9b3ac-0e8e-7b2e-fe6b-c0854d6f2d35</value>";

/// A host whose `Async.VM.snapshot` makes a pending task.
async fn host_with_task() -> (Arc<Host>, Arc<Feed>, Pool) {
    let (host, pool) = pool().await;
    let feed = Feed::on(&host);
    let made = Arc::clone(&feed);
    host.on("Async.VM.snapshot", move |_| {
        made.put("task", TASK, task("pending", "", &[]));
        Reply::Value(json!(TASK))
    });
    let cancelled = Arc::clone(&feed);
    host.on("task.cancel", move |_| {
        cancelled.put("task", TASK, task("cancelled", "", &[]));
        Reply::Value(json!(""))
    });
    host.on("task.destroy", |_| Reply::Value(json!("")));
    (host, feed, pool)
}

fn take() -> Call<Ref<Vm>> {
    Call::mutating("VM.snapshot").with(xensnap::xenapi::wire::Param::Str("OpaqueRef:vm".into()))
}

#[tokio::test]
async fn a_task_costs_two_calls_and_shares_its_events_with_others() {
    let (host, feed, pool) = host_with_task().await;
    let made = Arc::new(AtomicUsize::new(0));
    let events = Arc::clone(&feed);
    host.on("Async.VM.snapshot", move |_| {
        let reference = format!("OpaqueRef:task{}", made.fetch_add(1, Ordering::SeqCst));
        events.put("task", &reference, task("pending", "", &[]));
        Reply::Value(json!(reference))
    });
    let mut waiting = Vec::new();
    for _ in 0..20 {
        let task = pool.start(take()).await.unwrap();
        waiting.push(tokio::spawn(task.finish(None)));
    }
    for number in 0..20 {
        feed.put("task", &format!("OpaqueRef:task{number}"), task("success", DONE, &[]));
    }
    for task in waiting {
        assert_eq!(task.await.unwrap().unwrap(), Ref::new("OpaqueRef:5aa9b3ac-0e8e-7b2e-fe6b-c0854d6f2d35"));
    }
    assert_eq!((host.count("Async.VM.snapshot"), host.count("task.destroy"), host.count("task.get_record")), (20, 20, 0));
    assert_eq!((feed.whole_readings(), feed.classes()), (1, vec!["task".to_owned()]));
    let at_once = host.calls().iter().filter(|rpc| rpc.method == "event.from").count();
    assert!(at_once <= 41, "one stream, at most one answer per change: {at_once}");
}

#[tokio::test]
async fn a_task_that_ended_before_its_reference_arrived_is_noticed() {
    let (host, feed, pool) = host_with_task().await;
    let first = pool.start(take()).await.unwrap();
    until("the stream runs", || feed.whole_readings() == 1).await;
    let events = Arc::clone(&feed);
    let (seen, told) = (Arc::clone(&host), Arc::clone(&feed));
    host.on_later("Async.VM.snapshot", move |_| {
        let (events, seen, told) = (Arc::clone(&events), Arc::clone(&seen), Arc::clone(&told));
        async move {
            let polls = seen.count("event.from");
            events.put("task", "OpaqueRef:short", task("success", DONE, &[]));
            until("the event was told", || seen.count("event.from") > polls).await;
            drop(told);
            Reply::Value(json!("OpaqueRef:short"))
        }
    });
    let second = pool.start(take()).await.unwrap();
    second.finish(None).await.unwrap();
    assert_eq!(host.count("task.get_record"), 0);
    drop(first);
}

#[tokio::test]
async fn a_failed_task_is_destroyed_too_and_keeps_the_servers_words() {
    let (host, feed, pool) = host_with_task().await;
    let started = pool.start(take()).await.unwrap();
    feed.put("task", TASK, task("failure", "", &["SR_BACKEND_FAILURE_44", "", "no space", ""]));
    let error = started.finish(None).await.unwrap_err();
    assert_eq!(error.kind(), Kind::NoSpace);
    assert!(error.to_string().contains("VM.snapshot") && error.to_string().contains("SR_BACKEND_FAILURE_44"), "{error}");
    assert_eq!(host.count("task.destroy"), 1);
}

#[tokio::test]
async fn full_progress_is_not_taken_for_an_end() {
    let (host, feed, pool) = host_with_task().await;
    let started = pool.start(take()).await.unwrap();
    let mut nearly = task("pending", "", &[]);
    nearly["progress"] = json!(1.0);
    feed.put("task", TASK, nearly);
    until("the progress was heard", || started.progress() == 1.0).await;
    let finish = tokio::spawn(started.finish(None));
    until("asked again", || host.count("event.from") >= 2).await;
    assert!(!finish.is_finished());
    feed.put("task", TASK, task("success", DONE, &[]));
    finish.await.unwrap().unwrap();
}

#[tokio::test]
async fn at_the_deadline_the_task_is_cancelled_and_its_end_waited_for() {
    let (host, _, pool) = host_with_task().await;
    let started = pool.start(take()).await.unwrap();
    let error = started.finish(Some(Duration::from_millis(100))).await.unwrap_err();
    assert!(matches!(error, TaskError::Deadline { .. }), "{error}");
    assert_eq!((host.count("task.cancel"), host.count("task.destroy")), (1, 1));
}

#[tokio::test]
async fn a_cancel_that_came_too_late_is_a_success() {
    let (host, feed, pool) = host_with_task().await;
    host.on("task.cancel", move |_| {
        feed.put("task", TASK, task("success", DONE, &[]));
        Reply::Value(json!(""))
    });
    let started = pool.start(take()).await.unwrap();
    started.finish(Some(Duration::from_millis(50))).await.unwrap();
    assert_eq!(host.count("task.destroy"), 1);
}

#[tokio::test]
async fn a_task_that_cannot_be_stopped_is_left_and_called_ambiguous() {
    let clock = HandClock::new(START);
    let host = Host::start().await;
    let pool = Pool::open(settings(&host), Arc::new(clock.clone())).unwrap();
    host.on("event.from", |_| failure(&["MESSAGE_METHOD_UNKNOWN", "event.from"]));
    host.on("Async.VM.snapshot", |_| Reply::Value(json!(TASK)));
    host.on("task.cancel", |_| Reply::Value(json!("")));
    host.on("task.get_record", |_| Reply::Value(task("pending", "", &[])));
    let before = clock.elapsed();
    let work = async { pool.start(take()).await.unwrap().finish(Some(Duration::from_secs(120))).await };
    let error = clock.run(work).await.unwrap_err();
    assert!(matches!(error, TaskError::StillRunning { .. }) && error.kind() == Kind::Ambiguous, "{error}");
    assert_eq!((host.count("task.cancel"), host.count("task.destroy")), (1, 0));
    assert!(clock.elapsed() - before >= Duration::from_secs(180));
}

#[tokio::test]
async fn without_events_the_record_is_read() {
    let (host, _, pool) = host_with_task().await;
    host.on("event.from", |_| failure(&["MESSAGE_METHOD_UNKNOWN", "event.from"]));
    let looks = AtomicUsize::new(0);
    host.on("task.get_record", move |_| {
        let pending = looks.fetch_add(1, Ordering::SeqCst) == 0;
        Reply::Value(if pending { task("pending", "", &[]) } else { task("success", DONE, &[]) })
    });
    pool.start(take()).await.unwrap().finish(None).await.unwrap();
    assert_eq!((host.count("event.from"), host.count("task.get_record"), host.count("task.destroy")), (1, 2, 1));
}

#[tokio::test]
async fn a_task_that_vanished_is_ambiguous() {
    let (host, feed, pool) = host_with_task().await;
    host.on("task.get_record", |rpc| failure(&["HANDLE_INVALID", "task", rpc.text(1)]));
    let started = pool.start(take()).await.unwrap();
    until("the stream runs", || host.count("event.from") >= 1).await;
    feed.delete("task", TASK);
    let error = started.finish(None).await.unwrap_err();
    assert!(matches!(error, TaskError::Vanished { .. }) && error.kind() == Kind::Ambiguous, "{error}");
    assert_eq!(host.count("task.destroy"), 0);
}

#[tokio::test]
async fn a_task_that_the_restarted_server_does_not_mention_has_vanished() {
    let (host, feed, pool) = host_with_task().await;
    host.on("task.get_record", |rpc| failure(&["HANDLE_INVALID", "task", rpc.text(1)]));
    let started = pool.start(take()).await.unwrap();
    until("the stream runs", || host.count("event.from") >= 2).await;
    feed.delete("task", TASK);
    feed.forget_deletions();
    host.restart();
    feed.put("task", "OpaqueRef:another", task("pending", "", &[]));
    let error = started.finish(None).await.unwrap_err();
    assert!(matches!(error, TaskError::Vanished { .. }), "{error}");
}

#[tokio::test]
async fn a_session_that_ends_in_between_does_not_lose_the_task() {
    let (host, feed, pool) = host_with_task().await;
    let started = pool.start(take()).await.unwrap();
    until("the stream runs", || host.count("event.from") >= 2).await;
    host.end_sessions();
    feed.put("task", TASK, task("success", DONE, &[]));
    started.finish(None).await.unwrap();
}

#[tokio::test]
async fn a_tag_travels_in_a_header_and_finds_the_task_again() {
    let (host, feed, pool) = host_with_task().await;
    host.on("task.get_all_records", |_| {
        let tagged = |value: &str| {
            let mut record = task("pending", "", &[]);
            record["other_config"] = json!({"http:xensnap-nonce": value});
            record
        };
        Reply::Value(json!({"OpaqueRef:a": tagged("other"), TASK: tagged("n-1"), "OpaqueRef:b": task("pending", "", &[])}))
    });
    let started = pool.start(take().tagged("xensnap-nonce", "n-1")).await.unwrap();
    let sent = host.calls().into_iter().find(|rpc| rpc.method == "Async.VM.snapshot").unwrap();
    assert_eq!(sent.heard.headers["x-http-other-config-xensnap-nonce"], "n-1");
    drop(started);
    let found = pool.find_by_tag("xensnap-nonce", "n-1").await.unwrap();
    assert_eq!(found.iter().map(|found| found.reference.to_string()).collect::<Vec<_>>(), [TASK]);
    feed.put("task", TASK, task("success", DONE, &[]));
    let again = pool.pick_up::<Ref<Vm>>(found[0].reference.clone());
    again.finish(None).await.unwrap();
}

#[tokio::test]
async fn a_lost_answer_to_a_start_is_ambiguous_and_not_sent_twice() {
    let (host, _, pool) = host_with_task().await;
    host.on("Async.VM.snapshot", |_| Reply::Cut);
    assert_eq!(kind(pool.start(take()).await), Kind::Ambiguous);
    assert_eq!(host.count("Async.VM.snapshot"), 1);
}

#[tokio::test]
async fn results_of_every_shape_are_decoded() {
    for (result, expected) in [
        ("", None),
        ("<value></value>", None),
        ("<value><array><data><value>OpaqueRef:x</value></data></array></value>", Some("OpaqueRef:x")),
    ] {
        let (_, feed, pool) = host_with_task().await;
        feed.put("task", TASK, task("success", result, &[]));
        match expected {
            None => drop(pool.pick_up::<Void>(Ref::new(TASK)).finish(None).await.unwrap()),
            Some(expected) => {
                let references = pool.pick_up::<Vec<Ref<Vm>>>(Ref::new(TASK)).finish(None).await.unwrap();
                assert_eq!(references, [Ref::new(expected)]);
            }
        }
    }
    let (_, feed, pool) = host_with_task().await;
    feed.put("task", TASK, task("success", "<value><struct>", &[]));
    assert!(matches!(pool.pick_up::<Ref<Vm>>(Ref::new(TASK)).finish(None).await, Err(TaskError::Unreadable { .. })));
}

#[tokio::test]
async fn after_the_logout_nobody_polls() {
    let (host, _, pool) = host_with_task().await;
    let started = pool.start(take()).await.unwrap();
    until("the stream runs", || host.count("event.from") >= 2).await;
    tokio::time::timeout(Duration::from_secs(5), pool.logout()).await.unwrap();
    assert_eq!(host.open_sessions(), 0);
    assert!(matches!(started.finish(None).await, Err(TaskError::Unwatched { .. })));
}

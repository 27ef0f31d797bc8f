//! One session per pool, renewed where that is safe, and never left behind.

use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;
use tokio::sync::Notify;

use super::fake::{Reply, failure};
use super::*;

/// Answers the first time with `first`, afterwards with `rest`.
fn once(first: Reply, rest: Reply) -> impl Fn(fake::Rpc) -> Reply + Send + Sync {
    let calls = AtomicUsize::new(0);
    move |_| if calls.fetch_add(1, Ordering::SeqCst) == 0 { first.clone() } else { rest.clone() }
}

#[tokio::test]
async fn a_hundred_callers_share_one_session() {
    let (host, pool) = pool().await;
    host.on("VM.get_all", |_| Reply::Value(json!([])));
    let calls = (0..100).map(|_| {
        tokio::spawn({
            let pool = pool.clone();
            async move { pool.call(read()).await }
        })
    });
    for call in calls.collect::<Vec<_>>() {
        call.await.unwrap().unwrap();
    }
    assert_eq!((host.opened_sessions(), host.count("VM.get_all")), (1, 100));
    pool.logout().await;
    assert_eq!(host.open_sessions(), 0);
}

#[tokio::test]
async fn the_login_names_us_constantly() {
    let (host, pool) = pool().await;
    pool.connected().await.unwrap();
    let login = host.calls().into_iter().find(|rpc| rpc.method == "session.login_with_password").unwrap();
    assert_eq!((login.text(0), login.text(3)), ("root", "xensnap|test"));
    assert_eq!(login.heard.headers["user-agent"], concat!("xensnap/", env!("CARGO_PKG_VERSION")));
}

#[tokio::test]
async fn a_session_that_ended_is_renewed_and_the_call_made_once() {
    let (host, pool) = pool().await;
    host.on("VM.snapshot", |_| Reply::Value(json!("OpaqueRef:snapshot")));
    pool.connected().await.unwrap();
    let before = pool.incarnation().unwrap();
    host.end_sessions();
    assert_eq!(pool.call(snapshot()).await.unwrap(), "OpaqueRef:snapshot");
    assert_eq!((host.opened_sessions(), host.count("VM.snapshot")), (2, 2), "one refused before it ran, one done");
    let after = pool.incarnation().unwrap();
    assert!(after.number > before.number && after.is_same_server(&before));
}

#[tokio::test]
async fn a_restart_of_the_toolstack_is_seen() {
    let (host, pool) = pool().await;
    host.on("VM.get_all", |_| Reply::Value(json!([])));
    pool.connected().await.unwrap();
    let before = pool.incarnation().unwrap();
    host.restart();
    pool.call(read()).await.unwrap();
    assert!(!pool.incarnation().unwrap().is_same_server(&before));
}

#[tokio::test]
async fn a_session_that_never_lives_is_not_renewed_for_ever() {
    let (host, pool) = pool().await;
    host.on("VM.get_all", |rpc| failure(&["SESSION_INVALID", rpc.text(0)]));
    let error = pool.call(read()).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Transient);
    assert_eq!(host.count("VM.get_all"), 2);
    assert!(!error.to_string().contains("OpaqueRef:session"), "{error}");
}

#[tokio::test]
async fn another_sessions_end_in_the_middle_of_a_mutating_call_is_ambiguous() {
    let (host, pool) = pool().await;
    host.on("VM.snapshot", |_| failure(&["SESSION_INVALID", "OpaqueRef:of-a-member"]));
    assert_eq!(kind(pool.call(snapshot()).await), Kind::Ambiguous);
    assert_eq!(host.count("VM.snapshot"), 1);
}

#[tokio::test]
async fn a_lost_answer_is_asked_for_again_only_if_nothing_can_happen_twice() {
    let (host, pool) = pool().await;
    host.on("VM.get_all", once(Reply::Cut, Reply::Value(json!(["OpaqueRef:vm"]))));
    host.on("VM.snapshot", once(Reply::Cut, Reply::Value(json!("OpaqueRef:snapshot"))));
    host.on("VM.set_name_label", once(Reply::Cut, Reply::Value(json!(""))));
    assert_eq!(pool.call(read()).await.unwrap(), ["OpaqueRef:vm"]);
    pool.call(Call::<xensnap::xenapi::types::Void>::idempotent("VM.set_name_label")).await.unwrap();
    assert_eq!(kind(pool.call(snapshot()).await), Kind::Ambiguous);
    assert_eq!((host.count("VM.get_all"), host.count("VM.set_name_label"), host.count("VM.snapshot")), (2, 2, 1));
}

#[tokio::test]
async fn a_broken_connection_does_not_cost_a_session() {
    let (host, pool) = pool().await;
    host.on("VM.get_all", once(Reply::Cut, Reply::Value(json!([]))));
    pool.call(read()).await.unwrap();
    assert_eq!(host.opened_sessions(), 1);
    assert_eq!(pool.incarnation().unwrap().number, 1);
}

#[tokio::test]
async fn an_answer_that_never_comes_is_given_up() {
    let (host, _) = pool().await;
    let mut settings = settings(&host);
    settings.timeouts.connect = Duration::from_millis(200);
    settings.timeouts.answer = Duration::from_millis(300);
    let pool = open(settings);
    host.on("VM.snapshot", |_| Reply::Hang);
    assert_eq!(kind(pool.call(snapshot()).await), Kind::Ambiguous);
    host.on("VM.get_all", once(Reply::Hang, Reply::Value(json!([]))));
    pool.call(read()).await.unwrap();
}

#[tokio::test]
async fn a_caller_who_goes_away_leaves_no_session_behind() {
    let (host, pool) = pool().await;
    let asked = Arc::new(Notify::new());
    let answer = Arc::new(Notify::new());
    let (heard, go) = (Arc::clone(&asked), Arc::clone(&answer));
    // The identification holds the login up; the session is open already.
    host.on_later("host.get_all_records", move |_| {
        let (heard, go) = (Arc::clone(&heard), Arc::clone(&go));
        async move {
            heard.notify_one();
            go.notified().await;
            Reply::Value(json!({}))
        }
    });
    let caller = tokio::spawn({
        let pool = pool.clone();
        async move { pool.connected().await }
    });
    asked.notified().await;
    caller.abort();
    assert!(caller.await.unwrap_err().is_cancelled());
    let logout = tokio::spawn({
        let pool = pool.clone();
        async move { pool.logout().await }
    });
    until("logged out on our side", || host.open_sessions() == 1 && !logout.is_finished()).await;
    answer.notify_one();
    logout.await.unwrap();
    assert_eq!((host.opened_sessions(), host.open_sessions()), (1, 0));
}

#[tokio::test]
async fn the_last_handle_logs_out() {
    let (host, pool) = pool().await;
    pool.connected().await.unwrap();
    let copy = pool.clone();
    drop(pool);
    assert_eq!(host.open_sessions(), 1);
    drop(copy);
    until("logged out", || host.open_sessions() == 0).await;
}

#[tokio::test]
async fn after_a_logout_calls_are_refused_on_our_side() {
    let (host, pool) = pool().await;
    pool.connected().await.unwrap();
    pool.logout().await;
    let error = pool.clone().call(read()).await.unwrap_err();
    assert!(error.to_string().contains("logged out"), "{error}");
    assert_eq!((host.count("VM.get_all"), host.count("session.logout")), (0, 1));
    pool.logout().await;
    assert_eq!(host.count("session.logout"), 1);
}

#[tokio::test]
async fn a_logout_that_is_not_answered_does_not_hold_up_the_shutdown() {
    let (host, _) = pool().await;
    let mut settings = settings(&host);
    settings.timeouts.logout = Duration::from_millis(100);
    let pool = open(settings);
    host.on("session.logout", |_| Reply::Hang);
    pool.connected().await.unwrap();
    tokio::time::timeout(Duration::from_secs(5), pool.logout()).await.unwrap();
}

#[tokio::test]
async fn neither_password_nor_session_is_in_an_error_though_the_server_echoes_both() {
    for style in [fake::JsonStyle::Two, fake::JsonStyle::None] {
        let (host, _) = pool().await;
        host.speaks(style);
        host.on("session.login_with_password", |rpc| {
            failure(&["INTERNAL_ERROR", &format!("{:?}", rpc.params), &String::from_utf8_lossy(&rpc.heard.body)])
        });
        let mut with_odd_password = settings(&host);
        with_odd_password.password = "p<a&s\"s".into();
        let refused = open(with_odd_password).connected().await.unwrap_err();
        let shown = format!("{refused} {refused:?}");
        assert!(shown.contains("INTERNAL_ERROR") && !shown.contains("a&s") && !shown.contains("p&lt;a"), "{shown}");
    }
    let (host, pool) = pool().await;
    host.on("VM.get_all", |rpc| failure(&["INTERNAL_ERROR", &String::from_utf8_lossy(&rpc.heard.body)]));
    let error = pool.call(read()).await.unwrap_err();
    assert!(!format!("{error} {error:?}").contains("OpaqueRef:session"), "{error:?}");
}

#[tokio::test]
async fn a_wrong_password_is_said_once_and_not_tried_again_and_again() {
    let (host, _) = pool().await;
    let mut settings = settings(&host);
    settings.password = "wrong".into();
    settings.backoff.longest = Duration::from_secs(30);
    let pool = open(settings);
    for _ in 0..3 {
        let error = pool.call(read()).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Denied);
        assert!(error.to_string().contains("check `username` and the password"), "{error}");
    }
    assert_eq!(host.count("session.login_with_password"), 1);
}

#[tokio::test]
async fn a_user_without_a_role_is_told_so() {
    let (host, pool) = pool().await;
    host.on("session.login_with_password", |_| failure(&["RBAC_PERMISSION_DENIED", "session.login_with_password", "no role"]));
    let error = pool.connected().await.unwrap_err();
    assert!(error.kind() == Kind::Denied && error.to_string().contains("role"), "{error}");
}

#[tokio::test]
async fn a_role_without_the_right_is_told_which_role_it_takes() {
    let (host, pool) = pool().await;
    host.on("VM.snapshot", |_| failure(&["RBAC_PERMISSION_DENIED", "vm.snapshot", "No permission in user session"]));
    let error = pool.call(snapshot()).await.unwrap_err();
    assert!(error.kind() == Kind::Denied && error.to_string().contains("vm-power-admin"), "{error}");
}

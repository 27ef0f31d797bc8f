//! Finding the master, keeping to the pool, and waiting for one that is away.

use serde_json::json;

use super::fake::Reply;
use super::*;

/// Two hosts that know one another as 10.0.0.1 and 10.0.0.2, and settings that name the first.
async fn two_hosts() -> (Arc<Host>, Arc<Host>, Settings) {
    let (first, second) = (Host::start().await, Host::start().await);
    let mut settings = settings(&first);
    for (inner, host) in [("10.0.0.1", &first), ("10.0.0.2", &second)] {
        settings.address_map.insert(inner.to_owned(), host.address().parse().unwrap());
        host.set_members(&["10.0.0.1", "10.0.0.2"]);
        host.on("VM.get_all", |_| Reply::Value(json!([])));
    }
    (first, second, settings)
}

#[tokio::test]
async fn a_member_leads_to_its_master() {
    let (first, second, settings) = two_hosts().await;
    first.set_master(Some("10.0.0.2"));
    let pool = open(settings);
    pool.call(read()).await.unwrap();
    assert_eq!(pool.incarnation().unwrap().address.to_string(), second.address());
    assert_eq!((first.open_sessions(), second.open_sessions()), (0, 1));
    assert_eq!(pool.known_members().len(), 2);
    assert_eq!(pool.hosts()[0].reference, format!("OpaqueRef:host{}", if first.port < second.port { 0 } else { 1 }));
}

#[tokio::test]
async fn the_master_is_followed_when_it_moves() {
    let (first, second, settings) = two_hosts().await;
    let pool = open(settings);
    pool.call(read()).await.unwrap();
    first.set_master(Some("10.0.0.2"));
    pool.call(read()).await.unwrap();
    let incarnation = pool.incarnation().unwrap();
    assert_eq!((incarnation.number, incarnation.address.to_string()), (2, second.address()));
}

#[tokio::test]
async fn when_the_master_dies_a_learnt_member_is_asked() {
    let (first, second, settings) = two_hosts().await;
    let pool = open(settings);
    pool.call(read()).await.unwrap();
    first.stop_listening();
    first.on("VM.get_all", |_| Reply::Cut);
    pool.call(read()).await.unwrap();
    assert_eq!(pool.incarnation().unwrap().address.to_string(), second.address());
}

#[tokio::test]
async fn a_member_remembered_from_earlier_is_asked_when_the_configured_host_is_gone() {
    let (first, second, mut settings) = two_hosts().await;
    first.stop_listening();
    settings.members = vec![second.address().parse().unwrap()];
    open(settings).call(read()).await.unwrap();
    assert_eq!(second.open_sessions(), 1);
}

#[tokio::test]
async fn members_that_keep_naming_a_dead_master_are_asked_once_a_round() {
    let (first, second, mut settings) = two_hosts().await;
    first.stop_listening();
    second.set_master(Some("10.0.0.1"));
    settings.addresses.push(second.address().parse().unwrap());
    settings.patience = Duration::ZERO;
    let pool = open(settings);
    let error = pool.connected().await.unwrap_err();
    assert_eq!(error.kind(), Kind::Transient);
    assert!(error.to_string().contains("names 10.0.0.1 as the master"), "{error}");
    assert_eq!(second.count("session.login_with_password"), 1);
}

#[tokio::test]
async fn two_hosts_that_name_one_another_do_not_send_us_in_circles() {
    let (first, second, mut settings) = two_hosts().await;
    first.set_master(Some("10.0.0.2"));
    second.set_master(Some("10.0.0.1"));
    settings.patience = Duration::ZERO;
    let error = open(settings).connected().await.unwrap_err();
    assert_eq!(error.kind(), Kind::Transient);
    assert_eq!(first.count("session.login_with_password") + second.count("session.login_with_password"), 2);
}

#[tokio::test]
async fn another_pool_is_refused_with_both_uuids_and_without_leaving_a_session() {
    let (host, _) = pool().await;
    let mut settings = settings(&host);
    settings.pool_uuid = Some("22222222-2222-2222-2222-222222222222".to_owned());
    let error = open(settings).connected().await.unwrap_err();
    let shown = error.to_string();
    for expected in ["11111111-1111-1111-1111-111111111111", "22222222-2222-2222-2222-222222222222", &host.address()] {
        assert!(shown.contains(expected), "{shown}");
    }
    assert!(error.is_final());
    assert_eq!((host.opened_sessions(), host.open_sessions()), (1, 0));
}

#[tokio::test]
async fn the_first_pool_found_is_kept_to() {
    let (host, pool) = pool().await;
    host.on("VM.get_all", |_| Reply::Value(json!([])));
    pool.call(read()).await.unwrap();
    assert_eq!(pool.uuid().as_deref(), Some("11111111-1111-1111-1111-111111111111"));
    host.set_pool_uuid("33333333-3333-3333-3333-333333333333");
    host.end_sessions();
    let error = pool.call(read()).await.unwrap_err();
    assert!(error.to_string().contains("33333333"), "{error}");
    assert_eq!(host.open_sessions(), 0);
}

#[tokio::test]
async fn an_ejected_host_does_not_keep_us_from_the_pool() {
    let (first, second, mut settings) = two_hosts().await;
    settings.addresses.push(second.address().parse().unwrap());
    settings.pool_uuid = Some("11111111-1111-1111-1111-111111111111".to_owned());
    first.set_pool_uuid("33333333-3333-3333-3333-333333333333");
    open(settings).call(read()).await.unwrap();
    assert_eq!((first.open_sessions(), second.opened_sessions()), (0, 1));
}

#[tokio::test]
async fn a_booting_host_is_waited_for() {
    for words in [&["HOST_STILL_BOOTING"][..], &["HOST_HAS_NO_MANAGEMENT_IP"], &["HOST_MASTER_CANNOT_TALK_BACK", "10.0.0.1"]] {
        let (host, pool) = pool().await;
        host.set_emergency(4, words);
        pool.connected().await.unwrap();
        assert_eq!((host.opened_sessions(), host.count("pool.get_all")), (1, 5), "{words:?}");
    }
}

#[tokio::test]
async fn a_call_waits_while_the_host_boots() {
    let (host, pool) = pool().await;
    host.on("VM.snapshot", |_| Reply::Value(json!("OpaqueRef:s")));
    pool.connected().await.unwrap();
    host.set_emergency(4, &["HOST_STILL_BOOTING"]);
    pool.call(snapshot()).await.unwrap();
    assert_eq!((host.opened_sessions(), host.count("pool.get_all")), (1, 5), "probed once, then the session tried");
}

#[tokio::test]
async fn a_pool_that_is_away_is_waited_for_until_patience_ends() {
    let (host, _) = pool().await;
    host.stop_listening();
    let mut settings = settings(&host);
    settings.patience = Duration::from_millis(150);
    let pool = open(settings);
    let error = pool.call(snapshot()).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Transient, "{error}");
    assert!(error.to_string().contains("refused"), "{error}");
    let wrap = fake::Wrap::Plain;
    let call = tokio::spawn({
        let pool = pool.clone();
        async move { pool.call(snapshot().within(Duration::from_secs(10))).await }
    });
    let again = Host::start_wrapped(wrap, host.port).await;
    again.on("VM.snapshot", |_| Reply::Value(json!("OpaqueRef:s")));
    call.await.unwrap().unwrap();
}

#[tokio::test]
async fn waiting_is_counted_on_the_clock() {
    let clock = xensnap::clock::HandClock::new(START);
    let (host, _) = pool().await;
    host.stop_listening();
    let mut settings = settings(&host);
    settings.patience = Duration::from_secs(3600);
    settings.backoff = Backoff { first: Duration::from_secs(60), longest: Duration::from_secs(600) };
    let pool = Pool::open(settings, Arc::new(clock.clone())).unwrap();
    let error = clock.run(async { pool.connected().await }).await.unwrap_err();
    assert!(error.to_string().contains("not reachable for"), "{error}");
}

#[tokio::test]
async fn a_name_that_does_not_exist_and_a_refused_connection_are_told_apart() {
    let mut settings = Settings::new("lab", "https://no-such-host.invalid".parse().unwrap(), "root", PASSWORD.into());
    settings.patience = Duration::ZERO;
    let shown = open(settings.clone()).connected().await.unwrap_err().to_string();
    assert!(shown.contains("cannot be resolved") && shown.contains("no-such-host.invalid"), "{shown}");
    let (host, _) = pool().await;
    host.stop_listening();
    settings.addresses = vec![format!("https://127.0.0.1:{}", host.port).parse().unwrap()];
    let shown = open(settings).connected().await.unwrap_err().to_string();
    assert!(shown.contains("refused") && shown.contains("toolstack"), "{shown}");
}

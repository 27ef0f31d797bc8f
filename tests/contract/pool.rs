//! Sessions, certificates, masters: what comes before the first useful call.

use std::sync::Arc;
use std::time::Duration;

use xensnap::clock::SystemClock;
use xensnap::simulator::http::tls::Identity;
use xensnap::simulator::value::Value;
use xensnap::xenapi::records::Vm;
use xensnap::xenapi::types::Void;
use xensnap::xenapi::{Call, Pool, Settings};

use super::support::{PATIENCE, all, connected, settings, simulated};

async fn refused(settings: Settings) -> String {
    let settings = Settings { patience: Duration::ZERO, ..settings };
    Pool::connect(settings, Arc::new(SystemClock::new())).await.unwrap_err().to_string()
}

fn sessions(server: &xensnap::simulator::Server) -> usize {
    server.shared().step(|world| world.database.count("session"))
}

#[tokio::test(flavor = "multi_thread")]
async fn one_session_serves_all_callers_and_ends_with_the_logout() {
    let server = simulated("26.17").await;
    let pool = connected(&server, None).await;
    let calls = (0..8).map(|_| {
        let pool = pool.clone();
        tokio::spawn(async move { all::<Vm>(&pool).await.len() })
    });
    for call in calls {
        assert!(call.await.unwrap() > 0);
    }
    assert_eq!(sessions(&server), 1);
    pool.logout().await;
    assert_eq!(sessions(&server), 0);
    server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_the_server_ended_is_renewed_and_the_call_succeeds() {
    let server = simulated("26.17").await;
    let pool = connected(&server, None).await;
    let before = pool.incarnation().unwrap().number;
    for session in server.shared().step(|world| world.database.refs("session")) {
        server.shared().step(|world| xensnap::simulator::sessions::end(world, &session));
    }
    let vm = super::support::a_vm(&pool).await;
    pool.call::<Void>(Call::mutating("VM.add_tags").with(&vm).with("renewed")).await.unwrap();
    assert!(pool.incarnation().unwrap().number > before);
    pool.logout().await;
    assert_eq!(sessions(&server), 0);
    server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_one_line_that_does_not_contain_it() {
    let server = simulated("26.17").await;
    let text = refused(Settings { password: "hunter2".into(), ..settings(&server, None) }).await;
    assert!(text.contains("root") && text.contains("password") && !text.contains("hunter2") && !text.contains('\n'), "{text}");
    server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_with_another_uuid_is_refused_by_both_uuids() {
    let server = simulated("26.17").await;
    let meant = "11111111-2222-3333-4444-555555555555";
    let found = server.shared().step(|world| world.database.rows("pool").next().map(|(r, _)| r.clone()).unwrap());
    let found = server.shared().step(|world| world.database.text("pool", &found, "uuid"));
    let text = refused(Settings { pool_uuid: Some(meant.to_owned()), ..settings(&server, None) }).await;
    assert!(text.contains(meant) && text.contains(&*found), "{text}");
    assert_eq!(sessions(&server), 0, "the session of a refused pool is given back");
    server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_certificate_is_refused_with_the_line_that_accepts_it() {
    let identity = Identity::self_signed(&["127.0.0.1"]).unwrap();
    let fingerprint = identity.fingerprint();
    let server = secured(identity).await;
    let address = format!("https://{}", server.address()).parse().unwrap();
    let mut settings = Settings { patience: PATIENCE, ..Settings::new("lab", address, "root", "xensnap".into()) };
    let text = refused(settings.clone()).await;
    let line = format!("fingerprints = [\"sha256:{fingerprint}\"]");
    assert!(text.contains(&line), "{text}");
    settings.trust.fingerprints = vec![fingerprint.parse().unwrap()];
    let pool = Pool::connect(settings, Arc::new(SystemClock::new())).await.unwrap();
    assert!(!all::<Vm>(&pool).await.is_empty());
    pool.logout().await;
    server.shutdown().await;
}

async fn secured(identity: Identity) -> xensnap::simulator::Server {
    use xensnap::clock::SharedClock;
    use xensnap::simulator::generate::{Recipe, generate};
    let clock: SharedClock = Arc::new(SystemClock::new());
    let world = generate(&Recipe { vms: 3, ..Recipe::default() }, clock.now());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let options = xensnap::simulator::Options { tls: Some(identity), ..Default::default() };
    xensnap::simulator::Server::start(options, clock, world, listener).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_leads_to_the_master() {
    let server = simulated("26.17").await;
    let (member, master) = server.shared().step(|world| {
        let member = world.database.refs("host").into_iter().find(|host| *host != world.master).unwrap();
        (member, world.master.clone())
    });
    // Servers name addresses without ports; so the member has an address of its own, and the master's port.
    let address = Value::str(server.address().ip().to_string());
    server.shared().step(|world| world.database.set("host", &master, "address", address)).unwrap();
    let listener = tokio::net::TcpListener::bind(("127.0.0.2", server.address().port())).await.unwrap();
    let at = server.listen(&member, listener).unwrap();
    let settings = Settings {
        patience: PATIENCE,
        ..Settings::new("lab", format!("http://{at}").parse().unwrap(), "root", "xensnap".into())
    };
    let pool = Pool::connect(settings, Arc::new(SystemClock::new())).await.unwrap();
    assert_eq!(pool.incarnation().unwrap().master, &*master);
    assert_eq!(pool.incarnation().unwrap().address.to_string(), format!("http://{}", server.address()));
    pool.logout().await;
    server.shutdown().await;
}

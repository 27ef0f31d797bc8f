//! `xensnap alarms` against a service in this process, against a history alone, and with nothing but a configuration.

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use serde_json::Value;
use snapbox::str;
use xensnap::daemon::{Alarms, Channel, Route};
use xensnap::domain::alarm::Rules;
use xensnap::domain::event::Severity;
use xensnap::domain::policy::Policy;
use xensnap::domain::span::Exact;
use xensnap::outward::WebRoute;

use crate::json::assert_described;
use crate::lab::{HISTORY, Lab, policy};
use crate::service::{asked, run};
use crate::world::xensnap;

/// A VM that never gets a snapshot, and a receiver that nobody is at.
async fn unheard() -> Lab {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = format!("http://127.0.0.1:{port}/hunter2").parse().unwrap();
    let route = Route::Web(Box::new(WebRoute { url, secret: None, ca_file: None, timeout: Duration::from_secs(20) }));
    let promising = Policy { rpo: Some(Exact::seconds(7200)), ..policy("nightly", "0 2 1 1 *", "*", 9) };
    let mut lab = Lab::new(1, vec![promising]).await;
    lab.alarms = Some(Arc::new(Alarms {
        look_every: Duration::from_secs(600),
        rules: Rules { least: Severity::Error, remind: None },
        interval: TimeDelta::zero(),
        give_up: TimeDelta::days(3),
        digest: None,
        channels: vec![Channel { name: "chat".into(), route }],
        pool_messages: Some(Severity::Warning),
        dead_man: None,
    }));
    lab.start().await;
    lab.until("2026-03-01T15:00:00Z").await;
    lab
}

#[tokio::test]
async fn what_is_raised_and_what_waits_is_shown_and_a_channel_can_be_tried() {
    let mut lab = unheard().await;
    asked(&lab, 80, "alarms --utc").await.code(1).stdout_eq(str![[r#"
SEVERITY  SINCE (UTC)             AGE  POOL  POLICY   CODE
error     2026-03-01 [..]  lab   nightly  rpo-broken
    VM cache-01, policy nightly: it has had no good snapshot for longer than the
    2h that are promised
1 alarm raised

Not delivered
CHANNEL  FORM       WRITTEN (UTC)        TRIES  STATE    AGAIN IN
chat     immediate  2026-03-01 [..]      [..]  waiting[..]
    http://127.0.0.1:[..]/... cannot be reached (Connection refused (os error
    111)); check the name and the port, and that this machine may go there

channels: chat, pool:lab

"#]]);
    asked(&lab, 200, "alarms --utc").await.code(1).stdout_eq(str![[r#"
SEVERITY  SINCE (UTC)             AGE  POOL  POLICY   CODE        WHY
error     2026-03-01 [..]  lab   nightly  rpo-broken  VM cache-01, policy nightly: it has had no good snapshot for longer than the 2h that are promised
1 alarm raised

Not delivered
CHANNEL  FORM       WRITTEN (UTC)        TRIES  STATE    AGAIN IN
chat     immediate  2026-03-01 [..]      [..]  waiting[..]
    http://127.0.0.1:[..]/... cannot be reached (Connection refused (os error 111)); check the name and the port, and that this machine may go there

channels: chat, pool:lab

"#]]);
    let told = asked(&lab, 80, "alarms --json").await.code(1);
    let told: Value = serde_json::from_slice(&told.get_output().stdout).unwrap();
    assert_described(&told, "alarms --json");
    assert_eq!((&told["alarms"][0]["code"], &told["deliveries"][1]["state"]), (&"rpo-broken".into(), &"waiting".into()));
    asked(&lab, 80, "alarms test").await.code(1).stdout_eq(str![[r#"
chat: http://127.0.0.1:[..]/... cannot be reached (Connection refused (os error 111)); check the name and the port, and that this machine may go there
pool:lab: the pool lab keeps it among its messages

"#]]);
    asked(&lab, 80, "alarms test pool:lab").await.success();
    asked(&lab, 80, "alarms test caht").await.code(2).stderr_eq(str![[r#"
xensnap: no channel is called caht; did you mean chat?

"#]]);
    lab.stop().await;
}

#[tokio::test]
async fn where_no_service_runs_the_history_is_shown_and_channels_are_tried_from_here() {
    let mut lab = unheard().await;
    lab.stop().await;
    let folder = lab.folder.path();
    let main = folder.join("xensnap.toml");
    let text = format!(
        "installation = \"x\"\n[store]\npath = {:?}\n[daemon]\nsocket = \"none.sock\"\n[alarms.pool_messages]\n[[alarms.webhook]]\nname = \"chat\"\nurl = \"http://127.0.0.1:1/hunter2\"\n",
        folder.join(HISTORY)
    );
    std::fs::write(&main, text).unwrap();
    let words = |words: &str| xensnap(80).args(words.split_whitespace()).arg("--config").arg(&main);
    run(words("alarms --utc")).await.code(1).stdout_eq(str![[r#"
SEVERITY  SINCE (UTC)           AGE  POOL  POLICY   CODE
error     2026-03-01 [..]  lab   nightly  rpo-broken
    VM cache-01, policy nightly: it has had no good snapshot for longer than the
    2h that are promised
1 alarm raised

Not delivered
CHANNEL  FORM       WRITTEN (UTC)        TRIES  STATE    AGAIN IN
chat     immediate  2026-03-01 [..]      [..]  waiting[..]
    http://127.0.0.1:[..]/... cannot be reached (Connection refused (os error
    111)); check the name and the port, and that this machine may go there

nobody looks now: no service runs, or its main file has no [alarms]

"#]]);
    run(words("alarms test")).await.code(1).stdout_eq(str![[r#"
chat: http://127.0.0.1:1/... cannot be reached (Connection refused (os error 111)); check the name and the port, and that this machine may go there

"#]]);
    lab.clock.settle().await;
}

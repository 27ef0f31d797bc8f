//! Which wire is used, and what requests look like on it.

use serde_json::json;

use super::fake::{JsonStyle, Reply};
use super::*;
use xensnap::xenapi::wire::Wire;

async fn wire_used(style: JsonStyle, forced: Option<Wire>) -> (Arc<Host>, Vec<bool>) {
    let (host, _) = pool().await;
    host.speaks(style);
    host.on("VM.get_all", |_| Reply::Value(json!(["OpaqueRef:vm"])));
    let mut settings = settings(&host);
    settings.wire = forced;
    let pool = open(settings);
    for _ in 0..2 {
        assert_eq!(pool.call(read()).await.unwrap(), ["OpaqueRef:vm"]);
    }
    let xml = host.calls().iter().filter(|rpc| rpc.method == "VM.get_all").map(fake::Rpc::is_xml).collect();
    (host, xml)
}

#[tokio::test]
async fn json_is_used_where_it_is_json_rpc_2_and_xml_elsewhere() {
    for (style, xml) in [(JsonStyle::Two, false), (JsonStyle::One, true), (JsonStyle::None, true)] {
        let (host, used) = wire_used(style, None).await;
        assert_eq!(used, [xml, xml], "{style:?}");
        assert_eq!(host.count("pool.get_all"), 1, "asked once");
    }
}

#[tokio::test]
async fn a_forced_wire_is_used_without_asking() {
    let (host, used) = wire_used(JsonStyle::Two, Some(Wire::Xml)).await;
    assert_eq!((used, host.count("pool.get_all")), (vec![true, true], 0));
}

#[tokio::test]
async fn the_question_for_the_wire_carries_no_password() {
    let (host, pool) = pool().await;
    pool.connected().await.unwrap();
    let first = host.calls().remove(0);
    assert_eq!((first.method.as_str(), first.params.len()), ("pool.get_all", 0));
}

#[tokio::test]
async fn requests_have_a_length_a_small_head_and_keep_their_connection() {
    let (host, pool) = pool().await;
    host.on("VM.get_all", |_| Reply::Value(json!([])));
    for _ in 0..5 {
        pool.call(read()).await.unwrap();
    }
    for rpc in host.calls() {
        let headers = &rpc.heard.headers;
        assert_eq!(headers["content-length"], rpc.heard.body.len().to_string());
        assert!(!headers.contains_key("transfer-encoding") && !headers.contains_key("expect"), "{headers:?}");
        assert!(!headers.contains_key("accept-encoding"), "{headers:?}");
        assert!(rpc.heard.head_size < 400, "{}", rpc.heard.head_size);
    }
    assert_eq!(host.connections(), 1);
}

#[tokio::test]
async fn a_large_answer_is_decoded_as_well_as_a_small_one() {
    let (host, pool) = pool().await;
    let references: Vec<String> = (0..60_000).map(|n| format!("OpaqueRef:{n:036}")).collect();
    let sent = references.clone();
    host.on("VM.get_all", move |_| Reply::Value(json!(sent)));
    assert_eq!(pool.call(read()).await.unwrap(), references);
    assert_eq!(host.connections(), 1);
}

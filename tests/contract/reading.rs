//! Records, the same over both wires, in every release.

use xensnap::xenapi::records::{Host, Message, Pbd, Sr, Task, Vbd, Vdi, Vm, VmGuestMetrics};
use xensnap::xenapi::types::Void;
use xensnap::xenapi::wire::Wire;
use xensnap::xenapi::{Call, Pool};

use super::support::{RELEASES, all, code, connected, simulated, wires};

macro_rules! same_on_both {
    ($one:ident $other:ident $($class:ident)*) => {$(
        let (one, other) = (all::<$class>(&$one).await, all::<$class>(&$other).await);
        assert_eq!(one, other, concat!(stringify!($class), " differs between the wires"));
    )*};
}

#[tokio::test(flavor = "multi_thread")]
async fn every_record_is_the_same_over_both_wires() {
    for (release, found) in RELEASES {
        let server = simulated(release).await;
        if wires(found).len() == 2 {
            let (json, xml) = (connected(&server, Some(Wire::Json)).await, connected(&server, Some(Wire::Xml)).await);
            same_on_both!(json xml Vm Host Sr Pbd Vbd Vdi VmGuestMetrics Task Message);
            json.logout().await;
            xml.logout().await;
        }
        server.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_release_is_read_over_every_wire_it_has() {
    for (release, found) in RELEASES {
        let server = simulated(release).await;
        for wire in wires(found) {
            let pool = connected(&server, Some(wire)).await;
            let vms = all::<Vm>(&pool).await;
            assert_eq!(vms.values().filter(|vm| vm.is_plain()).count(), 12, "{release} over {wire:?}");
            assert!(all::<Host>(&pool).await.len() == 2 && !all::<Sr>(&pool).await.is_empty(), "{release} over {wire:?}");
            pool.logout().await;
        }
        server.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_wire_is_found_by_itself_and_remembered() {
    for (release, expected) in RELEASES {
        let server = simulated(release).await;
        let pool = connected(&server, None).await;
        assert_eq!(pool.wire(), Some(expected), "{release}");
        pool.logout().await;
        server.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_keep_code_and_parameters_on_both_wires() {
    let server = simulated("26.17").await;
    for wire in [Wire::Json, Wire::Xml] {
        let pool = connected(&server, Some(wire)).await;
        let refused = pool.call::<Vm>(Call::read("VM.get_record").with("OpaqueRef:nope")).await;
        let failure = refused.unwrap_err().failure().unwrap().clone();
        assert_eq!(
            (failure.code.as_str(), failure.params),
            ("HANDLE_INVALID", vec!["VM".to_owned(), "OpaqueRef:nope".to_owned()])
        );
        assert_eq!(unknown_method(&pool).await, "MESSAGE_METHOD_UNKNOWN");
        pool.logout().await;
    }
    server.shutdown().await;
}

async fn unknown_method(pool: &Pool) -> String {
    code(pool.call::<String>(Call::read("VM.get_no_such_field").with("OpaqueRef:NULL")).await)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_map_key_that_is_no_xml_does_not_hide_the_pool() {
    let server = simulated("26.17").await;
    let json = connected(&server, Some(Wire::Json)).await;
    let vm = super::support::a_vm(&json).await;
    let key = "k<&></name>\"";
    json.call::<Void>(Call::mutating("VM.add_to_other_config").with(&vm).with(key).with("v<&>")).await.unwrap();
    let xml = connected(&server, Some(Wire::Xml)).await;
    for pool in [&json, &xml] {
        assert_eq!(all::<Vm>(pool).await[&vm].other_config.get(key), Some("v<&>"));
        pool.logout().await;
    }
    server.shutdown().await;
}

//! Somebody else who works with the pool: a person at the console. VMs are deleted, renamed, moved, put back and kept busy while the
//! service protects them.

use std::sync::Arc;

use super::plan::Fault;
use super::stage;
use crate::simulator::codec::Rpc;
use crate::simulator::context::Shared;
use crate::simulator::error::ApiResult;
use crate::simulator::server::call;
use crate::simulator::value::{Ref, Value};

/// At least so many of the covered VMs are left alone by those who delete and rename.
const LEFT: usize = 2;

/// Does it to one of these VMs, chosen by a number; what was done, if anything was.
pub(super) async fn act(shared: &Arc<Shared>, fault: Fault, pick: u64, names: &[String]) -> Option<String> {
    let vms = shared.step(|world| stage::named(world, names));
    if vms.is_empty() || (matches!(fault, Fault::VmDeleted | Fault::VmRenamed) && vms.len() <= LEFT) {
        return None;
    }
    let vm = &vms[usize::try_from(pick).unwrap_or_default() % vms.len()];
    let session = login(shared).await.ok()?;
    let done = match fault {
        Fault::VmDeleted => delete(shared, &session, vm).await,
        Fault::VmRenamed => rename(shared, &session, vm, pick).await,
        Fault::VmMigrated => migrate(shared, &session, vm, pick).await,
        Fault::VmReverted => revert(shared, &session, vm, pick).await,
        _ => call(shared, "VM.clean_reboot", vec![text(&session), text(vm)]).await,
    };
    let _ = call(shared, "session.logout", vec![text(&session)]).await;
    done.ok().map(|_| format!("{} of {vm}", fault.word()))
}

fn text(text: &str) -> Rpc {
    Rpc::String(text.to_owned())
}

async fn login(shared: &Arc<Shared>) -> ApiResult<Ref> {
    let words = ["root", "xensnap", "1.0", "neighbour"].map(text).to_vec();
    let session = call(shared, "session.login_with_password", words).await?;
    Ok(session.as_text().cloned().unwrap_or_else(|| "".into()))
}

async fn delete(shared: &Arc<Shared>, session: &Ref, vm: &Ref) -> ApiResult<Value> {
    // One that is halted already refuses this, and that is well.
    let _ = call(shared, "VM.hard_shutdown", vec![text(session), text(vm)]).await;
    call(shared, "VM.destroy", vec![text(session), text(vm)]).await
}

async fn rename(shared: &Arc<Shared>, session: &Ref, vm: &Ref, pick: u64) -> ApiResult<Value> {
    call(shared, "VM.set_name_label", vec![text(session), text(vm), text(&format!("renamed {pick}"))]).await
}

async fn migrate(shared: &Arc<Shared>, session: &Ref, vm: &Ref, pick: u64) -> ApiResult<Value> {
    let hosts = shared.step(|world| {
        let here = world.database.text("VM", vm, "resident_on");
        let others = world.database.refs("host").into_iter().filter(|host| *host != here);
        others.collect::<Vec<_>>()
    });
    let host = &hosts[usize::try_from(pick / 7).unwrap_or_default() % hosts.len()];
    let options = Rpc::Dict(vec![("live".to_owned(), text("true"))]);
    call(shared, "VM.pool_migrate", vec![text(session), text(vm), text(host), options]).await
}

async fn revert(shared: &Arc<Shared>, session: &Ref, vm: &Ref, pick: u64) -> ApiResult<Value> {
    let snapshots = shared.step(|world| world.database.texts("VM", vm, "snapshots"));
    let chosen = snapshots.get(usize::try_from(pick / 7).unwrap_or_default() % snapshots.len().max(1)).cloned();
    let reverted = call(shared, "VM.revert", vec![text(session), text(&chosen.unwrap_or_else(|| "".into()))]).await;
    // One with memory leaves it suspended, and whoever wanted it goes on with it.
    let resume = vec![text(session), text(vm), Rpc::Bool(false), Rpc::Bool(false)];
    let _ = call(shared, "VM.resume", resume).await;
    reverted
}

//! Where faults enter operations. The only place in this folder that knows of them.

use crate::simulator::context::Context;
use crate::simulator::error::ApiResult;
use crate::simulator::faults::{Call, Instead, Now};
use crate::simulator::value::{Ref, Value};

/// Asked before each disk of a snapshot, checkpoint, clone or copy of a VM; `nth` counts from 1.
///
/// # Errors
/// What the fault says.
pub fn before_disk(context: &Context, vm: &Ref, nth: u64) -> ApiResult<()> {
    let faults = &context.shared.options.faults;
    let now = Now::of(&*context.shared.clock);
    let error = context.step(|world| faults.on_disk(world, &context.method, vm, nth, now));
    error.map_or(Ok(()), Err)
}

/// Asked before a VM is suspended or resumed (`VM.suspend`, `VM.resume`) inside a checkpoint: a fault that refuses or delays that call
/// strikes there, too.
///
/// # Errors
/// What the fault says.
pub async fn inside_checkpoint(context: &Context, vm: &Ref, method: &'static str) -> ApiResult<()> {
    if &*context.method != "VM.checkpoint" {
        return Ok(());
    }
    let faults = &context.shared.options.faults;
    let now = Now::of(&*context.shared.clock);
    let args = [Value::str(vm.clone())];
    let call = Call { method, args: &args, originator: &context.caller.originator, user: &context.caller.user };
    let strikes = context.step(|world| faults.on_call(world, call, now));
    context.work(strikes.delay).await;
    let outcome = match &strikes.instead {
        Some(Instead::Refuse(error)) => Err(error.clone()),
        _ => Ok(()),
    };
    faults.over(&strikes, &outcome.clone().map(|()| Value::void()));
    outcome
}

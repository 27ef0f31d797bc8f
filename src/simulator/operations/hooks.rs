//! Where faults enter operations. The only place in this folder that knows of them.

use crate::simulator::context::Context;
use crate::simulator::error::ApiResult;
use crate::simulator::faults::Now;
use crate::simulator::value::Ref;

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

/// Asked before a VM's memory is written, for VM.suspend and inside a checkpoint.
///
/// # Errors
/// What the fault says.
pub fn before_suspend(_context: &Context, _vm: &Ref) -> ApiResult<()> {
    Ok(())
}

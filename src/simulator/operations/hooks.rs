//! Where faults enter operations. The only place in this folder that knows of them.

use crate::simulator::context::Context;
use crate::simulator::error::ApiResult;
use crate::simulator::value::Ref;

/// Asked before each disk of a snapshot, checkpoint, clone or copy of a VM; `nth` counts from 1.
///
/// # Errors
/// What the fault says.
pub fn before_disk(_context: &Context, _vm: &Ref, _nth: u64) -> ApiResult<()> {
    Ok(())
}

/// Asked before a VM's memory is written, for VM.suspend and inside a checkpoint.
///
/// # Errors
/// What the fault says.
pub fn before_suspend(_context: &Context, _vm: &Ref) -> ApiResult<()> {
    Ok(())
}

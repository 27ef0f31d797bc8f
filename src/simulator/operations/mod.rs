//! What the messages do. Generated messages (getters, setters) are answered from the model; everything with a meaning of its own
//! stands here, one file per class or topic.

pub mod appliances;
pub mod clock;
pub mod copies;
pub mod device_lifecycle;
pub mod hooks;
pub mod hosts;
pub mod hosts_calls;
pub mod locks;
pub mod messages;
pub mod schedules;
pub mod setters;
pub mod sr;
pub mod subtask;
pub mod vbd;
pub mod vdi;
pub mod vdi_cbt;
pub mod vm;
pub mod vm_checkpoint;
pub mod vm_clone;
pub mod vm_disks;
pub mod vm_lifecycle;
pub mod vm_power;
pub mod vm_revert;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use super::context::Context;
use super::durability;
use super::error::{ApiError, ApiResult};
use super::value::{Ref, Text, Value};

/// An operation in progress.
pub type Running = Pin<Box<dyn Future<Output = ApiResult> + Send>>;

/// What a message does.
pub type Handler = fn(Arc<Context>, Args) -> Running;

/// The parameters of a call, without the session, already checked against the model's types where it says so.
#[derive(Debug, Clone)]
pub struct Args(pub Vec<Value>);

impl Args {
    /// The text, reference, enum or date at a position.
    ///
    /// # Errors
    /// INTERNAL_ERROR, as the server answers a wrong type.
    pub fn text(&self, at: usize) -> ApiResult<Text> {
        self.0.get(at).and_then(Value::as_text).cloned().ok_or_else(|| ApiError::internal("Failure(\"Expected string\")"))
    }

    /// The reference at a position.
    ///
    /// # Errors
    /// INTERNAL_ERROR, as the server answers a wrong type.
    pub fn reference(&self, at: usize) -> ApiResult<Ref> {
        self.text(at)
    }

    /// The boolean at a position.
    ///
    /// # Errors
    /// INTERNAL_ERROR, as the server answers a wrong type.
    pub fn bool(&self, at: usize) -> ApiResult<bool> {
        match self.0.get(at) {
            Some(Value::Bool(value)) => Ok(*value),
            _ => Err(ApiError::internal("Failure(\"Expected bool\")")),
        }
    }

    /// The integer at a position.
    ///
    /// # Errors
    /// INTERNAL_ERROR, as the server answers a wrong type.
    pub fn int(&self, at: usize) -> ApiResult<i64> {
        match self.0.get(at) {
            Some(Value::Int(value)) => Ok(*value),
            _ => Err(ApiError::internal("Failure(\"Expected int64\")")),
        }
    }
}

/// Makes a [`Handler`] of an async function.
macro_rules! handler {
    ($operation:path) => {{
        fn handle(context: Arc<Context>, args: Args) -> Running {
            Box::pin($operation(context, args))
        }
        handle
    }};
}

/// What a message does, by its full name such as `VM.snapshot`; none when it has no meaning of its own.
pub fn find(method: &str) -> Option<Handler> {
    let (class, _) = method.split_once('.')?;
    let found = match class {
        "VM" => of_vm(method),
        "VDI" => of_vdi(method),
        "VBD" | "VIF" | "VTPM" => of_device(method),
        "SR" | "PBD" => of_sr(method),
        "VMSS" | "VMPP" => of_schedule(method),
        _ => of_pool(method),
    };
    found
        .or_else(|| setters::names(method).then_some(handler!(setters::write) as Handler))
        .or_else(|| setters::makes(method).then_some(handler!(setters::make) as Handler))
}

fn of_vm(method: &str) -> Option<Handler> {
    of_vm_life(method).or_else(|| of_vm_copies(method)).or_else(|| of_vm_questions(method))
}

fn of_vm_life(method: &str) -> Option<Handler> {
    Some(match method {
        "VM.create" => handler!(vm::create),
        "VM.destroy" => handler!(vm::destroy),
        "VM.start" => handler!(vm_power::start),
        "VM.start_on" => handler!(vm_power::start_on),
        "VM.clean_shutdown" => handler!(vm_power::clean_shutdown),
        "VM.hard_shutdown" => handler!(vm_power::hard_shutdown),
        "VM.shutdown" => handler!(vm_power::shutdown),
        "VM.clean_reboot" => handler!(vm_power::clean_reboot),
        "VM.hard_reboot" => handler!(vm_power::hard_reboot),
        "VM.pause" => handler!(vm_power::pause),
        "VM.unpause" => handler!(vm_power::unpause),
        "VM.suspend" => handler!(vm_power::suspend),
        "VM.resume" => handler!(vm_power::resume),
        "VM.resume_on" => handler!(vm_power::resume_on),
        "VM.power_state_reset" => handler!(vm_power::power_state_reset),
        "VM.pool_migrate" => handler!(vm_power::pool_migrate),
        _ => return None,
    })
}

fn of_vm_copies(method: &str) -> Option<Handler> {
    Some(match method {
        "VM.snapshot" => handler!(vm_clone::snapshot),
        "VM.snapshot_with_quiesce" => handler!(vm_checkpoint::snapshot_with_quiesce),
        "VM.checkpoint" => handler!(vm_checkpoint::checkpoint),
        "VM.revert" => handler!(vm_revert::revert),
        "VM.clone" => handler!(vm_clone::clone),
        "VM.copy" => handler!(vm_clone::copy),
        "VM.provision" => handler!(vm_clone::provision),
        "VM.set_is_a_template" => handler!(vm_clone::set_is_a_template),
        _ => return None,
    })
}

fn of_vm_questions(method: &str) -> Option<Handler> {
    Some(match method {
        "VM.assert_operation_valid" => handler!(vm::assert_operation_valid),
        "VM.update_allowed_operations" => handler!(vm::update_allowed_operations),
        "VM.get_possible_hosts" => handler!(vm::get_possible_hosts),
        "VM.assert_can_boot_here" => handler!(vm::assert_can_boot_here),
        "VM.assert_agile" => handler!(vm::assert_agile),
        "VM.assert_can_be_recovered" => handler!(vm::assert_can_be_recovered),
        "VM.maximise_memory" => handler!(vm::maximise_memory),
        "VM.compute_memory_overhead" => handler!(vm::compute_memory_overhead),
        "VM.get_allowed_VBD_devices" => handler!(vm::get_allowed_vbd_devices),
        "VM.get_allowed_VIF_devices" => handler!(vm::get_allowed_vif_devices),
        "VM.create_new_blob" => handler!(vm::create_new_blob),
        "VM.set_appliance" | "VM.set_snapshot_schedule" | "VM.set_protection_policy" => handler!(vm::join),
        "VM.set_memory" | "VM.set_memory_limits" | "VM.set_memory_static_range" | "VM.set_memory_dynamic_range" => {
            handler!(setters::set_memory)
        }
        _ => return None,
    })
}

fn of_vdi(method: &str) -> Option<Handler> {
    Some(match method {
        "VDI.create" => handler!(vdi::create),
        "VDI.snapshot" => handler!(vdi::snapshot),
        "VDI.clone" => handler!(vdi::clone),
        "VDI.copy" => handler!(vdi::copy),
        "VDI.destroy" => handler!(vdi::destroy),
        "VDI.forget" => handler!(vdi::forget),
        "VDI.introduce" => handler!(vdi::introduce),
        "VDI.resize" | "VDI.resize_online" => handler!(vdi::resize),
        "VDI.update" => handler!(vdi::update),
        "VDI.revert" => handler!(vdi::revert),
        "VDI.enable_cbt" | "VDI.disable_cbt" => handler!(vdi_cbt::switch),
        "VDI.data_destroy" => handler!(vdi_cbt::data_destroy),
        "VDI.list_changed_blocks" => handler!(vdi_cbt::list_changed_blocks),
        "VDI.get_nbd_info" => handler!(vdi_cbt::get_nbd_info),
        _ => return None,
    })
}

fn of_device(method: &str) -> Option<Handler> {
    Some(match method {
        "VBD.create" => handler!(vbd::create),
        "VBD.destroy" => handler!(vbd::destroy),
        "VBD.plug" => handler!(vbd::plug),
        "VBD.unplug" | "VBD.unplug_force" => handler!(vbd::unplug),
        "VBD.insert" => handler!(vbd::insert),
        "VBD.eject" => handler!(vbd::eject),
        "VBD.assert_attachable" => handler!(vbd::assert_attachable),
        "VIF.create" => handler!(vbd::create_vif),
        "VIF.destroy" => handler!(vbd::destroy_one_vif),
        "VIF.plug" | "VIF.unplug" | "VIF.unplug_force" => handler!(vbd::switch_vif),
        "VIF.move" => handler!(vbd::move_vif),
        "VTPM.create" => handler!(vbd::create_vtpm),
        "VTPM.destroy" => handler!(vbd::destroy_vtpm),
        _ => return None,
    })
}

fn of_sr(method: &str) -> Option<Handler> {
    Some(match method {
        "SR.scan" => handler!(sr::scan),
        "SR.update" => handler!(sr::update),
        "SR.create" => handler!(sr::create),
        "SR.introduce" => handler!(sr::introduce),
        "SR.destroy" | "SR.forget" => handler!(sr::remove),
        "SR.get_supported_types" => handler!(sr::get_supported_types),
        "SR.create_new_blob" => handler!(vm::create_new_blob),
        "PBD.create" => handler!(sr::create_connection),
        "PBD.destroy" => handler!(sr::destroy_connection),
        "PBD.plug" | "PBD.unplug" => handler!(sr::switch),
        _ => return None,
    })
}

fn of_schedule(method: &str) -> Option<Handler> {
    Some(match method {
        "VMSS.create" | "VMPP.create" => handler!(schedules::create),
        "VMSS.destroy" | "VMPP.destroy" => handler!(schedules::destroy),
        "VMSS.set_retained_snapshots" | "VMPP.set_backup_retention_value" => handler!(schedules::set_retention),
        "VMSS.set_frequency" | "VMPP.set_backup_frequency" => handler!(schedules::set_frequency),
        "VMSS.set_schedule" | "VMPP.set_backup_schedule" => handler!(schedules::set_schedule),
        "VMSS.add_to_schedule" | "VMPP.add_to_backup_schedule" => handler!(schedules::add_to_schedule),
        "VMSS.remove_from_schedule" | "VMPP.remove_from_backup_schedule" => handler!(schedules::remove_from_schedule),
        "VMSS.set_type" => handler!(schedules::set_type),
        "VMSS.set_last_run_time" | "VMPP.set_backup_last_run_time" => handler!(schedules::set_last_run_time),
        "VMSS.snapshot_now" | "VMPP.protect_now" | "VMPP.archive_now" => handler!(schedules::run_plugin),
        "VMPP.get_alerts" => handler!(schedules::get_alerts),
        _ => return None,
    })
}

fn of_pool(method: &str) -> Option<Handler> {
    Some(match method {
        "VM_appliance.create" => handler!(appliances::create),
        "VM_appliance.start" => handler!(appliances::start),
        "VM_appliance.clean_shutdown" | "VM_appliance.hard_shutdown" | "VM_appliance.shutdown" => handler!(appliances::stop),
        "VM_appliance.assert_can_be_recovered" => handler!(vm::assert_can_be_recovered),
        "pool.sync_database" => handler!(durability::sync_database),
        "pool.designate_new_master" => handler!(durability::designate_new_master),
        "pool.emergency_transition_to_master" => handler!(durability::emergency_transition_to_master),
        "host.restart_agent" => handler!(durability::restart_agent),
        "host.get_servertime" | "host.get_server_localtime" => handler!(hosts_calls::get_servertime),
        "host.enable" | "host.disable" => handler!(hosts_calls::switch),
        "host.evacuate" => handler!(hosts_calls::evacuate),
        "host.assert_can_evacuate" => handler!(hosts_calls::assert_can_evacuate),
        "host.get_vms_which_prevent_evacuation" => handler!(hosts_calls::get_vms_which_prevent_evacuation),
        "host.compute_free_memory" => handler!(hosts_calls::compute_free_memory),
        "host.compute_memory_overhead" => handler!(hosts_calls::compute_memory_overhead),
        "host.call_plugin" => handler!(hosts_calls::call_plugin),
        "host.create_new_blob" | "pool.create_new_blob" | "network.create_new_blob" => handler!(vm::create_new_blob),
        _ => return None,
    })
}

//! How long the server's work takes.
//!
//! The defaults are those of the server that the recordings were made on: a storage operation takes about 0.1 s, and its second SR
//! (NFS) is a quarter slower than its first. Real arrays are slower; the shape of a night is the same at any scale, because
//! [`Timings::scale`] stretches the back-off of waiting calls along with the work.

use std::collections::BTreeMap;
use std::time::Duration;

/// What takes time, and how many milliseconds.
const MEASURED: [(&str, u64); 40] = [
    ("VDI.snapshot", 115),
    ("VDI.clone", 95),
    ("VDI.create", 90),
    ("VDI.destroy", 82),
    ("VDI.forget", 5),
    ("VDI.introduce", 60),
    ("VDI.resize", 90),
    ("VDI.update", 30),
    ("VDI.revert", 100),
    ("VDI.copy", 90),
    ("VDI.enable_cbt", 60),
    ("VDI.disable_cbt", 60),
    ("VDI.data_destroy", 82),
    ("VDI.list_changed_blocks", 60),
    ("SR.create", 200),
    ("SR.destroy", 200),
    ("SR.scan", 60),
    ("SR.update", 30),
    ("PBD.plug", 100),
    ("PBD.unplug", 60),
    ("VBD.plug", 60),
    ("VBD.unplug", 60),
    ("VBD.insert", 20),
    ("VBD.eject", 20),
    ("VIF.plug", 20),
    ("VIF.unplug", 20),
    ("VM.start", 120),
    ("VM.clean_shutdown", 1500),
    ("VM.clean_reboot", 2500),
    ("VM.hard_shutdown", 60),
    ("VM.hard_reboot", 180),
    ("VM.suspend", 120),
    ("VM.resume", 100),
    ("VM.pause", 10),
    ("VM.unpause", 10),
    ("VM.pool_migrate", 1500),
    // The guest's part of a quiesced snapshot.
    ("VM.snapshot_with_quiesce", 5000),
    // Writing a VM's copied rows after its disks are done.
    ("VM.record", 5),
    ("pool.sync_database", 42),
    ("host.evacuate", 50),
];

/// Latencies and rates, before [`Timings::scale`] is applied.
#[derive(Debug, Clone)]
pub struct Timings {
    /// Stretches everything, the back-off of waiting calls included; 1 is the measured server.
    pub scale: f64,
    /// How fast VDI.copy copies, in bytes per second.
    pub copy_bytes_per_second: f64,
    /// How fast memory is written at suspend and read at resume, in bytes per second.
    pub memory_bytes_per_second: f64,
    operations: BTreeMap<String, Duration>,
    /// How much slower an SR of a type is, in comparison with a local ext one.
    drivers: BTreeMap<String, f64>,
}

impl Default for Timings {
    fn default() -> Self {
        Self {
            scale: 1.0,
            copy_bytes_per_second: 400e6,
            memory_bytes_per_second: 2e9,
            operations: MEASURED.iter().map(|(name, ms)| ((*name).to_owned(), Duration::from_millis(*ms))).collect(),
            drivers: [("nfs", 1.25)].map(|(driver, factor)| (driver.to_owned(), factor)).into(),
        }
    }
}

impl Timings {
    /// A server that answers at once, for tests of anything but time. Waiting calls still wait their turn.
    pub fn instant() -> Self {
        Self { scale: 0.0, ..Self::default() }
    }

    /// Sets how long an operation takes, for example `VDI.snapshot`.
    pub fn set(&mut self, operation: impl Into<String>, duration: Duration) {
        self.operations.insert(operation.into(), duration);
    }

    /// Sets by which factor SRs of a type differ from a local ext one.
    pub fn set_driver(&mut self, driver: impl Into<String>, factor: f64) {
        self.drivers.insert(driver.into(), factor);
    }

    /// How long an operation takes; nothing for one that is not known.
    pub fn of(&self, operation: &str) -> Duration {
        self.scaled(self.operations.get(operation).copied().unwrap_or_default())
    }

    /// How long a storage operation takes on an SR of a type.
    pub fn on(&self, operation: &str, driver: &str) -> Duration {
        self.of(operation).mul_f64(self.drivers.get(driver).copied().unwrap_or(1.0))
    }

    /// How long it takes to move `bytes` at a rate.
    pub fn moving(&self, bytes: i64, bytes_per_second: f64) -> Duration {
        let seconds = bytes.max(0) as f64 / bytes_per_second.max(1.0);
        self.scaled(Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX / 4))
    }

    /// A duration in the measured server's time, stretched.
    pub fn scaled(&self, duration: Duration) -> Duration {
        duration.mul_f64(self.scale.max(0.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scale_and_driver_stretch_an_operation() {
        let mut timings = Timings { scale: 2.0, ..Timings::default() };
        timings.set("VDI.snapshot", Duration::from_millis(100));
        assert_eq!(timings.on("VDI.snapshot", "ext"), Duration::from_millis(200));
        assert_eq!(timings.on("VDI.snapshot", "nfs"), Duration::from_millis(250));
        assert_eq!(Timings::instant().on("VDI.snapshot", "nfs"), Duration::ZERO);
        assert_eq!(timings.of("nothing of the kind"), Duration::ZERO);
    }
}

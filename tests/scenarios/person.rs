//! Somebody else at work in the pool: an administrator with another client, who knows nothing of the service.
#![allow(dead_code, reason = "each scenario uses a part of it")]

use std::sync::Arc;

use serde::de::DeserializeOwned;
use xensnap::clock::{HandClock, SharedClock};
use xensnap::simulator::value::Ref as Text;
use xensnap::xenapi::records::{VbdMode, VbdType, Vdi, Vm};
use xensnap::xenapi::transfer::{Compression, Download, Upload};
use xensnap::xenapi::types::Ref;
use xensnap::xenapi::{Call, CallError, Pool, Settings, calls};

use super::lab::Lab;

/// What the person's sessions are called.
pub const ORIGINATOR: &str = "a person";

/// The person.
pub struct Person {
    pool: Pool,
    clock: HandClock,
}

/// A reference of the simulator's world in the client's words.
pub fn vm(reference: &Text) -> Ref<Vm> {
    Ref::new(reference)
}

impl Person {
    pub fn new(lab: &Lab) -> Self {
        let master = lab.step(|world| world.master.clone());
        let address = lab.simulation.address_of(&master).expect("the master is served");
        let mut settings = Settings::new("a person's", format!("http://{address}").parse().unwrap(), "root", "xensnap".into());
        settings.originator = ORIGINATOR.to_owned();
        let clock: SharedClock = Arc::new(lab.clock.clone());
        Self { pool: Pool::open(settings, clock).unwrap(), clock: lab.clock.clone() }
    }

    /// Does something, while no time passes, and waits until everybody has seen it.
    pub async fn does<R: DeserializeOwned + Send + 'static>(&self, call: Call<R>) -> R {
        self.tries(call).await.unwrap()
    }

    /// Tries something that the server may refuse.
    pub async fn tries<R: DeserializeOwned + Send + 'static>(&self, call: Call<R>) -> Result<R, CallError> {
        let done = self.pool.call(call).await;
        self.clock.settle().await;
        done
    }

    pub async fn snapshots(&self, of: &Text, name: &str) -> Text {
        self.does(calls::vm::snapshot(&vm(of), name)).await.to_string().into()
    }

    /// Makes a VM of a snapshot.
    pub async fn restores(&self, snapshot: &Text, name: &str, full_copy: bool) -> Text {
        let snapshot = vm(snapshot);
        let call = if full_copy { calls::vm::copy(&snapshot, name, None) } else { calls::vm::clone(&snapshot, name) };
        let made = self.does(call).await;
        self.does(calls::vm::provision(&made)).await;
        made.to_string().into()
    }

    /// Puts a disk into a drive of a VM.
    pub async fn attaches(&self, disk: &Text, to: &Text) -> Text {
        let disk = Ref::<Vdi>::new(disk);
        let call = calls::vbd::create(&vm(to), &disk, "9", &VbdType::Disk, &VbdMode::ReadOnly, false);
        self.does(call).await.to_string().into()
    }

    /// Takes a VM out of the pool as a file.
    pub async fn exports(&self, of: &Text) -> Vec<u8> {
        let mut file = Vec::new();
        self.pool.download(&Download::export(&vm(of), Compression::None), &mut file).await.unwrap();
        self.clock.settle().await;
        file
    }

    /// Brings a VM back from a file, as the VM it was.
    pub async fn imports(&self, file: Vec<u8>, sr: &Text) -> Vec<Text> {
        let length = file.len() as u64;
        let what = Upload::import(Some(&Ref::new(sr)), true, false);
        let done = self.pool.upload(&what, || Ok(std::io::Cursor::new(file.clone())), length).await.unwrap();
        self.clock.settle().await;
        done.result::<Vec<Ref<Vm>>>().unwrap().iter().map(|made| made.to_string().into()).collect()
    }

    pub async fn leaves(self) {
        self.pool.logout().await;
        self.clock.settle().await;
    }
}

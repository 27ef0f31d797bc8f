//! SIGKILL while what a failed attempt left is being cleared away: after the failure is written down, before the removal is; between
//! the removal's row and the mark; between the mark and the removal; in the midst of that.

use std::time::Duration;

use xensnap::simulator::error::ApiError;
use xensnap::simulator::faults::{Action, Plan, Rule};
use xensnap::simulator::value::Ref;
use xensnap::store::Store;
use xensnap::xenapi::calls;
use xensnap::xenapi::types::Ref as Reference;

use super::bench::Bench;
use super::life::{Death, Life, play};
use crate::lab::{Lab, originator};
use crate::person::Person;

/// The server makes a snapshot for an attempt that is under way, and loses its last disk.
pub async fn leave_half(lab: &Lab, person: &Person, store: &Store, name: &str) {
    let mut attempts = store.open_attempts().await.unwrap().into_iter();
    let attempt = loop {
        let attempt = attempts.next().expect("an attempt is under way");
        if store.job(attempt.job).await.unwrap().vm_name == name {
            break attempt;
        }
    };
    let vm = lab.step(|world| {
        let database = &world.database;
        let plain = |vm: &Ref| !["is_a_template", "is_a_snapshot"].iter().any(|field| database.bool("VM", vm, field));
        database.refs("VM").into_iter().find(|vm| plain(vm) && *database.text("VM", vm, "name_label") == *name).unwrap()
    });
    let half = person.snapshots(&vm, &format!("{name} half a snapshot #{}", attempt.nonce)).await;
    let (drive, disk) = lab.step(|world| {
        let database = &world.database;
        let mut drives = database.texts("VM", &half, "VBDs").into_iter();
        let last = drives.rfind(|vbd| &*database.text("VBD", vbd, "type") == "Disk").unwrap();
        let disk = database.text("VBD", &last, "VDI");
        (last, disk)
    });
    person.does(calls::vbd::destroy(&Reference::new(&drive))).await;
    person.does(calls::vdi::destroy(&Reference::new(&disk))).await;
}

/// The service's next call for a snapshot of this VM begins after ten seconds, and its task fails at the first disk. The snapshot that
/// [`leave_half`] takes meanwhile is the first of the VM that is met.
pub fn fails_slowly(vm: &str) -> Plan {
    let error = ApiError::new("SR_BACKEND_FAILURE_47", ["", "the disk cannot be reached", ""]);
    let waits = Rule::on("VM.snapshot", Action::Delay(Duration::from_secs(10))).originator(originator("lab"));
    let fails = Rule::on("VM.snapshot", Action::FailDisk { disk: 1, error }).nth(2);
    Plan::new(0).with(waits.object(vm).times(1)).with(fails.object(vm))
}

#[test]
fn a_service_killed_after_any_write_while_a_leftover_goes_has_cleared_it_away_in_its_next_life() {
    play(async |life: Life| {
        life.is_watched_closely();
        let mut bench = Bench::new(life).await;
        let person = Person::new(&bench.lab);
        let name = bench.lab.snapshots()[0].vm.clone();
        for nth in 1.. {
            bench.before_slot().await;
            bench.lab.simulation.set_faults(fails_slowly(&name));
            bench.lab.clock.advance(Duration::from_secs(6)).await;
            let store = bench.history().await;
            leave_half(&bench.lab, &person, &store, &name).await;
            store.close().await.unwrap();
            bench.leftovers += 1;
            bench.life.dies(Death::Written(nth));
            // The faults stay: the call that is to fail may have been made and not have failed yet.
            let died = bench.dies().await;
            bench.goes_on(died, Duration::ZERO).await;
            if !died {
                println!("killed after each of {} commits", nth - 1);
                assert!(nth > 15, "{nth}");
                break;
            }
        }
        person.leaves().await;
    });
}

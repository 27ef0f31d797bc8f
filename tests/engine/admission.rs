//! Turns against the storage of a simulated pool: what one operation in flight per SR is worth.

use std::sync::Arc;
use std::time::Duration;

use xensnap::clock::SharedClock;
use xensnap::domain::id::SrUuid;
use xensnap::domain::policy::{self, Priority};
use xensnap::engine::admission::{Admission, Limits, Request};
use xensnap::engine::worker::Worker;
use xensnap::simulator::operations::vm_disks::required_srs;
use xensnap::simulator::storage::timings::Timings;
use xensnap::simulator::value::Ref as Object;
use xensnap::xenapi::records::Vm;
use xensnap::xenapi::types::Ref;
use xensnap::xenapi::{Pool, calls};

use crate::lab::Lab;
use crate::simulated;

async fn lab() -> Lab {
    let mut world = simulated::world(&simulated::recipe("26.17"));
    world.storage.timings = Timings::default();
    Lab::of(world, "root").await
}

impl Lab {
    fn request(&self, vm: &Object) -> Request {
        let uuid = |sr: &Object| self.server.text("SR", sr, "uuid").parse::<SrUuid>().unwrap();
        let srs = self.server.shared().step(|world| required_srs(world, vm));
        Request {
            policy: "nightly".parse().unwrap(),
            priority: Priority::default(),
            srs: srs.iter().map(uuid).collect(),
            host: None,
            own: policy::Limits::default(),
        }
    }

    /// Takes snapshots of one VM; answers the time it took.
    async fn snapshots(&self, count: usize, admission: Option<&Admission>) -> Duration {
        let vm = self.server.halted();
        let clock: SharedClock = Arc::new(self.clock.clone());
        let before = clock.elapsed();
        let jobs = (0..count).map(|_| {
            let job =
                Job { pool: self.pool.clone(), vm: Ref::new(&vm), turn: admission.cloned().map(|a| (a, self.request(&vm))) };
            tokio::spawn(job.run(Worker::new(&clock)))
        });
        let jobs: Vec<_> = jobs.collect();
        for job in jobs {
            self.clock.run(job).await.unwrap();
        }
        clock.elapsed() - before
    }
}

struct Job {
    pool: Pool,
    vm: Ref<Vm>,
    turn: Option<(Admission, Request)>,
}

impl Job {
    async fn run(self, mut worker: Worker) {
        let _turn = match self.turn {
            Some((admission, request)) => {
                let staged = worker.wait(admission.stage(request)).await;
                Some(worker.wait(staged.turn()).await)
            }
            None => None,
        };
        let task = worker.wait(self.pool.start(calls::vm::snapshot(&self.vm, "x"))).await.unwrap();
        worker.wait(task.finish(Some(Duration::from_secs(3600)))).await.unwrap();
    }
}

#[tokio::test]
async fn twenty_snapshots_in_turn_are_faster_than_twenty_at_once() {
    // A pool each: the chain of one disk is too short for both.
    let (crowded, orderly) = (lab().await, lab().await);
    let at_once = crowded.snapshots(20, None).await;
    let admission = Admission::new(Limits::default());
    let in_turn = orderly.snapshots(20, Some(&admission)).await;
    println!("20 snapshots on one SR: in turn {in_turn:?}, at once {at_once:?}");
    assert_eq!(admission.queues(), []);
    assert!(in_turn * 3 < at_once, "in turn {in_turn:?}, at once {at_once:?}");
    crowded.end().await;
    orderly.end().await;
}

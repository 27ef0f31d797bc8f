//! Planning the retention of a million snapshots: 5,000 VMs with 200 each, and one VM with all of them. Time by criterion; memory is
//! what the process grew by at its peak, beyond the candidates themselves.
//!
//! Run with `cargo bench --bench retention`.

use std::hint::black_box;
use std::time::Instant;

use chrono::{DateTime, TimeDelta, Utc};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use uuid::Uuid;
use xensnap::domain::id::SnapshotUuid;
use xensnap::domain::retention::{Candidate, Period, Rules, State, decide, forecast};
use xensnap::domain::schedule::Schedule;
use xensnap::domain::zone::Zone;

const SNAPSHOTS: usize = 1_000_000;
const VMS: usize = 5_000;

/// So many hourly snapshots, the newest last.
fn snapshots(count: usize, newest: DateTime<Utc>) -> Vec<Candidate> {
    let candidate = |n: usize| {
        let due_at = newest - TimeDelta::hours((count - 1 - n) as i64);
        let snapshot = SnapshotUuid(Uuid::from_u128((n as u128) << 64 | 0x9e37_79b9_7f4a_7c15_u128.wrapping_mul(n as u128)));
        Candidate { snapshot, due_at, taken_at: due_at + TimeDelta::seconds(40), state: State::Durable, pin: None }
    };
    (0..count).map(candidate).collect()
}

/// What a policy with everything switched on asks for.
fn rules() -> Rules {
    let periods = Rules::last(24).with(Period::Hour, 48).with(Period::Day, 14).with(Period::Week, 8);
    Rules { within: "3d".parse().ok(), ..periods.with(Period::Month, 12).with(Period::Year, 5) }
}

/// The most memory this process has had, in KiB (Linux).
fn peak() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

fn plan(criterion: &mut Criterion) {
    let (rules, zone) = (rules(), Zone::named("Europe/Berlin").expect("zone"));
    let now: DateTime<Utc> = "2026-11-22T12:00:30Z".parse().expect("time");
    let of_one_vm = snapshots(SNAPSHOTS / VMS, now - TimeDelta::seconds(30));
    let of_all = snapshots(SNAPSHOTS, now - TimeDelta::seconds(30));

    let (before, started) = (peak(), Instant::now());
    let kept = decide(&rules, &zone, &of_all, now).kept().count();
    let (took, grown) = (started.elapsed(), peak().saturating_sub(before));
    println!("1,000,000 snapshots of one VM: {kept} kept, first run {took:?}, {grown} KiB above the candidates");

    let mut group = criterion.benchmark_group("retention");
    group.sample_size(10).throughput(Throughput::Elements(SNAPSHOTS as u64));
    group.bench_function("one million of one VM", |bench| bench.iter(|| decide(&rules, &zone, black_box(&of_all), now)));
    group.bench_function("5,000 VMs with 200 each", |bench| {
        bench.iter(|| (0..VMS).map(|_| decide(&rules, &zone, black_box(&of_one_vm), now).removals().count()).sum::<usize>());
    });
    group.finish();

    let hourly = Schedule::new(vec!["0 * * * *".parse().expect("expression")], zone.clone()).expect("schedule");
    criterion.bench_function("forecast of one VM with 200", |bench| {
        bench.iter(|| forecast(&rules, &zone, black_box(&of_one_vm), now, |at| hourly.next_open_after(at)));
    });
}

criterion_group!(benches, plan);
criterion_main!(benches);

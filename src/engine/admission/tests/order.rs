//! Who comes before whom, and how little time is lost to it.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Instant;

use super::super::book::{Id, Standing};
use super::super::{Limits, Request};
use super::tally::Tally;
use super::{limit, per_sr, request};
use crate::domain::policy::{self, Priority};

#[test]
fn one_is_in_flight_and_one_is_staged_on_each_sr() {
    let mut tally = Tally::new(Limits::default());
    let all: Vec<Id> = (0..6).map(|n| tally.arrive(request("nightly", &[n % 2]))).collect();
    let standings: Vec<_> = all.iter().map(|id| tally.standing(*id)).collect();
    use Standing::{Staged, Turn, Waiting};
    assert_eq!(standings, [Turn, Turn, Staged, Staged, Waiting, Waiting]);
    tally.leave(all[0]);
    assert_eq!((tally.standing(all[2]), tally.standing(all[4]), tally.standing(all[5])), (Turn, Staged, Waiting));
}

#[test]
fn a_policy_with_five_hundred_vms_does_not_lock_out_one_with_three() {
    let mut tally = Tally::new(Limits::default());
    tally.arrive_all(vec![request("huge", &[1]); 500]);
    let small = tally.arrive_all(vec![request("small", &[1]); 3]);
    tally.drain();
    let places: Vec<_> = small.iter().map(|id| tally.turns.iter().position(|turn| turn == id).unwrap()).collect();
    assert_eq!(places, [2, 4, 6], "in flight and staged were two of the huge one, then they take turns");
}

#[test]
fn within_a_policy_the_order_is_that_of_arrival() {
    let mut tally = Tally::new(Limits::default());
    let all = tally.arrive_all(vec![request("nightly", &[1]); 50]);
    tally.drain();
    assert_eq!(tally.turns, all);
}

#[test]
fn higher_priority_goes_before_all_that_are_not_yet_staged() {
    let mut tally = Tally::new(Limits::default());
    let low = tally.arrive_all(vec![request("nightly", &[1]); 4]);
    let high = tally.arrive(Request { priority: Priority::new(90).unwrap(), ..request("hourly", &[1]) });
    tally.drain();
    assert_eq!(tally.turns, [low[0], low[1], high, low[2], low[3]]);
}

#[test]
fn an_operation_on_two_srs_is_overtaken_a_few_times_only() {
    let mut tally = Tally::new(Limits::default());
    let crowd = |tally: &mut Tally| tally.arrive_all((1..=2).map(|sr| request("singles", &[sr])));
    for _ in 0..10 {
        crowd(&mut tally);
    }
    let both = tally.arrive(request("pairs", &[1, 2]));
    let mut ended = 0;
    while tally.standing(both) != Standing::Turn {
        let at_work = tally.with(Standing::Turn);
        tally.leave(at_work[ended % at_work.len()]);
        crowd(&mut tally);
        ended += 1;
    }
    assert!(ended <= 10, "{ended} others ended first");
}

#[test]
fn a_vm_without_disks_waits_for_no_sr() {
    let mut tally = Tally::new(Limits { per_pool: limit(3), ..Limits::default() });
    tally.arrive_all(vec![request("nightly", &[1]); 5]);
    let diskless: Vec<Id> = (0..3).map(|_| tally.arrive(request("nightly", &[]))).collect();
    let standings: Vec<_> = diskless.iter().map(|id| tally.standing(*id)).collect();
    assert_eq!(standings[..2], [Standing::Turn, Standing::Turn], "the limit of the pool holds for them too");
    assert_ne!(standings[2], Standing::Turn);
}

#[test]
fn a_policy_at_its_own_limit_leaves_the_srs_to_others() {
    let mut tally = Tally::new(Limits::default());
    let own = policy::Limits { per_pool: limit(1), ..policy::Limits::default() };
    for sr in 1..=4 {
        tally.arrive_all(vec![Request { own, ..request("modest", &[sr]) }; 5]);
    }
    let others: Vec<Id> = (1..=4).map(|sr| tally.arrive(request("other", &[sr]))).collect();
    let at_once = others.iter().filter(|id| tally.standing(**id) == Standing::Turn).count();
    assert_eq!(at_once, 3);
    tally.drain();
}

#[test]
fn an_sr_named_twice_counts_once() {
    let mut tally = Tally::new(per_sr(1));
    let id = tally.arrive(request("nightly", &[7, 7]));
    assert_eq!(tally.standing(id), Standing::Turn);
    assert_eq!(tally.book.queues().len(), 1);
}

/// Works off requests, each of which takes so long: when the last one ends.
fn makespan(limits: Limits, work: &[(Request, u64)]) -> u64 {
    let mut tally = Tally::new(limits);
    let ids: Vec<Id> = work.iter().map(|(request, _)| tally.arrive(request.clone())).collect();
    let (mut now, mut begun, mut ends) = (0, 0, BinaryHeap::new());
    loop {
        for id in &tally.turns[begun..] {
            ends.push(Reverse((now + work[ids.binary_search(id).unwrap()].1, *id)));
        }
        begun = tally.turns.len();
        let Some(Reverse((at, id))) = ends.pop() else { break };
        now = at;
        tally.leave(id);
    }
    assert!(tally.there.is_empty());
    now
}

#[test]
fn no_sr_is_idle_while_somebody_could_use_it() {
    for srs in [1, 4, 16] {
        let work: Vec<_> = (0..200).map(|n| (request("nightly", &[n % srs]), 10)).collect();
        assert_eq!(u128::from(makespan(Limits::default(), &work)), 200_u128.div_ceil(srs) * 10, "{srs} SRs");
    }
}

#[test]
fn operations_on_two_srs_cost_little_time() {
    let took = |n: u128| 8 + u64::try_from(n * 7 % 5).unwrap();
    let pair = |n: u128| if n.is_multiple_of(10) { vec![n % 16, (n / 10 + 1) % 16] } else { vec![n % 16] };
    let work: Vec<_> = (0..800).map(|n| (request("nightly", &pair(n)), took(n))).collect();
    let load = |sr: u128| work.iter().filter(|(r, _)| r.srs.contains(&super::sr(sr))).map(|(_, took)| took).sum::<u64>();
    let ideal = (0..16).map(load).max().unwrap();
    let spent = makespan(Limits::default(), &work);
    println!("one in ten on two SRs: {spent} where the busiest SR alone needs {ideal}");
    assert!(spent * 100 <= ideal * 115, "{spent} instead of {ideal}");
}

#[test]
fn five_thousand_waiting_on_sixteen_srs_are_worked_off() {
    for (count, policies, hosts) in [(5000, 1, 1), (1000, 10, 16)] {
        let limits = Limits { per_host: limit(4), ..Limits::default() };
        let work: Vec<_> = (0..count).map(|n| one_of_many(n, policies, hosts)).collect();
        let started = Instant::now();
        let mut book = super::super::book::Book::new(limits);
        let mut at_work = std::collections::VecDeque::new();
        for request in &work {
            at_work.extend(book.arrive(request).1);
        }
        let arrived = started.elapsed();
        let mut ended = 0;
        while let Some(step) = at_work.pop_front() {
            if step.to == Standing::Turn {
                ended += 1;
                at_work.extend(book.leave(step.id));
            }
        }
        println!("{policies} policies: {count} arrived in {arrived:?}, and were worked off in {:?}", started.elapsed() - arrived);
        assert_eq!(ended, count);
    }
}

fn one_of_many(n: u128, policies: u128, hosts: u128) -> Request {
    let srs: &[u128] = if n.is_multiple_of(10) { &[n % 16, (n + 5) % 16] } else { &[n % 16] };
    let host = crate::domain::id::HostUuid(uuid::Uuid::from_u128(n / 16 % hosts));
    Request { host: Some(host), ..request(&format!("policy-{}", n / 7 % policies), srs) }
}

//! Over all sequences of arrivals and departures.

use proptest::prelude::*;
use uuid::Uuid;

use super::super::book::Standing;
use super::super::{Limits, Request};
use super::tally::Tally;
use super::{limit, sr};
use crate::domain::id::HostUuid;
use crate::domain::policy::{self, Priority};

#[derive(Debug, Clone)]
enum Event {
    Arrives(Request),
    /// Somebody who is there, whatever its standing, goes.
    Goes(prop::sample::Index),
    /// Somebody's work ends.
    Ends(prop::sample::Index),
}

/// What the policies allow themselves: per SR, per host, in the pool.
const OWN: [(u32, u32, u32); 4] = [(0, 0, 0), (1, 0, 2), (0, 1, 0), (2, 2, 1)];

fn request() -> impl Strategy<Value = Request> {
    let srs = prop::collection::vec(0..4_u128, 0..4);
    let priority = prop::sample::select(vec![10, 50, 50, 50]);
    (0..OWN.len(), priority, srs, prop::option::of(0..3_u128)).prop_map(|(policy, priority, srs, host)| Request {
        policy: format!("policy-{policy}").parse().unwrap(),
        priority: Priority::new(priority).unwrap(),
        srs: srs.into_iter().map(sr).collect(),
        host: host.map(|host| HostUuid(Uuid::from_u128(host))),
        own: policy::Limits { per_sr: limit(OWN[policy].0), per_host: limit(OWN[policy].1), per_pool: limit(OWN[policy].2) },
    })
}

fn limits() -> impl Strategy<Value = Limits> {
    (1..4_u32, 0..4_u32, 0..6_u32).prop_map(|(per_sr, per_host, per_pool)| Limits {
        per_sr: limit(per_sr).unwrap(),
        per_host: limit(per_host),
        per_pool: limit(per_pool),
    })
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        4 => request().prop_map(Event::Arrives),
        1 => any::<prop::sample::Index>().prop_map(Event::Goes),
        3 => any::<prop::sample::Index>().prop_map(Event::Ends),
    ];
    prop::collection::vec(event, 1..80)
}

fn happen(tally: &mut Tally, event: Event) {
    match event {
        Event::Arrives(request) => {
            tally.arrive(request);
        }
        Event::Goes(which) => {
            let there: Vec<_> = tally.there.keys().copied().collect();
            if !there.is_empty() {
                tally.leave(*which.get(&there));
            }
        }
        Event::Ends(which) => {
            let at_work = tally.with(Standing::Turn);
            if !at_work.is_empty() {
                tally.leave(*which.get(&at_work));
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn limits_hold_work_goes_on_and_everybody_gets_the_turn_in_the_end(limits in limits(), events in events()) {
        let mut tally = Tally::new(limits);
        for event in events {
            happen(&mut tally, event);
            tally.check_limits();
            tally.check_work_goes_on();
            tally.check_nobody_is_overlooked();
        }
        tally.drain();
        prop_assert_eq!(tally.book.queues(), []);
    }

    #[test]
    fn whoever_waits_gets_the_turn_though_others_never_stop_coming(
        limits in limits(),
        rare in request(),
        crowd in prop::collection::vec(request(), 1..6),
        ends in prop::collection::vec(any::<prop::sample::Index>(), 1..8),
    ) {
        let rare = Request { priority: Priority::default(), ..rare };
        let crowd: Vec<_> = crowd.into_iter().map(|one| Request { priority: Priority::default(), ..one }).collect();
        let mut tally = Tally::new(limits);
        tally.arrive_all(crowd.iter().cycle().take(20).cloned());
        let rare = tally.arrive(rare);
        let mut rounds = 0;
        for (one, end) in crowd.iter().cycle().zip(ends.iter().cycle()) {
            if tally.standing(rare) == Standing::Turn {
                break;
            }
            rounds += 1;
            prop_assert!(rounds < 400, "overtaken for ever");
            let at_work = tally.with(Standing::Turn);
            // Not always the same one may go on working.
            tally.leave(if rounds % 3 == 0 { at_work[0] } else { *end.get(&at_work) });
            tally.arrive(one.clone());
        }
    }
}

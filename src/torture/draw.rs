//! A plan from a seed: kills in bursts, so that lives die in the midst of what an earlier one left, and the other faults near the times
//! at which policies are due, when there is something to disturb.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore as _, SeedableRng as _};

use super::plan::{Fault, Plan, Step};

/// How many bursts of kills two days have.
const BURSTS: u64 = 4;

/// Policies are due at multiples of this.
const QUARTER: u64 = 900;

/// The calls that change something.
const MUTATING: [&str; 7] = [
    "VM.snapshot",
    "VM.add_to_other_config",
    "VM.remove_from_other_config",
    "VM.destroy",
    "VDI.destroy",
    "pool.sync_database",
    "*",
];

/// Chance from a seed.
#[derive(Debug)]
pub(super) struct Dice(ChaCha8Rng);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(ChaCha8Rng::seed_from_u64(seed))
    }

    /// A number below `bound`, which is not 0.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.0.next_u64() % bound
    }

    pub(super) fn one_of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len() as u64) as usize]
    }
}

impl Plan {
    /// The plan of a seed, for so many days, at least one.
    pub fn draw(seed: u64, days: u32) -> Self {
        let mut dice = Dice::new(seed ^ 0x7047_u64);
        let (mut steps, days) = (Vec::new(), days.max(1));
        for fault in Fault::ALL.iter().filter(|fault| !fault.kills()) {
            // Not all kinds in all plans: faults hide one another.
            if dice.below(5) < 2 {
                let times = 1 + dice.below(2);
                steps.extend((0..times).map(|_| other(&mut dice, *fault, days)));
            }
        }
        let bursts = (u64::from(days) * BURSTS).div_ceil(2);
        for burst in 0..bursts {
            kills(&mut dice, seed.wrapping_mul(bursts).wrapping_add(burst), days, &mut steps);
        }
        steps.sort_by_key(|step| step.at);
        Self { seed, days, steps }
    }
}

/// A moment shortly before something may be due.
fn before_due(dice: &mut Dice, days: u32) -> u64 {
    let quarters = u64::from(days) * 86_400 / QUARTER;
    (1 + dice.below(quarters - 1)) * QUARTER - 2
}

fn other(dice: &mut Dice, fault: Fault, days: u32) -> Step {
    let method = match fault {
        Fault::Slow | Fault::Stuck | Fault::PartialSnapshot | Fault::MasterChange => Some("VM.snapshot"),
        // A call that may wait long is given up late, in the machine's time.
        Fault::Hung | Fault::Mute => Some(*dice.one_of(&MUTATING[..6])),
        Fault::Refused | Fault::CutBefore | Fault::CutAfter | Fault::Delayed | Fault::Garbage => Some(*dice.one_of(&MUTATING)),
        Fault::Restart | Fault::Crash | Fault::Promotion => Some(*dice.one_of(&MUTATING)),
        _ => None,
    };
    let nth = 1 + dice.below(4);
    Step { at: before_due(dice, days), fault, method: method.map(str::to_owned), nth, pick: dice.below(1 << 32) }
}

/// A life dies at a call; the next ones soon after their start. Over all seeds every early call of a life is hit, before and after.
fn kills(dice: &mut Dice, number: u64, days: u32, steps: &mut Vec<Step>) {
    let mut at = before_due(dice, days);
    for life in 0..1 + dice.below(5) {
        let (fault, nth) = match dice.below(8) {
            0 => (Fault::KilledAnytime, 1),
            1..=3 => (Fault::KilledBefore, 1 + number.wrapping_mul(5).wrapping_add(life) % 50),
            _ => (Fault::KilledAfter, 1 + number.wrapping_mul(5).wrapping_add(life) % 50),
        };
        steps.push(Step { at, fault, method: None, nth, pick: dice.below(1 << 32) });
        at += 20 + dice.below(300);
    }
}

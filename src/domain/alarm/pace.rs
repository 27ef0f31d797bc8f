//! How often what cannot be delivered is tried.

use chrono::TimeDelta;

/// The first pause; it doubles.
const FIRST: TimeDelta = TimeDelta::seconds(30);
/// The longest.
const LONGEST: TimeDelta = TimeDelta::minutes(30);

/// The pause after so many tries that failed.
pub fn pause(failures: u64) -> TimeDelta {
    let doublings = u32::try_from(failures.saturating_sub(1)).unwrap_or(u32::MAX).min(16);
    (FIRST * 2_i32.pow(doublings)).min(LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_half_an_hour() {
        let minutes: Vec<f64> = (1..=9).map(|failures| pause(failures).as_seconds_f64() / 60.0).collect();
        assert_eq!(minutes, [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]);
        assert_eq!((pause(0), pause(u64::MAX)), (FIRST, LONGEST));
    }
}

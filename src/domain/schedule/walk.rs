//! From the civil line to real time. Between two transitions a zone's civil line is straight, and the expression is walked there;
//! at its beginning a segment also owns the civil times that the gap in front of it swallowed, and disowns those that the segment
//! before it has shown already.

use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};

use super::super::zone::{Segment, Zone};
use super::expression::{CronExpression, Pace};

impl CronExpression {
    /// The first instant after `after` at which this expression fires in `zone`. None after the year 2100.
    pub fn next_after(&self, zone: &Zone, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let mut segment = zone.segment(after);
        let mut after = after;
        loop {
            match self.next_in(&segment, after) {
                Step::Fires(at) => return Some(at),
                Step::Never => return None,
                Step::Beyond(end) => {
                    segment = zone.segment(end);
                    after = end - TimeDelta::nanoseconds(1);
                }
            }
        }
    }

    fn next_in(&self, segment: &Segment, after: DateTime<Utc>) -> Step {
        let shifted = self.next_out_of_gap(segment, after);
        let natural = self.next_natural(segment, after);
        match (shifted, natural) {
            (Some(shifted), Step::Fires(natural)) => Step::Fires(shifted.min(natural)),
            (Some(shifted), _) => Step::Fires(shifted),
            (None, natural) => natural,
        }
    }

    /// The next match on the straight line of the segment.
    fn next_natural(&self, segment: &Segment, after: DateTime<Utc>) -> Step {
        let mut civil = segment.civil(after);
        if self.pace() == Pace::Fixed
            && let Some(repeated_until) = repeated_until(segment)
        {
            civil = civil.max(repeated_until - TimeDelta::nanoseconds(1));
        }
        let Some(next) = self.next_civil(civil) else { return Step::Never };
        let at = segment.instant(next);
        match segment.end {
            Some(end) if at >= end => Step::Beyond(end),
            _ => Step::Fires(at),
        }
    }

    /// The next match among the civil times that the gap before this segment swallowed, shifted by the gap.
    fn next_out_of_gap(&self, segment: &Segment, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let start = segment.start?;
        let before = Segment { offset: segment.offset_before, ..*segment };
        let (gap_start, gap_end) = (before.civil(start), segment.civil(start));
        // Shifted by the gap is what the civil time would be if the old offset had stayed.
        let mut civil = before.civil(after).max(gap_start - TimeDelta::nanoseconds(1));
        while let Some(next) = self.next_civil(civil).filter(|next| *next < gap_end) {
            let at = before.instant(next);
            if self.pace() == Pace::Fixed || !self.fires_by_itself(segment, gap_end, at) {
                return Some(at);
            }
            civil = next;
        }
        None
    }

    /// An interval needs nothing shifted when it fires anyway between the end of the gap and that moment.
    fn fires_by_itself(&self, segment: &Segment, gap_end: NaiveDateTime, at: DateTime<Utc>) -> bool {
        let next = self.next_civil(gap_end - TimeDelta::nanoseconds(1));
        next.is_some_and(|next| segment.instant(next) <= at)
    }
}

/// What one segment has to say.
enum Step {
    Fires(DateTime<Utc>),
    /// Nothing here; go on with the segment that begins at this instant, itself included.
    Beyond(DateTime<Utc>),
    Never,
}

/// The civil time up to which the segment repeats what the segment before it has shown.
fn repeated_until(segment: &Segment) -> Option<NaiveDateTime> {
    let start = segment.start?;
    let shown = Segment { offset: segment.offset_before, ..*segment }.civil(start);
    (shown > segment.civil(start)).then_some(shown)
}

#[cfg(test)]
mod tests;

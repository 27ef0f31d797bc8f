//! What stays free on a storage repository: a share of it, or so many bytes.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// The units of sizes, the greatest first.
const UNITS: [(&str, u32); 5] = [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10), ("B", 0)];

/// More than that would keep a storage repository empty.
const MOST_PERCENT: u8 = 90;

/// What stays free.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reserve {
    /// This many hundredths of it.
    Percent(u8),
    /// So many bytes.
    Bytes(u64),
}

impl Reserve {
    /// The bytes that stay free of so many.
    pub fn of(self, size: u64) -> u64 {
        match self {
            // 90 hundredths of whatever fits into 64 bits fit too.
            Self::Percent(percent) => u64::try_from(u128::from(size) * u128::from(percent) / 100).unwrap_or(u64::MAX),
            Self::Bytes(bytes) => bytes,
        }
    }
}

impl Default for Reserve {
    fn default() -> Self {
        Self::Percent(5)
    }
}

/// A reserve that cannot be meant.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ReserveError {
    /// Not understood.
    #[error("this is no size; write a share (\"10%\") or bytes with their unit (\"50GiB\")")]
    NoSize,
    /// Units of a thousand.
    #[error("sizes are told in units of 1024; write {0}iB")]
    Unit(String),
    /// Hardly anything would be left.
    #[error("so much of an SR cannot stay free; write 0% to {MOST_PERCENT}%, or a number of bytes")]
    Percent,
}

impl FromStr for Reserve {
    type Err = ReserveError;

    fn from_str(text: &str) -> Result<Self, ReserveError> {
        let text = text.trim();
        let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
        let unit = unit.trim();
        let number: u64 = number.parse().map_err(|_| ReserveError::NoSize)?;
        if unit == "%" {
            let percent = u8::try_from(number).ok().filter(|percent| *percent <= MOST_PERCENT);
            return percent.map(Self::Percent).ok_or(ReserveError::Percent);
        }
        if let Some((_, shift)) = UNITS.iter().find(|(name, _)| *name == unit) {
            let bytes = number.checked_mul(1 << shift).filter(|bytes| i64::try_from(*bytes).is_ok());
            return bytes.map(Self::Bytes).ok_or(ReserveError::NoSize);
        }
        let letter = unit.trim_end_matches(['b', 'B']).to_ascii_uppercase();
        let known = ["K", "M", "G", "T"].contains(&letter.as_str());
        Err(if known { ReserveError::Unit(format!("{number}{letter}")) } else { ReserveError::NoSize })
    }
}

/// As it is read: in the greatest unit of which it is a multiple.
impl fmt::Display for Reserve {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Percent(percent) => write!(f, "{percent}%"),
            Self::Bytes(bytes) => {
                let whole = |(_, shift): &&(&str, u32)| bytes.trailing_zeros() >= *shift && bytes > 0;
                let (unit, shift) = UNITS.iter().find(whole).copied().unwrap_or(("B", 0));
                write!(f, "{}{unit}", bytes >> shift)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("10%", Reserve::Percent(10))]
    #[case("0%", Reserve::Percent(0))]
    #[case(" 50 GiB ", Reserve::Bytes(50 << 30))]
    #[case("1024B", Reserve::Bytes(1024))]
    #[case("2TiB", Reserve::Bytes(2 << 40))]
    fn a_reserve_is_a_share_or_bytes(#[case] text: &str, #[case] reserve: Reserve) {
        assert_eq!(text.parse(), Ok(reserve));
    }

    #[rstest]
    #[case("91%", ReserveError::Percent)]
    #[case("300%", ReserveError::Percent)]
    #[case("50G", ReserveError::Unit("50G".into()))]
    #[case("50 gb", ReserveError::Unit("50G".into()))]
    #[case("10", ReserveError::NoSize)]
    #[case("-1%", ReserveError::NoSize)]
    #[case("1.5GiB", ReserveError::NoSize)]
    #[case("", ReserveError::NoSize)]
    #[case("99999999TiB", ReserveError::NoSize)]
    fn what_is_none_is_told_with_the_remedy(#[case] text: &str, #[case] error: ReserveError) {
        assert_eq!(text.parse::<Reserve>(), Err(error));
    }

    #[test]
    fn a_share_counts_of_the_whole() {
        assert_eq!(Reserve::Percent(10).of(1000), 100);
        assert_eq!(Reserve::Percent(90).of(u64::MAX), u64::MAX / 10 * 9 + 4);
        assert_eq!(Reserve::Bytes(7).of(3), 7);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(bytes in 0..=i64::MAX as u64, percent in 0u8..=90) {
            for reserve in [Reserve::Bytes(bytes), Reserve::Percent(percent)] {
                prop_assert_eq!(reserve.to_string().parse(), Ok(reserve));
            }
        }
    }
}

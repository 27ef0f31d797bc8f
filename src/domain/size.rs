//! Bytes for people: in the largest unit of which there is one, with a decimal place unless it is none.

/// `20 GiB`, `1.6 TiB`, `12 B`.
pub fn told(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let unit = (0..UNITS.len() - 1).find(|unit| bytes >> (10 * (unit + 1)) == 0).unwrap_or(UNITS.len() - 1);
    let whole = bytes as f64 / (1_u64 << (10 * unit)) as f64;
    if whole.fract() < 0.05 { format!("{whole:.0} {}", UNITS[unit]) } else { format!("{whole:.1} {}", UNITS[unit]) }
}

/// The same of a number as servers tell it; what is below zero is not known and counts as nothing.
pub fn of(bytes: i64) -> String {
    told(u64::try_from(bytes).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_told_in_the_largest_unit_of_which_there_is_one() {
        for (bytes, text) in [(0, "0 B"), (1023, "1023 B"), (1024, "1 KiB"), (20 << 30, "20 GiB"), (1_771_674_009_600, "1.6 TiB")]
        {
            assert_eq!(told(bytes), text);
        }
        assert_eq!((of(-1), of(1 << 40)), ("0 B".to_owned(), "1 TiB".to_owned()));
    }
}

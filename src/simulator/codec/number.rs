//! Floats as C's `printf` writes them.

/// `%.{precision}g`.
pub(super) fn general(value: f64, precision: usize) -> String {
    if !value.is_finite() {
        return not_finite(value).to_owned();
    }
    let precision = precision.max(1);
    let scientific = format!("{:.*e}", precision - 1, value);
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if exponent < -4 || exponent >= precision as i32 {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{}e{sign}{:02}", without_zeros(mantissa), exponent.abs());
    }
    let decimals = (precision as i32 - 1 - exponent).max(0) as usize;
    without_zeros(&format!("{value:.decimals$}")).to_owned()
}

/// The shortest of 16 and 17 digits that reads back as the same number.
pub(super) fn exact(value: f64) -> String {
    let short = general(value, 16);
    if short.parse() == Ok(value) { short } else { general(value, 17) }
}

fn not_finite(value: f64) -> &'static str {
    match value {
        v if v.is_nan() => "nan",
        v if v > 0.0 => "inf",
        _ => "-inf",
    }
}

fn without_zeros(text: &str) -> &str {
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_are_written_as_printf_does() {
        for (value, text) in
            [(0.0, "0"), (1.0, "1"), (0.5, "0.5"), (2.0 / 3.0, "0.6666666666666666"), (1e20, "1e+20"), (1e-7, "1e-07")]
        {
            assert_eq!(exact(value), text);
        }
        assert_eq!(general(1234567.0, 6), "1.23457e+06");
        assert_eq!(exact(0.1 + 0.2), "0.30000000000000004");
    }
}

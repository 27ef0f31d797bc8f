//! A date in any spelling. What is read is written so that it is read again as the same second.

#![no_main]

use libfuzzer_sys::fuzz_target;
use xensnap::xenapi::types::Date;

fuzz_target!(|text: &str| {
    if let Ok(date) = text.parse::<Date>() {
        let again: Date = date.to_string().parse().expect("what is written is a date");
        assert_eq!(again.get().timestamp(), date.get().timestamp());
    }
});

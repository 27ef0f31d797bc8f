//! The result of a task, as the types it is asked for.

#![no_main]

use libfuzzer_sys::fuzz_target;
use xensnap::xenapi::types::{Any, Ref, Void};
use xensnap::xenapi::wire::task_result;

fuzz_target!(|text: &str| {
    let _ = task_result::<Void>(text);
    let _ = task_result::<Vec<Ref<Any>>>(text);
    if let Ok(reference) = task_result::<Ref<Any>>(text) {
        let printed = reference.to_string();
        assert_eq!(Ref::<Any>::new(&printed), reference);
    }
});

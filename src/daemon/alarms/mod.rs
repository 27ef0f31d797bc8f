//! Who is told of what goes wrong. One task looks and writes down what is news and what is to be told; another carries what was written to
//! where it goes; a third tells a monitor outside that the timekeeper lives. None of them is ever waited for by whoever works.
//!
//! | file | idea |
//! | --- | --- |
//! | `channels` | the ways out, as the plan has them |
//! | `look` | what is wrong now |
//! | `promises` | whose newest good snapshot is too old |
//! | `watch` | what is news, and the messages that tell it |
//! | `courier` | deliveries, tried until they arrive or are given up |
//! | `dead_man` | the ping, while the timekeeper lives |
//! | `trial` | a channel is tried because somebody asks |

mod channels;
mod courier;
mod dead_man;
mod look;
mod promises;
mod trial;
mod watch;

pub use channels::{Alarms, Channel, DeadMan, Route};
pub(super) use courier::carry;
pub use dead_man::Monitor;
pub(super) use dead_man::{Pulse, keep_telling};
pub(super) use look::UNDELIVERED;
pub use trial::{Outcome, try_channels};
pub(super) use trial::{names, try_one};
pub(super) use watch::watch;

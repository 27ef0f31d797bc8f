//! What the service says of itself: how it stands, and how well VMs are protected. The shapes are what `xensnap status --json` and
//! `coverage --json` print (`docs/JSON.md`), and what the socket carries. What only the history tells is told here too for whoever
//! reads a history whose service does not run.

mod alarms;
mod coverage;
mod orphans;
mod shapes;
mod status;
mod troubles;

pub use super::reach::Phase;
pub(super) use alarms::alarms;
pub use alarms::{AlarmDelivery, AlarmVm, AlarmsReport, RaisedAlarm, alarms_from_history};
pub(super) use coverage::coverage;
pub use coverage::{Away, Coverage, Covered, Good, ProtectedVm, Rpo, Source};
pub(super) use orphans::orphans;
pub use orphans::{Left, Leftover, OrphansReport};
pub use shapes::{Fires, Jobs, Master, Paused, PolicyName, PoolStatus, RunStatus, Service, Status, Work};
pub use status::from_history;
pub(super) use status::live;
pub use troubles::{Trouble, Weight, troubles};

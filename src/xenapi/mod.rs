//! The client: everything this program asks of a pool goes through here, and nothing outside knows which wire is in use.

pub mod call;
pub mod calls;
mod connection;
mod discovery;
pub mod error;
mod events;
mod exchange;
pub mod failure;
pub mod fault;
mod fence;
pub mod inventory;
mod login;
mod members;
mod patience;
pub mod pool;
pub mod records;
mod secret;
pub mod settings;
pub mod tally;
pub mod task;
pub mod transfer;
mod transport;
pub mod trust;
pub mod types;
pub mod wire;

pub use crate::domain::address::Address;
pub use call::{Call, Safety};
pub use connection::Incarnation;
pub use error::{CallError, ConnectError, Problem};
pub use fence::Fence;
pub use inventory::Inventory;
pub use members::KnownHost;
pub use pool::Pool;
pub use settings::Settings;
pub use tally::Tally;
pub use task::{FoundTask, Task, TaskError};

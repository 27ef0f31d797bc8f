//! Alarms: what goes wrong is told to people, once when it begins and once when it ends. Here it is decided what that means: what is an
//! alarm, what of it is news, what a message says. Nothing here sends anything or knows what time it is.
//!
//! | file | idea |
//! | --- | --- |
//! | `condition` | what is wrong, and how long that counts |
//! | `edges` | what is news between two looks |
//! | `promise` | how old a VM's newest good snapshot may be |
//! | `content` | what a message tells, as programs read it |
//! | `letter` | the same as people read it |
//! | `pool_message` | the same as a pool's messages |
//! | `plain` | names of servers made harmless |
//! | `pace` | how often what cannot be delivered is tried |
//! | `target` | where messages go |

mod condition;
mod content;
mod edges;
mod letter;
mod pace;
mod plain;
mod pool_message;
mod promise;
mod target;

pub use condition::{Condition, Raised, Way, lasts, way};
pub use content::{Content, Part, Telling, Told, ToldVm};
pub use edges::{Changes, Edge, Rules, changes};
pub use letter::{Letter, letter};
pub use pace::pause;
pub use plain::plain;
pub use pool_message::{PoolMessage, is_about_snapshots, pool_messages};
pub use promise::Promise;
pub use target::{Mailbox, MailboxError, WebAddress, WebAddressError, is_loopback};

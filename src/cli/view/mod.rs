//! How verbs show what they found. Text fits the terminal and says by itself what it means; what comes from a server cannot steer the
//! terminal; and each verb says the same as one JSON object.
//!
//! | file | idea |
//! | --- | --- |
//! | `screen` | how wide, and in colour or not |
//! | `table`, `layout` | rows and columns that fit |
//! | `facts` | one thing, a line for each fact |
//! | `times` | instants in the reader's zone, and how long ago |
//! | `states` | words with what they mean |
//! | `json`, `shapes` | the same for programs |

mod facts;
mod json;
mod layout;
mod screen;
pub(super) mod shapes;
pub(super) mod states;
mod table;
mod times;

pub(super) use facts::Facts;
pub(super) use screen::{Screen, Tone, cut, harmless, wrapped};
pub(super) use table::{Cell, Column, Table};
pub(super) use times::{Moment, Times, rough};

pub(super) use json::{print as print_json, print_report};

/// What stands where there is nothing to say.
pub(super) const NOTHING: &str = "-";

/// "1 run", "3 runs".
pub(super) fn counted(count: usize, what: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {what}{plural}")
}

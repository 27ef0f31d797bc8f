//! `system.listMethods`.

use super::model::{Model, Release};
use super::value::Text;

/// The messages of a release in the order of the server's list: removed ones stay.
pub fn list(release: Release) -> Vec<Text> {
    let mut list = Vec::new();
    for class in Model::get().classes().iter().filter(|class| class.since <= release) {
        for message in class.messages.iter().filter(|message| message.since <= release) {
            list.push(format!("{}.{}", class.name, message.name).into());
        }
    }
    list
}

//! A wish for the files as they are now. The service does not read files: whoever started it does, and says what became of the wish.

use tokio::sync::oneshot;

use super::super::Handle;
use super::Reply;
use crate::engine::error::Result;
use crate::engine::worker::Worker;

/// A wish to put the files as they are now in force.
#[derive(Debug)]
pub struct Reload {
    /// Who wishes it.
    pub by: String,
    /// Where the outcome goes.
    pub answer: oneshot::Sender<Reloaded>,
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reloaded {
    /// The files are in force; this is what changed.
    Yes(Vec<String>),
    /// They are wrong: all that is, drawn for people. What was in force stays.
    Wrong(String),
    /// They could not be put in force for another reason.
    Failed(String),
}

pub(super) async fn answer(worker: &mut Worker, handle: &Handle, by: &str, reply: &mut Reply) -> Result<()> {
    let (answer, answered) = oneshot::channel();
    let wish = Reload { by: by.to_owned(), answer };
    let reloaded = async {
        handle.desk.reloads.send(wish).await.ok()?;
        answered.await.ok()
    };
    match worker.wait(reloaded).await {
        Some(Reloaded::Yes(lines)) => lines.into_iter().for_each(|line| reply.say(line)),
        Some(Reloaded::Wrong(drawn)) => reply.refuse("configuration", drawn),
        Some(Reloaded::Failed(text)) => reply.refuse("failed", text),
        None => reply.refuse("failed", "the service stops; nothing was reloaded"),
    }
    Ok(())
}

//! Channels through which people are told are tried now, all or one, because somebody asks.

use uuid::Uuid;

use super::super::Handle;
use super::super::alarms::{Outcome, names, try_one};
use super::Reply;
use crate::domain::alarm::Content;
use crate::domain::nearest::nearest;
use crate::engine::error::Result;
use crate::engine::worker::Worker;

/// Tries them, one after another, and says of each what happened.
pub(super) async fn test(worker: &mut Worker, handle: &Handle, only: Option<&str>, reply: &mut Reply) -> Result<()> {
    let plan = handle.plan();
    let Some(alarms) = plan.alarms.clone() else {
        reply.refuse("configuration", "there is no [alarms] in the main file; docs/ALARMS.md shows it");
        return Ok(());
    };
    let all = names(&alarms, &plan);
    if all.is_empty() {
        reply.refuse("configuration", "[alarms] has no channel; docs/ALARMS.md shows them");
        return Ok(());
    }
    if let Some(only) = only.filter(|only| all.iter().all(|name| name != only)) {
        let near = nearest(only, all.iter().map(String::as_str));
        let hint = near.map_or_else(|| format!("there are: {}", all.join(", ")), |near| format!("did you mean {near}?"));
        reply.refuse("not-found", format!("no channel is called {only}; {hint}"));
        return Ok(());
    }
    let (now, raised) = (handle.clock.now(), handle.store.raised_alarms().await?.len());
    let content = Content::test(Uuid::new_v4(), plan.installation.as_str(), raised, now);
    for name in all.iter().filter(|name| only.is_none_or(|only| only == name.as_str())) {
        let Outcome { channel, text, delivered } = try_one(worker, handle, &alarms, &content, name).await;
        let line = format!("{channel}: {text}");
        if delivered { reply.say(line) } else { reply.fail(line) }
    }
    Ok(())
}

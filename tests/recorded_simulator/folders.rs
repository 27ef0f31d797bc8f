//! The recorded folders, each in its state.

use std::path::Path;

use crate::compare::Mask;
use crate::replay::Replay;
use crate::transcript::Transcript;
use crate::{recordings, state};

/// The exchanges of a folder whose names contain none of `without`.
fn exchanges(recordings: &Path, folder: &str, without: &[&str]) -> Vec<Transcript> {
    let all = Transcript::folder(&recordings.join(folder));
    all.into_iter().filter(|exchange| !without.iter().any(|part| exchange.name.contains(part))).collect()
}

#[tokio::test]
async fn reads_are_answered_as_recorded() {
    for recordings in recordings() {
        let mut world = state::pool(&recordings);
        state::session(&mut world, "OpaqueRef:21e69483-2b60-496d-5c83-18b2a31fbbd4");
        state::session(&mut world, "OpaqueRef:730fe0c9-eabf-b3ea-7a51-298970730650");
        let mut replay = Replay::start(world).await;
        let reads = exchanges(&recordings, "reads", &["get_servertime"]);
        replay.check_all(&reads, &[]).await;
        let clock: Vec<_> = exchanges(&recordings, "reads", &[]).into_iter().filter(|e| e.name.contains("servertime")).collect();
        replay.check_all(&clock, &[Mask::Dates]).await;
        replay.finish().await;
    }
}

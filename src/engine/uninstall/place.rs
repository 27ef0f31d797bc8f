//! A disk's place in its storage's queue. A removal lines up for all its disks at once and goes on when the first of them is next: so
//! what is looked at is destroyed a moment later, and a removal that still waits has destroyed nothing.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;

use futures_util::future::{MaybeDone, maybe_done};
use uuid::Uuid;

use super::Queue;
use crate::domain::id::SrUuid;
use crate::engine::admission::{Admission, Request, Staged, Turn};
use crate::engine::site::Site;
use crate::engine::view;
use crate::engine::worker::Worker;
use crate::store::{PartState, Removal, Role};
use crate::xenapi::records::Vdi;
use crate::xenapi::types::Uuid as ServerUuid;

type Stage = Pin<Box<dyn Future<Output = Staged> + Send>>;

/// A disk that is to go, and where it stands.
pub(super) struct Place {
    pub(super) disk: Uuid,
    stage: Pin<Box<MaybeDone<Stage>>>,
}

impl Place {
    /// Lines up for every part of a removal that is in a storage and still there.
    pub(super) fn all(site: &Site, removal: &Removal, queue: &Queue) -> Vec<Self> {
        let left = removal.parts.iter().filter(|part| part.role != Role::Snapshot);
        let left = left.filter(|part| !matches!(part.state, PartState::Gone | PartState::Spared));
        left.map(|part| Self::new(site, part.uuid, queue)).collect()
    }

    fn new(site: &Site, disk: Uuid, queue: &Queue) -> Self {
        let sr = {
            let tables = site.inventory.read();
            let known = tables.by_uuid::<Vdi>(&ServerUuid::new(disk));
            known.and_then(|(_, disk)| view::sr(&tables, &disk.sr)).map(|(sr, _)| sr)
        };
        let request = Request { srs: sr.into_iter().collect::<Vec<SrUuid>>(), ..queue.clone() };
        let stage: Stage = Box::pin(stage(site.admission.clone(), request));
        Self { disk, stage: Box::pin(maybe_done(stage)) }
    }

    /// Waits until it is next.
    pub(super) async fn next(&mut self, worker: &mut Worker) {
        worker.wait(self.stage.as_mut()).await;
    }

    /// Waits for the turn. Nothing if the place was given up.
    pub(super) async fn turn(mut self, worker: &mut Worker) -> Option<Turn> {
        self.next(worker).await;
        let staged = self.stage.as_mut().take_output()?;
        Some(worker.wait(staged.turn()).await)
    }
}

async fn stage(admission: Admission, request: Request) -> Staged {
    admission.stage(request).await
}

/// Waits until one of them is next, if there is any.
pub(super) async fn first(worker: &mut Worker, places: &mut [Place]) {
    if places.is_empty() {
        return;
    }
    let any = poll_fn(|context| {
        // Every one of them is polled: that is how it gets its place in the queue.
        let next = places.iter_mut().map(|place| place.stage.as_mut().poll(context).is_ready());
        if next.fold(false, |any, next| any | next) { Poll::Ready(()) } else { Poll::Pending }
    });
    worker.wait(any).await;
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Place").field("disk", &self.disk).finish_non_exhaustive()
    }
}

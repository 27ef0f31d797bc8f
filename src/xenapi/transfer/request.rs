//! From a target to the head of an answer: where it is asked, with the session in a cookie (a query is written to logs), and what
//! to do when the server sends us on. A session goes to hosts of this pool only, whatever a server says.

use std::sync::Arc;
use std::time::Duration;

use reqwest::Method;
use reqwest::header::{COOKIE, HeaderValue, LOCATION};

use super::error::TransferError;
use super::page::failure_in;
use super::what::Target;
use super::{Tracked, Transferred};
use crate::domain::address::Address;
use crate::xenapi::calls;
use crate::xenapi::connection::{Core, Link};
use crate::xenapi::error::{CallError, Refusal};
use crate::xenapi::fault::{Fault, TransportError};
use crate::xenapi::members::resolve;
use crate::xenapi::patience::Patience;
use crate::xenapi::pool::Pool;
use crate::xenapi::records::Task;
use crate::xenapi::task::{TaskError, destroy};
use crate::xenapi::transport::Body;
use crate::xenapi::types::Void;

/// How often one transfer is sent on.
const SENT_ON_AT_MOST: usize = 3;
/// More of an error page is not read.
const PAGE: usize = 16 * 1024;
/// How long, on the clock, the task of a stream that has ended may take to end as well.
const AFTER_STREAM: Duration = Duration::from_secs(600);

/// How long, on the clock, it may take after the stream broke and the task was cancelled.
const AFTER_CANCEL: Duration = Duration::from_secs(60);

/// A transfer under way: its session, its host, its task.
pub(super) struct Asked {
    pub(super) address: Address,
    pub(super) tracked: Tracked,
}

impl Pool {
    /// Where `target` is asked, and the session to do it with.
    pub(super) async fn ask_at(&self, target: &Target) -> Result<(Arc<Link>, Asked), TransferError> {
        let tracked = Tracked::create(self, &target.label).await?;
        let patience = Patience::new(&self.core.clock, self.core.settings.patience);
        let link = self.core.link(&patience).await.map_err(CallError::NotConnected)?;
        let address = match &target.host {
            None => link.address.clone(),
            Some(host) => {
                let known = self.hosts().into_iter().find(|known| known.reference == host.to_string());
                let unknown = || TransferError::UnknownHost { label: target.label.clone(), host: host.to_string() };
                known.map(|known| known.address).ok_or_else(unknown)?
            }
        };
        Ok((link, Asked { address, tracked }))
    }
}

/// A request for `target` at the host of `asked`, without a body.
pub(super) fn request(core: &Core, link: &Link, asked: &Asked, method: Method, target: &Target) -> reqwest::RequestBuilder {
    let url = asked.address.url(&target.url_path(&asked.tracked.reference.to_string()));
    // A session that is no header value belongs to a hostile server; it is refused as a missing one would be.
    let cookie = HeaderValue::try_from(format!("session_id={}", link.session.expose()));
    let mut cookie = cookie.unwrap_or(HeaderValue::from_static("session_id="));
    cookie.set_sensitive(true);
    core.transport.request(method, &url).header(COOKIE, cookie)
}

/// Where a 302 sends us, if that is a host of the pool that was not asked yet.
pub(super) fn sent_on(
    core: &Core,
    target: &Target,
    asked: &mut Asked,
    body: &Body,
    times: &mut usize,
) -> Result<(), TransferError> {
    let location = body.header(&LOCATION).unwrap_or_default();
    let host = url::Url::parse(location).ok().and_then(|url| url.host_str().map(str::to_owned));
    let resolved = host.and_then(|host| resolve(&core.settings, &asked.address, &host).ok());
    let known = resolved.filter(|address| core.members.hosts().iter().any(|host| host.address == *address));
    *times += 1;
    match known {
        Some(address) if *times <= SENT_ON_AT_MOST => {
            asked.address = address;
            Ok(())
        }
        _ => Err(TransferError::Elsewhere { label: target.label.clone(), target: host_only(location) }),
    }
}

/// A location without its query, which may hold a session.
fn host_only(location: &str) -> String {
    location.split('?').next().unwrap_or_default().to_owned()
}

/// The error behind a status that is no success: the task's words first, then the page's.
pub(super) async fn refused(pool: &Pool, target: &Target, asked: Asked, mut body: Body) -> TransferError {
    let status = body.status();
    let page = body.head_of_body(PAGE).await.unwrap_or_default();
    drop(body);
    refused_with(pool, target, asked, status, &page).await
}

/// As [`refused`], with what was read of the page.
pub(super) async fn refused_with(pool: &Pool, target: &Target, mut asked: Asked, status: u16, page: &[u8]) -> TransferError {
    let (label, address) = (target.label.clone(), asked.address.clone());
    if let Some(failed) = failed_task(pool, &mut asked).await {
        return failed.into();
    }
    match failure_in(page) {
        Some(failure) => TransferError::Refused { label, address, failure: pool.core.clean(failure) },
        None => TransferError::Status { label, address, status },
    }
}

/// The failure of a task that has ended already; it is destroyed then.
async fn failed_task(pool: &Pool, asked: &mut Asked) -> Option<TaskError> {
    let reference = &asked.tracked.reference;
    let task: Task = pool.call(calls::record(reference)).await.ok().filter(Task::has_ended)?;
    destroy(pool, reference).await;
    asked.tracked.settled = true;
    let failure = pool.core.clean(task.failure()?);
    Some(TaskError::Failed(Refusal { method: task.name_label.into(), failure }))
}

/// How the task of a stream that has ended came out.
pub(super) async fn outcome(pool: &Pool, target: &Target, mut asked: Asked, bytes: u64) -> Result<Transferred, TransferError> {
    let task = pool.pick_up::<Void>(asked.tracked.reference.clone()).named(&target.label);
    let ended = task.ended(Some(AFTER_STREAM)).await;
    asked.tracked.settled = true;
    Ok(Transferred { bytes, task: ended? })
}

/// What a broken stream means: the task's own failure says more than the break.
pub(super) async fn broken(pool: &Pool, target: &Target, mut asked: Asked, fault: Fault) -> TransferError {
    let source = TransportError { address: asked.address.clone(), fault };
    let task = pool.pick_up::<Void>(asked.tracked.reference.clone()).named(&target.label);
    let _ = task.cancel().await;
    let ended = task.ended(Some(AFTER_CANCEL)).await;
    asked.tracked.settled = true;
    match ended {
        Err(TaskError::Failed(refusal)) if refusal.failure.code != "TASK_CANCELLED" => TaskError::Failed(refusal).into(),
        Err(error @ (TaskError::Vanished { .. } | TaskError::StillRunning { .. })) if target.path.contains("import") => {
            error.into()
        }
        _ => TransferError::Broken { label: target.label.clone(), source },
    }
}

//! One connection writes, and whoever waits shares a commit with those who wait too (group commit).
//!
//! A write is acknowledged after the commit that holds it is on disk, and never before. Each write of a commit stands behind its own
//! savepoint: one that is refused takes nobody with it. When the database itself fails, the whole commit is undone and everybody in
//! it is told, so that "it failed" always means "nothing was written". A write that was handed over is done even if the one who
//! asked has gone: cancellation never leaves half of it.

use std::future::Future;
use std::os::unix::fs::MetadataExt;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::time::Duration;

use futures_util::FutureExt;
use sqlx::Connection as _;
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use super::error::{Error, Fault, Result};
use super::lineage::{Noted, Sidecar};
use super::sqlite::{self, Connection};

/// The most writes that share one commit: a bound on how long the first of them waits.
const MOST_PER_COMMIT: usize = 256;
/// How many commits go by before it is looked at how long the log is.
const COMMITS_PER_LOOK: u32 = 16;
/// How many may wait before callers have to.
const QUEUE: usize = 1024;

/// A piece of work on a connection.
pub(super) type Step<'c, T> = Pin<Box<dyn Future<Output = Result<T, Fault>> + Send + 'c>>;

/// The queue to the connection that writes.
#[derive(Debug)]
pub(super) struct Writer {
    queue: mpsc::Sender<Message>,
}

type Reply = oneshot::Sender<Result<()>>;

enum Message {
    Write(Box<dyn Work>),
    Close(Reply),
}

impl Writer {
    /// Starts the task that owns the connection.
    pub(super) fn start(place: Place, connection: Connection, sidecar: Sidecar) -> Self {
        let (queue, waiting) = mpsc::channel(QUEUE);
        let owner = Owner { place, connection: Some(connection), sidecar, generation: 0, checkpointed: 0, commits: 0 };
        tokio::spawn(owner.serve(waiting));
        Self { queue }
    }

    /// Does `work` inside a transaction and returns once that is on disk.
    pub(super) async fn write<T, F>(&self, operation: &'static str, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut Connection) -> Step<'c, T> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let write = Write { operation, work: Some(work), value: None, reply };
        self.queue.send(Message::Write(Box::new(write))).await.map_err(|_| Error::Closed)?;
        answer.await.map_err(|_| Error::Closed)?
    }

    /// Does what is queued, then closes the connection. Later writes are refused.
    pub(super) async fn close(&self) -> Result<()> {
        let (reply, answer) = oneshot::channel();
        if self.queue.send(Message::Close(reply)).await.is_err() {
            return Ok(());
        }
        answer.await.unwrap_or(Ok(()))
    }
}

/// A write whose types are forgotten, so that many kinds can wait in one queue.
trait Work: Send {
    fn run<'c>(&'c mut self, connection: &'c mut Connection) -> Step<'c, ()>;
    fn answer(self: Box<Self>, verdict: Result<(), Fault>, path: &Path);
}

struct Write<T, F> {
    operation: &'static str,
    work: Option<F>,
    value: Option<T>,
    reply: oneshot::Sender<Result<T>>,
}

impl<T, F> Work for Write<T, F>
where
    T: Send + 'static,
    F: for<'c> FnOnce(&'c mut Connection) -> Step<'c, T> + Send + 'static,
{
    fn run<'c>(&'c mut self, connection: &'c mut Connection) -> Step<'c, ()> {
        Box::pin(async move {
            if let Some(work) = self.work.take() {
                self.value = Some(work(connection).await?);
            }
            Ok(())
        })
    }

    fn answer(self: Box<Self>, verdict: Result<(), Fault>, path: &Path) {
        let Self { operation, value, reply, .. } = *self;
        let answer = verdict.map_err(|fault| fault.during(operation, path)).and_then(|()| value.ok_or(Error::Closed));
        // Nobody may be waiting any more; the write is done all the same.
        let _ = reply.send(answer);
    }
}

/// Which file it is, so that another one in its place is noticed.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) path: PathBuf,
    pub(super) database: Uuid,
    pub(super) busy: Duration,
    inode: (u64, u64),
}

impl Place {
    /// The file as it is now.
    pub(super) fn of(path: &Path, database: Uuid, busy: Duration) -> Result<Self> {
        let inode = inode(path).map_err(|error| Error::file("open the history", path, error))?;
        Ok(Self { path: path.to_owned(), database, busy, inode })
    }

    /// SQLite would go on writing into a file that was deleted or moved, and all of it would be lost.
    fn is_unmoved(&self) -> Result<(), Error> {
        match inode(&self.path) {
            Ok(inode) if inode == self.inode => Ok(()),
            _ => Err(Error::Moved { path: self.path.clone() }),
        }
    }
}

fn inode(path: &Path) -> std::io::Result<(u64, u64)> {
    std::fs::metadata(path).map(|file| (file.dev(), file.ino()))
}

struct Owner {
    place: Place,
    /// None after a failure from which only a new connection recovers.
    connection: Option<Connection>,
    sidecar: Sidecar,
    /// Of the last commit here.
    generation: i64,
    /// The generation that was seen to be in the file itself.
    checkpointed: i64,
    commits: u32,
}

impl Owner {
    async fn serve(mut self, mut waiting: mpsc::Receiver<Message>) {
        while let Some(first) = waiting.recv().await {
            // Those who were woken by the last commit get the chance to join this one.
            tokio::task::yield_now().await;
            let (works, close) = gather(first, &mut waiting);
            if !works.is_empty() {
                let healthy = self.commit(works).await;
                // A log that is folded begins anew in the room it has: on a full disk that is the only room there is.
                self.fold_log(!healthy).await;
            }
            if let Some(reply) = close {
                drop(waiting);
                let _ = reply.send(self.close().await);
                return;
            }
        }
        // Every handle is gone without a word: leave the files as orderly as after `close`.
        let _ = self.close().await;
    }

    /// False if the database failed.
    async fn commit(&mut self, mut works: Vec<Box<dyn Work>>) -> bool {
        // Whoever panics must not take the others' commit, or the writer, along.
        let outcome = AssertUnwindSafe(self.transact(&mut works)).catch_unwind().await;
        match outcome.unwrap_or_else(|_| Err(sqlx::Error::WorkerCrashed.into())) {
            Ok(verdicts) => {
                works.into_iter().zip(verdicts).for_each(|(work, verdict)| work.answer(verdict, &self.place.path));
                true
            }
            Err(fault) => {
                self.abandon().await;
                works.into_iter().for_each(|work| work.answer(Err(fault.clone()), &self.place.path));
                false
            }
        }
    }

    async fn transact(&mut self, works: &mut [Box<dyn Work>]) -> Result<Vec<Result<(), Fault>>, Fault> {
        self.place.is_unmoved()?;
        let connection = match &mut self.connection {
            Some(connection) => connection,
            none => none.insert(sqlite::writer(&self.place.path, self.place.busy).await?),
        };
        sqlite::begin(connection).await?;
        let mut verdicts = Vec::with_capacity(works.len());
        let alone = works.len() == 1;
        for work in works {
            verdicts.push(step(connection, work, alone).await?);
        }
        if verdicts.iter().all(Result::is_err) {
            sqlx::query("ROLLBACK").execute(connection).await?;
            return Ok(verdicts);
        }
        let generation = raise_generation(connection, self.checkpointed).await?;
        sqlx::query("COMMIT").execute(connection).await?;
        self.generation = generation;
        // It is on disk; a sidecar that cannot be written must not turn success into failure.
        let _ = self.sidecar.note(Noted { generation: generation.unsigned_abs(), database: self.place.database });
        Ok(verdicts)
    }

    /// After everybody has their answer. A failure is no loss: what is in the log is safe there, and the next look tries again.
    async fn fold_log(&mut self, in_any_case: bool) {
        self.commits += 1;
        let look = in_any_case || self.commits.is_multiple_of(COMMITS_PER_LOOK);
        let Some(connection) = self.connection.as_mut().filter(|_| look) else { return };
        if sqlite::checkpoint(connection, in_any_case).await.unwrap_or(false) {
            self.checkpointed = self.generation;
        }
    }

    /// Leaves no transaction open, whatever state the failure left the connection in.
    async fn abandon(&mut self) {
        let Some(mut connection) = self.connection.take() else { return };
        // "No transaction is active" is fine: SQLite has rolled back by itself.
        match sqlx::query("ROLLBACK").execute(&mut connection).await {
            Ok(_) => self.connection = Some(connection),
            Err(_) => drop(connection.close().await),
        }
    }

    async fn close(mut self) -> Result<()> {
        if let Some(connection) = self.connection.take() {
            connection.close().await.map_err(|error| Fault::from(error).during("close the history", &self.place.path))?;
        }
        self.sidecar.settle(&self.place.path)
    }
}

fn gather(first: Message, waiting: &mut mpsc::Receiver<Message>) -> (Vec<Box<dyn Work>>, Option<Reply>) {
    let mut works = Vec::new();
    let mut next = Some(first);
    while let Some(message) = next {
        match message {
            Message::Write(work) => works.push(work),
            Message::Close(reply) => return (works, Some(reply)),
        }
        next = if works.len() < MOST_PER_COMMIT { waiting.try_recv().ok() } else { None };
    }
    (works, None)
}

/// Runs one write. Outer error: the transaction is lost; inner: this write alone was refused and undone.
async fn step(connection: &mut Connection, work: &mut Box<dyn Work>, alone: bool) -> Result<Result<(), Fault>, Fault> {
    if alone {
        return match work.run(connection).await {
            Err(fault) if fault.ends_transaction() => Err(fault),
            verdict => Ok(verdict),
        };
    }
    sqlx::query("SAVEPOINT step").execute(&mut *connection).await?;
    let verdict = work.run(connection).await;
    if let Err(fault) = &verdict {
        if fault.ends_transaction() {
            return Err(fault.clone());
        }
        sqlx::query("ROLLBACK TO step").execute(&mut *connection).await?;
    }
    sqlx::query("RELEASE step").execute(&mut *connection).await?;
    Ok(verdict)
}

async fn raise_generation(connection: &mut Connection, checkpointed: i64) -> Result<i64, Fault> {
    let raised = sqlx::query_scalar(
        "UPDATE installation SET generation = generation + 1,
             checkpointed = CASE WHEN checkpointed < $1 THEN $1 ELSE checkpointed END RETURNING generation",
    );
    Ok(raised.bind(checkpointed).fetch_one(connection).await?)
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use crate::store::sqlite::Condition;
    use crate::store::{Options, Store};

    #[tokio::test]
    async fn a_write_that_panics_is_undone_and_the_writer_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("history.db");
        let store = Store::open(&path, &Options::default(), DateTime::UNIX_EPOCH).await.unwrap().store;
        let insert = "INSERT INTO notes VALUES ('half', 'null', 0)";
        let panics = store.write("panic", move |c| {
            Box::pin(async move {
                sqlx::query(insert).execute(c).await?;
                panic!("on purpose")
            })
        });
        let outcome: Result<(), _> = panics.await;
        assert_eq!(outcome.unwrap_err().condition(), Some(Condition::Broken));
        assert_eq!(store.kept("half").await.unwrap(), None);
        store.keep("whole", &serde_json::json!(1), DateTime::UNIX_EPOCH).await.unwrap();
    }

    #[tokio::test]
    async fn a_write_whose_asker_has_gone_is_done_all_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("history.db");
        let store = Store::open(&path, &Options::default(), DateTime::UNIX_EPOCH).await.unwrap().store;
        let value = serde_json::json!(1);
        let mut asked = Box::pin(store.keep("left", &value, DateTime::UNIX_EPOCH));
        assert!(futures_util::poll!(&mut asked).is_pending());
        drop(asked);
        store.close().await.unwrap();
        let store = Store::open(&path, &Options::default(), DateTime::UNIX_EPOCH).await.unwrap().store;
        assert_eq!(store.kept("left").await.unwrap(), Some(value));
    }
}

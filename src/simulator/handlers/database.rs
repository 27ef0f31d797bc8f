//! GET and PUT /pool/xmldbdump: the pool's database, out and back in.

use std::io::{self, BufRead, Read, Write};

use super::pages::{self, Failure};
use super::transfer::{self, End, Kind, Transfer};
use crate::simulator::error::{ApiError, ApiResult};
use crate::simulator::http::handlers::{Exchange, Handling};
use crate::simulator::http::response;
use crate::simulator::pool_database::{self, Kept, Loaded, minor_of};
use crate::simulator::world::World;

const GET: Kind = Kind { realm: "get_pool_xml_db_sync", role: "pool-admin", label: "Dump database as XML" };
const PUT: Kind = Kind { realm: "put_pool_xml_db_sync", role: "pool-admin", label: "Restore database from XML" };
/// The longest database that is taken.
const LONGEST: u64 = 2 << 30;
/// Bytes that are sent at once.
const PIECE: usize = 256 << 10;

/// The handler of GET.
pub(super) fn get(exchange: Exchange<'_>) -> Handling<'_> {
    Box::pin(transfer::run(exchange, GET, async |transfer| send(transfer).await.unwrap_or_else(|end| end)))
}

/// The handler of PUT.
pub(super) fn put(exchange: Exchange<'_>) -> Handling<'_> {
    Box::pin(transfer::run(exchange, PUT, async |transfer| receive(transfer).await.unwrap_or_else(|end| end)))
}

async fn send(transfer: &mut Transfer<'_>) -> Result<End, End> {
    transfer.send_head(&pages::closing("1.1", "200", "OK").into_bytes()).await?;
    let (database, kept, shown, upgrading) = transfer.context.step(|world| {
        // A copy of the tables shares the rows with them.
        (world.database.clone(), world.kept.clone(), world.release, is_upgrading(world))
    });
    if upgrading {
        // What old members understand: well-formed, and of no use to anybody else.
        transfer.send(b"<database><manifest><pair key=\"schema_major_vsn\" value=\"5\"/></manifest></database>").await?;
        return Ok(End::Done(None));
    }
    let (pieces, mut written) = tokio::sync::mpsc::channel(4);
    let writing = tokio::task::spawn_blocking(move || {
        let mut to = io::BufWriter::with_capacity(PIECE, Pieces(pieces));
        pool_database::dump(&database, &kept, shown, &mut to)?;
        to.flush()
    });
    while let Some(piece) = written.recv().await {
        let piece: Vec<u8> = piece;
        transfer.send(&piece).await?;
    }
    match writing.await {
        Ok(Ok(())) => Ok(End::Done(None)),
        _ => Err(Failure::exception("the database could not be written").into()),
    }
}

fn is_upgrading(world: &World) -> bool {
    let pool = world.database.refs("pool");
    pool.iter().any(|pool| world.database.map_text("pool", pool, "other_config", "rolling_upgrade_in_progress").is_some())
}

/// A writer whose pieces somebody else sends.
struct Pieces(tokio::sync::mpsc::Sender<Vec<u8>>);

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.blocking_send(bytes.to_vec()).map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

async fn receive(transfer: &mut Transfer<'_>) -> Result<End, End> {
    let Some(length) = transfer.exchange.head.content_length.filter(|length| *length <= LONGEST) else {
        let page = response::bad_request(Some(transfer.exchange.head));
        return Ok(transfer.refuse(&page, ApiError::internal("Failure(\"a content-length is needed\")")).await);
    };
    let dry_run = transfer.flag("dry_run", false);
    transfer.send_head(&pages::closing("1.1", "200", "OK").into_bytes()).await?;
    let loaded = load(transfer, length).await?;
    transfer.context.step(|world| check(world, &loaded))?;
    if !dry_run {
        restore(transfer, loaded);
    }
    Ok(End::Done(None))
}

/// Reads the upload on a thread of its own, because the parser pulls.
async fn load(transfer: &mut Transfer<'_>, length: u64) -> Result<Loaded, End> {
    let (pieces, incoming) = tokio::sync::mpsc::channel::<Vec<u8>>(4);
    let loading =
        tokio::task::spawn_blocking(move || pool_database::load(Incoming { pieces: incoming, piece: Vec::new(), at: 0 }, None));
    let mut received = 0;
    while let Some(piece) = transfer.receive().await? {
        received += piece.len() as u64;
        // A parser that has seen enough does not listen any more.
        let _ = pieces.send(piece).await;
        if received == length {
            break;
        }
    }
    drop(pieces);
    match loading.await {
        Ok(Ok(loaded)) => Ok(loaded),
        Ok(Err(error)) => Err(ApiError::new("RESTORE_SCRIPT_FAILED", [error.to_string()]).into()),
        Err(_) => Err(Failure::exception("the database could not be read").into()),
    }
}

/// The pieces of an upload as a file.
struct Incoming {
    pieces: tokio::sync::mpsc::Receiver<Vec<u8>>,
    piece: Vec<u8>,
    at: usize,
}

impl Read for Incoming {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let bytes = self.fill_buf()?;
        let length = bytes.len().min(into.len());
        into[..length].copy_from_slice(&bytes[..length]);
        self.consume(length);
        Ok(length)
    }
}

impl BufRead for Incoming {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.at == self.piece.len() {
            (self.piece, self.at) = (self.pieces.blocking_recv().unwrap_or_default(), 0);
        }
        Ok(&self.piece[self.at..])
    }

    fn consume(&mut self, amount: usize) {
        self.at = (self.at + amount).min(self.piece.len());
    }
}

/// What must fit before a database may be restored (05-operations 5.16).
fn check(world: &World, loaded: &Loaded) -> ApiResult<()> {
    let minor =
        |kept: &Kept, shown| kept.manifest_value("schema_minor_vsn").map_or_else(|| minor_of(shown).to_string(), str::to_owned);
    if minor(&world.kept, world.release) != minor(&loaded.kept, loaded.release) {
        return Err(ApiError::bare("RESTORE_INCOMPATIBLE_VERSION"));
    }
    let theirs = management(&loaded.database, master(&loaded.database));
    let Some(device) = theirs else { return Err(ApiError::bare("RESTORE_TARGET_MGMT_IF_NOT_IN_BACKUP")) };
    let ours = world.database.texts("host", &world.master, "PIFs");
    if ours.iter().any(|pif| world.database.text("PIF", pif, "device") == device) {
        Ok(())
    } else {
        Err(ApiError::new("RESTORE_TARGET_MISSING_DEVICE", [&*device]))
    }
}

fn master(database: &crate::simulator::database::Database) -> crate::simulator::value::Ref {
    let pool = database.refs("pool").into_iter().next().unwrap_or_default();
    database.text("pool", &pool, "master")
}

/// The device of a host's management interface.
fn management(
    database: &crate::simulator::database::Database,
    host: crate::simulator::value::Ref,
) -> Option<crate::simulator::value::Text> {
    let pifs = database.texts("host", &host, "PIFs");
    let management = pifs.iter().find(|pif| database.bool("PIF", pif, "management"))?;
    Some(database.text("PIF", management, "device"))
}

/// The server writes the database where it will find it at its next start, and reboots the host after a while.
fn restore(transfer: &Transfer<'_>, loaded: Loaded) {
    crate::simulator::durability::restore(&transfer.context.shared, loaded);
}

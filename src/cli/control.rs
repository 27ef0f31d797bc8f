//! The other end of the control socket: a verb asks the service, and takes its answer piece by piece.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::timeout;

use crate::daemon::control::protocol::{Frame, Hello, PROTOCOL, Request};
use crate::daemon::{Ask, Said};

/// The service says something every few seconds; one that is silent for so long hangs.
const SILENT: Duration = Duration::from_secs(60);

/// A service that answers.
#[derive(Debug)]
pub(super) struct Service {
    path: PathBuf,
    reader: BufReader<OwnedReadHalf>,
    writer: OwnedWriteHalf,
}

/// Why nobody was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Nobody {
    /// No service listens there.
    Absent,
    /// We may not connect.
    Denied,
}

impl Service {
    /// Connects; says so if there is nobody, or nobody for us.
    ///
    /// # Errors
    /// When somebody is there who refuses us, or who is no service of this version.
    pub(super) async fn at(path: &Path) -> anyhow::Result<Result<Self, Nobody>> {
        let stream = match UnixStream::connect(path).await {
            Ok(stream) => stream,
            Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => return Ok(Err(Nobody::Denied)),
            Err(_) => return Ok(Err(Nobody::Absent)),
        };
        let (reader, writer) = stream.into_split();
        let mut service = Self { path: path.to_owned(), reader: BufReader::new(reader), writer };
        let line = service.line().await?;
        match serde_json::from_str::<Hello>(&line) {
            Ok(hello) if hello.protocol == PROTOCOL => Ok(Ok(service)),
            Ok(hello) => bail!(
                "the service is xensnap {} and speaks protocol {} at its socket, this is xensnap {} with protocol {PROTOCOL}; restart the service, or use its program",
                hello.xensnap,
                hello.protocol,
                env!("CARGO_PKG_VERSION")
            ),
            Err(_) => match serde_json::from_str::<Frame>(&line) {
                Ok(Frame { said: Said::Error { text, .. }, .. }) => bail!("the service refuses: {text}"),
                _ => bail!("{} is answered by something that is no xensnap service", path.display()),
            },
        }
    }

    /// Asks. The answer follows with [`Self::next`].
    ///
    /// # Errors
    /// When the service is gone.
    pub(super) async fn ask(&mut self, ask: Ask, by: Option<String>) -> anyhow::Result<()> {
        let request = Request { id: serde_json::Value::Null, ask, by };
        let mut line = serde_json::to_vec(&request).context("the request cannot be written")?;
        line.push(b'\n');
        timeout(SILENT, self.writer.write_all(&line)).await.ok().and_then(Result::ok).with_context(|| self.gone())
    }

    /// The next piece of the answer. After `End` or `Error` there is none.
    ///
    /// # Errors
    /// When the service is gone.
    pub(super) async fn next(&mut self) -> anyhow::Result<Said> {
        let line = self.line().await?;
        let frame: Frame = serde_json::from_str(&line)
            .with_context(|| format!("the service's answer was not understood; is it of another version? {line}"))?;
        Ok(frame.said)
    }

    async fn line(&mut self) -> anyhow::Result<String> {
        let mut line = String::new();
        match timeout(SILENT, self.reader.read_line(&mut line)).await {
            Ok(Ok(1..)) if line.ends_with('\n') => Ok(line),
            Ok(_) => bail!("{}", self.gone()),
            Err(_) => bail!("the service at {} says nothing; look at its journal", self.path.display()),
        }
    }

    fn gone(&self) -> String {
        format!("the service at {} has gone; look at its journal. What it had begun is in the history", self.path.display())
    }
}

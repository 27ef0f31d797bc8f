//! Heads of transfers, and errors as pages.

use crate::simulator::error::ApiError;
use crate::simulator::http::head::Head;
use crate::simulator::http::response::{self, Response};

/// What a transfer fails with, as its page and as its task tell it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    /// The exception in the page.
    page: String,
    /// The error in the task.
    pub(super) error: ApiError,
}

impl From<ApiError> for Failure {
    fn from(error: ApiError) -> Self {
        Self { page: format!("{}: [ {} ]", error.code, error.params.join("; ")), error }
    }
}

impl Failure {
    /// An exception that is no API error.
    pub(super) fn exception(text: impl Into<String>) -> Self {
        let text = text.into();
        Self { page: response::escape_html(&text), error: ApiError::internal(text) }
    }

    /// A file that cannot be opened.
    pub(super) fn no_file(path: &str) -> Self {
        let error = ApiError::internal(format!("Unix.Unix_error(Unix.ENOENT, \"open\", \"{path}\")"));
        Self { page: format!("Got UNIX error: No such file or directory open {path}"), error }
    }

    /// The client has gone.
    pub(super) fn client_gone() -> Self {
        let error = ApiError::internal("Unix.Unix_error(Unix.EPIPE, \"write\", \"\")");
        Self { page: "Got UNIX error: Broken pipe write ".to_owned(), error }
    }

    /// A row with this uuid is not there; what handlers of disks and SRs answer, unlike those of VMs.
    pub(super) fn missing_uuid(class: &str, uuid: &str) -> Self {
        Self::exception(format!("Db_exn.Read_missing_uuid(\"{class}\", \"\", \"{uuid}\")"))
    }

    /// A row with this reference is not there.
    pub(super) fn missing_row(class: &str, reference: &str) -> Self {
        Self::exception(format!("Db_exn.DBCache_NotFound(\"missing row\", \"{class}\", \"{reference}\")"))
    }

    /// The whole response: HTTP 500. Also appended to a body that was begun.
    pub(super) fn into_page(self, head: Option<&Head>) -> Vec<u8> {
        response::internal_error(head, &self.page)
    }
}

/// The head of an archive on its way out.
pub(super) fn sending(server: &str, task: &str, length: Option<usize>) -> Vec<u8> {
    let mut head = closing("1.0", "200", "OK")
        .header("task-id", task)
        .header("Server", server)
        .header("content-type", "application/octet-stream");
    if let Some(length) = length {
        head = head.header("Content-Length", &length.to_string());
    }
    head.header("Content-Disposition", "attachment; filename=\"export.xva\"").into_bytes()
}

/// The head that is sent before an archive is read. The server leaves out the blank behind `task-id:`.
pub(super) fn receiving(task: &str) -> Vec<u8> {
    let mut head = closing("1.1", "200", "OK").into_bytes();
    head.truncate(head.len() - 2);
    head.extend_from_slice(format!("task-id:{task}\r\ncontent-type: application/octet-stream\r\n\r\n").as_bytes());
    head
}

/// The head of a body that ends with the connection.
pub(super) fn closing(version: &str, code: &str, reason: &str) -> Response {
    Response::start(version, code, reason).header("Connection", "close").header("Cache-Control", "no-cache, no-store")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_those_of_the_server() {
        let text = |failure: Failure| String::from_utf8(failure.into_page(None)).unwrap();
        let bad = text(ApiError::new("UUID_INVALID", ["VM", "00000000-0000-0000-0000-000000000000"]).into());
        assert!(bad.starts_with("HTTP/1.1 500 Internal Error\r\ncontent-length: 289\r\n"), "{bad}");
        assert!(bad.ends_with("UUID_INVALID: [ VM; 00000000-0000-0000-0000-000000000000 ]</body></html>"));
        let eof = text(ApiError::bare("IMPORT_ERROR_PREMATURE_EOF").into());
        assert!(eof.contains("content-length: 263\r\n") && eof.contains("IMPORT_ERROR_PREMATURE_EOF: [  ]"), "{eof}");
        let uuid = text(Failure::missing_uuid("SR", "00000000-0000-0000-0000-000000000000"));
        assert!(uuid.contains("content-length: 335\r\n"), "{uuid}");
        let path = "/dev/run/sr-mount/af7ef0dc-0b73-5d28-6803-0e2bf8f05227/f5a45d6b-64ed-4f4a-99e9-7aeba452bede.img";
        assert_eq!(text(Failure::no_file(path)).len(), 504);
    }
}

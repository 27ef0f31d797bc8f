//! The server's words inside an HTML page or inside a body that had begun as a success. They are for people and for choosing a kind
//! where the task is gone; where the task speaks, it counts.

use crate::xenapi::failure::Failure;

/// How a second answer inside the first one's body begins.
const INNER: &[u8] = b"HTTP/1.";
/// What stands before the words in every error page of the server.
const BEFORE: &str = "<h1> Additional information </h1>";

/// True if a body holds another answer instead of data, and that one is no success.
pub(super) fn is_inner_failure(body: &[u8]) -> bool {
    let status = body.strip_prefix(INNER).and_then(|rest| rest.split(|b| *b == b' ').nth(1));
    status.is_some_and(|status| !status.starts_with(b"2"))
}

/// The failure that a page names, as in `VM_BAD_POWER_STATE: [ ref; halted; running ]`; other words become an `INTERNAL_ERROR`.
pub(super) fn failure_in(page: &[u8]) -> Option<Failure> {
    let page = String::from_utf8_lossy(page);
    let words = page.split_once(BEFORE)?.1;
    let words = unescaped(words.split("</body>").next()?.trim());
    Some(named(&words).unwrap_or_else(|| Failure { code: "INTERNAL_ERROR".to_owned(), params: vec![words] }))
}

fn named(words: &str) -> Option<Failure> {
    let (code, params) = words.split_once(": [")?;
    let is_code = !code.is_empty() && code.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_');
    let params = params.strip_suffix(']').unwrap_or(params).trim();
    let params = if params.is_empty() { Vec::new() } else { params.split("; ").map(|param| param.trim().to_owned()).collect() };
    is_code.then(|| Failure { code: code.to_owned(), params })
}

fn unescaped(text: &str) -> String {
    text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&apos;", "'").replace("&amp;", "&")
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str =
        "<html><body><h1>HTTP 500 internal server error</h1>An unexpected error occurred<h1> Additional information </h1>";

    fn words(text: &str) -> Option<(String, Vec<String>)> {
        failure_in(format!("{PAGE}{text}</body></html>").as_bytes()).map(|failure| (failure.code, failure.params))
    }

    #[test]
    fn the_servers_words_are_found_in_its_pages() {
        let found = words("VM_BAD_POWER_STATE: [ OpaqueRef:5a89fd53; halted, suspended; running ]").unwrap();
        assert_eq!(found.0, "VM_BAD_POWER_STATE");
        assert_eq!(found.1, ["OpaqueRef:5a89fd53", "halted, suspended", "running"]);
        assert_eq!(words("IMPORT_ERROR_PREMATURE_EOF: [  ]"), Some(("IMPORT_ERROR_PREMATURE_EOF".to_owned(), vec![])));
        let other = words("Db_exn.Read_missing_uuid(&quot;SR&quot;)").unwrap();
        assert_eq!(other, ("INTERNAL_ERROR".to_owned(), vec!["Db_exn.Read_missing_uuid(\"SR\")".to_owned()]));
        assert_eq!(failure_in(b"<html>nothing of the kind</html>"), None);
    }

    #[test]
    fn an_answer_inside_an_answer_is_seen() {
        assert!(is_inner_failure(b"HTTP/1.1 500 Internal Error\r\ncontent-length: 263\r\n\r\n"));
        assert!(!is_inner_failure(b"") && !is_inner_failure(b"ova.xml\0\0") && !is_inner_failure(b"HTTP/1.1 200 OK\r\n"));
    }
}

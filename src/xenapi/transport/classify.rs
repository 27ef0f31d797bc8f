//! From a library's error to one of our faults. The texts of libraries are not looked at, only their types.

use std::error::Error as StdError;
use std::io;
use std::time::Duration;

use super::resolver::NameNotFound;
use crate::xenapi::fault::Fault;
use crate::xenapi::trust::UntrustedCertificate;

/// The fault behind an error of the HTTP client. `connect` is the bound it had for connecting.
pub(crate) fn classify(error: reqwest::Error, connect: Duration) -> Fault {
    let error = error.without_url();
    if error.is_builder() {
        return Fault::Local(Box::new(error));
    }
    if !error.is_connect() {
        return without_answer(error);
    }
    if error.is_timeout() {
        return Fault::ConnectTimeout(connect);
    }
    if find::<NameNotFound>(&error).is_some() {
        return Fault::NameNotFound(io::Error::other(error));
    }
    if let Some(tls) = find::<rustls::Error>(&error) {
        return tls_fault(tls.clone());
    }
    let failed_with = |kinds: &[io::ErrorKind]| io_kinds(&error).any(|kind| kinds.contains(&kind));
    if failed_with(&[io::ErrorKind::ConnectionRefused]) {
        Fault::Refused
    } else if failed_with(&[io::ErrorKind::UnexpectedEof, io::ErrorKind::ConnectionReset, io::ErrorKind::BrokenPipe]) {
        Fault::NoGreeting(io::Error::other(error))
    } else {
        Fault::Unreachable(io::Error::other(error))
    }
}

fn tls_fault(error: rustls::Error) -> Fault {
    match &error {
        rustls::Error::InvalidMessage(_) => Fault::NotTls,
        rustls::Error::InvalidCertificate(rustls::CertificateError::Other(other)) => {
            match other.0.downcast_ref::<UntrustedCertificate>() {
                Some(untrusted) => Fault::Untrusted(Box::new(untrusted.clone())),
                None => Fault::TlsFailed(Box::new(error)),
            }
        }
        _ => Fault::TlsFailed(Box::new(error)),
    }
}

/// What happened on a connection that had been made.
fn without_answer(error: reqwest::Error) -> Fault {
    match find::<hyper::Error>(&error) {
        Some(http) if http.is_parse() => Fault::NotHttp,
        // The library's word for a request of which no byte was written.
        Some(http) if http.is_canceled() => Fault::Unreachable(io::Error::other(error)),
        _ => Fault::Cut(Some(Box::new(error))),
    }
}

/// The first error of type `E` among the causes. An `io::Error` may carry another error inside, which is looked into as well.
fn find<'a, E: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a E> {
    chain(error).find_map(|cause| cause.downcast_ref::<E>())
}

/// The kinds of all I/O errors among the causes: libraries wrap them in one another.
fn io_kinds<'a>(error: &'a (dyn StdError + 'static)) -> impl Iterator<Item = io::ErrorKind> + 'a {
    chain(error).filter_map(|cause| cause.downcast_ref::<io::Error>()).map(io::Error::kind)
}

fn chain<'a>(error: &'a (dyn StdError + 'static)) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |cause| inner(*cause))
}

fn inner<'a>(cause: &'a (dyn StdError + 'static)) -> Option<&'a (dyn StdError + 'static)> {
    let carried = cause.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
    carried.map(|error| error as &(dyn StdError + 'static)).or_else(|| cause.source())
}

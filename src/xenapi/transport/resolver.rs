//! Name resolution by the operating system, with an error that can be told apart from others.

use std::fmt;
use std::io;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// The system's resolver.
#[derive(Debug)]
pub(super) struct Resolver;

/// A name without an address.
#[derive(Debug)]
pub(super) struct NameNotFound(pub(super) io::Error);

impl fmt::Display for NameNotFound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name cannot be resolved")
    }
}

impl std::error::Error for NameNotFound {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.0)
    }
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await.map_err(NameNotFound)?;
            let addresses: Vec<_> = found.collect();
            if addresses.is_empty() {
                return Err(NameNotFound(io::ErrorKind::NotFound.into()).into());
            }
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

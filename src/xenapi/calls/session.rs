//! Our own session.

use crate::xenapi::call::Call;
use crate::xenapi::error::CallError;
use crate::xenapi::failure::{Role, minimum_role};
use crate::xenapi::pool::Pool;
use crate::xenapi::records::Session;

/// A right that the user lacks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MissingRight {
    /// The method, as it was asked for.
    pub method: String,
    /// The least role that has it, where that is known.
    pub role: Option<Role>,
}

/// The session's record: who we are to the server, and what we may do.
pub fn own() -> Call<Session> {
    Call::read("session.get_record").of_own_session()
}

impl Pool {
    /// Which of these methods (`VM.snapshot`, …) the user's role does not allow. Servers without roles (before 5.6) allow everything,
    /// and so does a local superuser. An object can still refuse.
    ///
    /// # Errors
    /// As [`Pool::call`].
    pub async fn missing_rights(&self, methods: &[&str]) -> Result<Vec<MissingRight>, CallError> {
        let session = self.call(own()).await?;
        let missing = methods.iter().filter(|method| !session.allows(method));
        Ok(missing.map(|method| MissingRight { method: (*method).to_owned(), role: minimum_role(method) }).collect())
    }
}

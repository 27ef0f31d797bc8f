//! A mail through SMTP. What is not to be read on the way is never said in the clear: a server that does not offer STARTTLS where it is
//! wanted is left before anything is told.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use chrono::{DateTime, Utc};
use lettre::address::{Address, Envelope};
use lettre::message::{Mailbox as Named, Message};
use lettre::transport::smtp::Error as SmtpError;
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{AsyncSmtpConnection, AsyncTokioStream, Certificate, CertificateStore, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use rustls_pki_types::ServerName;
use secrecy::{ExposeSecret as _, SecretString};
use tokio::net::TcpStream;
use uuid::Uuid;

use super::budget::{Budget, Encrypted};
use super::{OutwardError, causes, tls};
use crate::domain::alarm::{Letter, Mailbox};

/// How a connection is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protection {
    /// It begins in the clear and is encrypted before anything is told.
    Starttls,
    /// It is encrypted from the first byte.
    Tls,
    /// It is not.
    None,
}

/// A mail server, and who gets mail through it. `Debug` does not show the password.
#[derive(Debug, Clone)]
pub struct MailRoute {
    /// The server.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How the connection is protected.
    pub protection: Protection,
    /// Who logs in.
    pub login: Option<(String, SecretString)>,
    /// The sender.
    pub from: Mailbox,
    /// What the sender is called.
    pub from_name: String,
    /// The recipients.
    pub to: Vec<Mailbox>,
    /// The authority to trust, instead of the machine's.
    pub ca_file: Option<PathBuf>,
    /// How long a delivery may take.
    pub timeout: Duration,
}

impl fmt::Display for MailRoute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the mail server {}:{}", self.host, self.port)
    }
}

impl MailRoute {
    /// Sends a letter; `message` is the same however often it is sent, so that a mailbox knows one that it has.
    ///
    /// # Errors
    /// When the server did not take it for all recipients. It may have taken it all the same if the connection was lost at the end.
    pub async fn send(&self, letter: &Letter, message: Uuid, at: DateTime<Utc>) -> Result<(), OutwardError> {
        let (envelope, mail) = self.written(letter, message, at)?;
        let sent = tokio::time::timeout(self.timeout, self.hand_over(&envelope, &mail)).await;
        sent.unwrap_or_else(|_| Err(OutwardError::Late { to: self.to_string(), seconds: self.timeout.as_secs() }))
    }

    fn written(&self, letter: &Letter, message: Uuid, at: DateTime<Utc>) -> Result<(Envelope, Vec<u8>), OutwardError> {
        let wrong = |error: &dyn fmt::Display| OutwardError::Unwritable(error.to_string());
        let address = |mailbox: &Mailbox| mailbox.as_str().parse::<Address>().map_err(|error| wrong(&error));
        let from = address(&self.from)?;
        let domain = from.domain().to_owned();
        let to: Vec<Address> = self.to.iter().map(address).collect::<Result<_, _>>()?;
        let mut mail = Message::builder()
            .from(Named::new(Some(self.from_name.clone()), from.clone()))
            .subject(&letter.subject)
            .date(SystemTime::from(at))
            .message_id(Some(format!("<{message}@{domain}>")))
            .raw_header(header("Auto-Submitted", "auto-generated"))
            .raw_header(header("X-Auto-Response-Suppress", "All"));
        for each in &to {
            mail = mail.to(Named::new(None, each.clone()));
        }
        let mail = mail.singlepart(lettre::message::SinglePart::plain(letter.text.clone())).map_err(|error| wrong(&error))?;
        let envelope = Envelope::new(Some(from), to).map_err(|error| wrong(&error))?;
        Ok((envelope, mail.formatted()))
    }

    async fn hand_over(&self, envelope: &Envelope, mail: &[u8]) -> Result<(), OutwardError> {
        let hello = ClientId::default();
        let mut connection = self.connection(&hello).await?;
        if let Some((user, password)) = &self.login {
            let credentials = Credentials::new(user.clone(), password.expose_secret().to_owned());
            let known = [Mechanism::Plain, Mechanism::Login];
            connection.auth(&known, &credentials).await.map_err(|error| self.login_failed(&error))?;
        }
        connection.send(envelope, mail).await.map_err(|error| self.failed(&error))?;
        // It has been taken; how the server says good-bye does not matter.
        let _ = connection.quit().await;
        Ok(())
    }

    async fn connection(&self, hello: &ClientId) -> Result<AsyncSmtpConnection, OutwardError> {
        let unreachable = |error: std::io::Error| OutwardError::Unreachable { to: self.to_string(), reason: error.to_string() };
        let stream = TcpStream::connect((self.host.as_str(), self.port)).await.map_err(unreachable)?;
        let stream = Budget::new(stream);
        let stream: Box<dyn AsyncTokioStream> = match self.protection {
            Protection::Tls => Box::new(self.encrypted(stream).await?),
            Protection::Starttls | Protection::None => Box::new(stream),
        };
        let connected = AsyncSmtpConnection::connect_with_transport(stream, hello).await;
        let mut connection = connected.map_err(|error| self.failed(&error))?;
        if self.protection == Protection::Starttls {
            if !connection.can_starttls() {
                let reason = "it does not offer STARTTLS".to_owned();
                return Err(OutwardError::Unprotected { to: self.to_string(), reason });
            }
            let parameters = self.parameters()?;
            let begun = connection.starttls(parameters, hello).await;
            begun.map_err(|error| OutwardError::Unprotected { to: self.to_string(), reason: causes(&error) })?;
        }
        Ok(connection)
    }

    async fn encrypted(&self, stream: Budget) -> Result<Encrypted, OutwardError> {
        let unprotected = |reason: String| OutwardError::Unprotected { to: self.to_string(), reason };
        let config = tls::client(self.ca_file.as_deref(), true)?;
        let name = ServerName::try_from(self.host.clone()).map_err(|error| unprotected(error.to_string()))?;
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        let stream = connector.connect(name, stream).await.map_err(|error| unprotected(causes(&error)))?;
        Ok(Encrypted(stream))
    }

    fn parameters(&self) -> Result<TlsParameters, OutwardError> {
        let library = |error: SmtpError| super::TlsError::Library(error.to_string());
        let mut builder = TlsParameters::builder(self.host.clone()).certificate_store(CertificateStore::None);
        for certificate in tls::authorities(self.ca_file.as_deref())? {
            // One unusable certificate among the machine's must not make the rest useless.
            if let Ok(certificate) = Certificate::from_der(certificate.to_vec()) {
                builder = builder.add_root_certificate(certificate);
            }
        }
        Ok(builder.build().map_err(library)?)
    }

    fn login_failed(&self, error: &SmtpError) -> OutwardError {
        if error.status().is_some() || error.is_client() {
            return OutwardError::Login { to: self.to_string(), reason: causes(error) };
        }
        self.failed(error)
    }

    fn failed(&self, error: &SmtpError) -> OutwardError {
        let (to, reason) = (self.to_string(), causes(error));
        match error {
            error if error.status().is_some() => OutwardError::Refused { to, reason },
            error if error.is_response() || error.is_client() => OutwardError::Strange { to, reason },
            _ => OutwardError::Unreachable { to, reason },
        }
    }
}

fn header(name: &'static str, value: &str) -> lettre::message::header::HeaderValue {
    lettre::message::header::HeaderValue::new(lettre::message::header::HeaderName::new_from_ascii_str(name), value.to_owned())
}

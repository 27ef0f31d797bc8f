//! One login at one host, up to the point where it is certain that the host is the master of the pool that is meant. A session
//! that turns out to be of no use is given back at once.

use std::collections::HashMap;
use std::sync::Arc;

use reqwest::header::HeaderMap;
use secrecy::ExposeSecret;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::connection::{Core, Incarnation, Link};
use super::error::Problem;
use super::failure::Failure;
use super::fault::{Fault, TransportError};
use super::members::{KnownHost, resolve};
use super::secret::{SessionRef, clean};
use super::transport::{ExchangeError, Probed, Request};
use super::types::Void;
use super::wire::{Answer, DecodeError, Param, Wire};
use crate::domain::address::Address;

/// The version of the API we say we speak; servers note and ignore it.
const API_VERSION: &str = "1.0";

/// Why a login at one host came to nothing.
#[derive(Debug)]
pub(super) enum Missed {
    /// It is a member; this is what it calls its master.
    Member(String),
    /// Anything else.
    Problem(Problem),
}

impl<P: Into<Problem>> From<P> for Missed {
    fn from(problem: P) -> Self {
        Missed::Problem(problem.into())
    }
}

#[derive(Debug, Deserialize)]
struct PoolRow {
    #[serde(default)]
    uuid: String,
    #[serde(default)]
    master: String,
}

#[derive(Debug, Deserialize)]
struct HostRow {
    #[serde(default)]
    uuid: String,
    #[serde(default)]
    address: String,
    #[serde(default)]
    other_config: HashMap<String, String>,
}

impl Core {
    /// Logs in at `address` and makes sure of whom we talk to.
    pub(super) async fn login(self: &Arc<Self>, address: &Address) -> Result<Link, Missed> {
        let wire = self.wire_of(address).await?;
        let session = self.open_session(address, wire).await?;
        let identified = self.identify(address, wire, &session).await;
        if identified.is_err() {
            self.close_session(address, wire, &session).await;
        }
        let incarnation = identified?;
        Ok(Link { address: address.clone(), wire, session, incarnation })
    }

    async fn wire_of(&self, address: &Address) -> Result<Wire, Missed> {
        if let Some(wire) = self.settings.wire.or_else(|| self.remembered_wire(address)) {
            return Ok(wire);
        }
        match self.transport.probe(address).await? {
            Probed::Speaks(wire) => {
                self.remember_wire(address, Some(wire));
                Ok(wire)
            }
            Probed::NotReady(failure) => Err(Problem::NotReady { address: address.clone(), failure }.into()),
        }
    }

    async fn open_session(&self, address: &Address, wire: Wire) -> Result<SessionRef, Missed> {
        let password = self.settings.password.expose_secret();
        let texts = [&self.settings.username, password, API_VERSION, &self.settings.originator];
        let params = texts.map(|text| Param::Str(text.to_owned()));
        let request = Request {
            address,
            wire,
            method: "session.login_with_password",
            params: &params,
            headers: HeaderMap::new(),
            answer_within: self.transport.timeouts.login,
        };
        match self.transport.call(request, std::marker::PhantomData::<String>).await {
            Ok(Answer::Value(session)) if !session.is_empty() => Ok(SessionRef::new(session)),
            Ok(Answer::Value(_)) => {
                Err(TransportError { address: address.clone(), fault: Fault::NotXenApi("its session has no name".to_owned()) }
                    .into())
            }
            Ok(Answer::Failure(failure)) => Err(self.refused(address, clean(failure, password))),
            Err(error) => Err(self.lost_login(address, error)),
        }
    }

    fn refused(&self, address: &Address, failure: Failure) -> Missed {
        if let Some(master) = failure.master_address() {
            return Missed::Member(master.to_owned());
        }
        let (address, user) = (address.clone(), self.settings.username.clone());
        let problem = match failure.code.as_str() {
            "SESSION_AUTHENTICATION_FAILED" => Problem::Password { address, user },
            "SESSION_AUTHORIZATION_FAILED" | "RBAC_PERMISSION_DENIED" => Problem::NoRole { address, user, failure },
            _ if failure.is_emergency() => Problem::NotReady { address, failure },
            _ => Problem::Login { address, failure },
        };
        Missed::Problem(problem)
    }

    /// Nobody can log out a session whose name never arrived.
    fn lost_login(&self, address: &Address, error: ExchangeError) -> Missed {
        let ExchangeError::Transport(mut error) = error else {
            return Missed::Problem(Problem::Internal("the user name or the password cannot be sent to a server".to_owned()));
        };
        if error.fault.may_have_been_sent() {
            self.remember_wire(address, None);
            tracing::warn!(
                pool = %self.settings.name, %address,
                "the answer to a login was lost; the server may keep a session that nobody can log out, until it ends it after a day"
            );
        }
        if let Fault::Decode(DecodeError::Malformed(_) | DecodeError::TooLarge(_)) = error.fault {
            // The decoder's words may quote the answer, and the answer names the session.
            error.fault = Fault::NotXenApi("its answer to the login is not XenAPI".to_owned());
        }
        error.into()
    }

    /// Asks which pool this is and who belongs to it.
    async fn identify(&self, address: &Address, wire: Wire, session: &SessionRef) -> Result<Incarnation, Missed> {
        let pools: HashMap<String, PoolRow> = self.ask(address, wire, session, "pool.get_all_records").await?;
        let Some((pool_ref, pool)) = pools.into_iter().next() else {
            return Err(TransportError { address: address.clone(), fault: Fault::NotXenApi("it has no pool".to_owned()) }.into());
        };
        self.check_pool(address, &pool.uuid)?;
        let hosts: HashMap<String, HostRow> = self.ask(address, wire, session, "host.get_all_records").await?;
        let agent_start_time = hosts.get(&pool.master).and_then(|host| host.other_config.get("agent_start_time").cloned());
        self.members.learn(address.clone(), self.known_hosts(address, hosts));
        Ok(Incarnation {
            number: self.next_number(),
            address: address.clone(),
            pool_ref,
            pool_uuid: pool.uuid,
            master: pool.master,
            agent_start_time,
        })
    }

    fn known_hosts(&self, asked: &Address, hosts: HashMap<String, HostRow>) -> Vec<KnownHost> {
        let known = hosts.into_iter().filter_map(|(reference, row)| {
            let address = resolve(&self.settings, asked, &row.address).ok()?;
            Some(KnownHost { reference, uuid: row.uuid, address })
        });
        let mut known: Vec<_> = known.collect();
        known.sort_by(|a, b| a.address.cmp(&b.address));
        known
    }

    /// Refuses a pool that is not the one that is meant, and remembers the first one.
    fn check_pool(&self, address: &Address, found: &str) -> Result<(), Problem> {
        let mut pinned = self.pool_uuid.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        match pinned.as_deref() {
            Some(expected) if !expected.eq_ignore_ascii_case(found) => {
                Err(Problem::OtherPool { address: address.clone(), expected: expected.to_owned(), found: found.to_owned() })
            }
            Some(_) => Ok(()),
            None => {
                *pinned = Some(found.to_owned());
                Ok(())
            }
        }
    }

    /// A question on a connection that is being made.
    pub(super) async fn ask<T: DeserializeOwned + Send + 'static>(
        &self,
        address: &Address,
        wire: Wire,
        session: &SessionRef,
        method: &str,
    ) -> Result<T, Missed> {
        let params = [session.param()];
        let answer_within = self.transport.timeouts.answer;
        let request = Request { address, wire, method, params: &params, headers: HeaderMap::new(), answer_within };
        match self.transport.call(request, std::marker::PhantomData::<T>).await {
            Ok(Answer::Value(value)) => Ok(value),
            Ok(Answer::Failure(failure)) => Err(self.refused(address, session.clean(failure))),
            Err(ExchangeError::Transport(error)) => Err(error.into()),
            Err(ExchangeError::Encode(error)) => Err(Missed::Problem(Problem::Internal(error.to_string()))),
        }
    }

    /// Ends a session, within a bound. Failing at it is not the caller's business: the server ends idle sessions after a day.
    pub(super) async fn close_session(&self, address: &Address, wire: Wire, session: &SessionRef) {
        let bound = self.transport.timeouts.logout;
        let params = [session.param()];
        let request =
            Request { address, wire, method: "session.logout", params: &params, headers: HeaderMap::new(), answer_within: bound };
        let logout = self.transport.call(request, std::marker::PhantomData::<Void>);
        let pool = &self.settings.name;
        match tokio::time::timeout(bound, logout).await {
            Ok(Ok(Answer::Value(_))) => tracing::debug!(%pool, %address, "logged out"),
            Ok(Ok(Answer::Failure(failure))) if failure.is_session_invalid() => {}
            Ok(Ok(Answer::Failure(failure))) => {
                tracing::warn!(%pool, %address, failure = %session.clean(failure), "the logout was refused; the server ends the session after a day");
            }
            Ok(Err(error)) => {
                tracing::warn!(%pool, %address, %error, "the logout failed; the server ends the session after a day");
            }
            Err(_) => tracing::warn!(%pool, %address, "the logout was not answered; the server ends the session after a day"),
        }
    }
}

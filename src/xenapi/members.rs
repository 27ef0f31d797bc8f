//! The hosts of the pool as far as they are known: configured, remembered from earlier, or read from the pool after a login. They
//! are where a new master is looked for, and the only places a session is ever sent to.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::settings::Settings;
use crate::domain::address::{Address, AddressError};

/// A host as the pool's database names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownHost {
    /// Its reference, valid in the session it was read in.
    pub reference: String,
    /// Its uuid.
    pub uuid: String,
    /// Where it is reached from here.
    pub address: Address,
}

/// What is known about the pool's hosts.
#[derive(Debug, Default)]
pub(super) struct Members {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    hosts: Vec<KnownHost>,
    /// From an earlier life of this program; replaced by what the pool says.
    remembered: Vec<Address>,
    last_master: Option<Address>,
}

/// Why a host is asked. What a host says that merely used to belong to the pool ends nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// The configuration names it.
    Configured,
    /// A host named it as the master.
    Named,
    /// It was a member once.
    Learnt,
}

impl Members {
    pub(super) fn new(remembered: Vec<Address>) -> Self {
        Self { state: Mutex::new(State { remembered, ..State::default() }) }
    }

    /// What a login taught.
    pub(super) fn learn(&self, master: Address, hosts: Vec<KnownHost>) {
        let mut state = self.lock();
        state.remembered.clear();
        state.hosts = hosts;
        state.last_master = Some(master);
    }

    /// The hosts the pool named at the last login.
    pub(super) fn hosts(&self) -> Vec<KnownHost> {
        self.lock().hosts.clone()
    }

    /// Addresses to try besides the configured ones, the last master first.
    pub(super) fn addresses(&self) -> Vec<Address> {
        let state = self.lock();
        let mut all: Vec<Address> = state.last_master.iter().cloned().collect();
        for address in state.hosts.iter().map(|host| &host.address).chain(&state.remembered) {
            if !all.contains(address) {
                all.push(address.clone());
            }
        }
        all
    }

    /// Where to look for the master, best guess first.
    pub(super) fn candidates(&self, settings: &Settings, hint: Option<Address>) -> Vec<(Address, Origin)> {
        let learnt = self.addresses();
        let mut all: Vec<(Address, Origin)> = hint.into_iter().map(|address| (address, Origin::Named)).collect();
        let (last, others) = learnt.split_at(usize::from(self.lock().last_master.is_some()));
        let configured = settings.addresses.iter().map(|address| (address, Origin::Configured));
        let ordered =
            last.iter().map(|a| (a, Origin::Learnt)).chain(configured).chain(others.iter().map(|a| (a, Origin::Learnt)));
        for (address, origin) in ordered {
            match all.iter_mut().find(|(known, _)| known == address) {
                Some((_, known)) if origin == Origin::Configured => *known = Origin::Configured,
                Some(_) => {}
                None => all.push((address.clone(), origin)),
            }
        }
        all
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where `host`, as a server names it, is reached from here; `asked` is the address of that server.
pub(super) fn resolve(settings: &Settings, asked: &Address, host: &str) -> Result<Address, AddressError> {
    let named = asked.on_host(host)?;
    let mapped = settings.address_map.iter().find(|(inner, _)| asked.on_host(inner).is_ok_and(|inner| inner == named));
    Ok(mapped.map_or(named, |(_, outer)| outer.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Address {
        text.parse().unwrap()
    }

    fn host(text: &str) -> KnownHost {
        KnownHost { reference: format!("OpaqueRef:{text}"), uuid: text.to_owned(), address: address(text) }
    }

    #[test]
    fn the_named_host_is_tried_first_and_nobody_twice() {
        let mut settings = Settings::new("lab", address("a"), "root", "".into());
        settings.addresses.push(address("b"));
        let members = Members::new(vec![address("z")]);
        assert_eq!(
            members.candidates(&settings, None),
            [(address("a"), Origin::Configured), (address("b"), Origin::Configured), (address("z"), Origin::Learnt)]
        );
        members.learn(address("c"), vec![host("b"), host("c"), host("d")]);
        assert_eq!(
            members.candidates(&settings, Some(address("d"))),
            [
                (address("d"), Origin::Named),
                (address("c"), Origin::Learnt),
                (address("a"), Origin::Configured),
                (address("b"), Origin::Configured),
            ]
        );
    }

    #[test]
    fn a_translated_address_is_used_however_the_server_spells_it() {
        let mut settings = Settings::new("lab", address("http://a:8080"), "root", "".into());
        settings.address_map.insert("fd00:0::6".to_owned(), address("http://127.0.0.1:8006"));
        let asked = address("http://a:8080");
        assert_eq!(resolve(&settings, &asked, "FD00::6").unwrap(), address("http://127.0.0.1:8006"));
        assert_eq!(resolve(&settings, &asked, "fd00::7").unwrap(), address("http://[fd00::7]:8080"));
    }
}

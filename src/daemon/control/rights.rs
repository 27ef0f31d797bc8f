//! Who may what, by what the kernel says of the other end. The mode of the file keeps most others out already; this holds also where
//! somebody has widened it.

use serde::{Deserialize, Serialize};
use tokio::net::UnixStream;

use super::place::PlaceError;

/// What somebody may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rights {
    /// Ask and change.
    Write,
    /// Ask.
    Read,
}

/// A group of the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Group {
    pub(super) name: String,
    pub(super) gid: u32,
}

impl Group {
    pub(super) fn named(name: &str) -> Result<Self, PlaceError> {
        let found = nix::unistd::Group::from_name(name).ok().flatten();
        let found = found.ok_or_else(|| PlaceError::NoGroup(name.to_owned()))?;
        Ok(Self { name: name.to_owned(), gid: found.gid.as_raw() })
    }

    fn has(&self, user: Option<&str>, primary: u32) -> bool {
        let groups = user.and_then(|user| std::ffi::CString::new(user).ok());
        let groups = groups.and_then(|user| nix::unistd::getgrouplist(&user, primary.into()).ok()).unwrap_or_default();
        primary == self.gid || groups.iter().any(|group| group.as_raw() == self.gid)
    }
}

/// The other end of a connection.
#[derive(Debug, Clone)]
pub(super) struct Peer {
    /// What it may do; nothing if it may not even ask.
    pub(super) rights: Option<Rights>,
    /// What the machine calls it.
    pub(super) name: String,
    /// Why it may not, for whoever is refused.
    pub(super) refusal: String,
}

impl Peer {
    /// Finds out who it is. The machine's list of users may be somewhere on the network, so nobody waits for it but this connection.
    pub(super) async fn of(stream: &UnixStream, group: Option<&Group>) -> Self {
        let credentials = stream.peer_cred().ok().map(|peer| (peer.uid(), peer.gid()));
        let group = group.cloned();
        let found =
            tokio::task::spawn_blocking(move || credentials.map(|(uid, gid)| Self::known(uid, gid, group.as_ref()))).await;
        found.ok().flatten().unwrap_or_else(|| Self {
            rights: None,
            name: "somebody".to_owned(),
            refusal: "the system does not say who is asking".to_owned(),
        })
    }

    fn known(uid: u32, gid: u32, group: Option<&Group>) -> Self {
        let user = nix::unistd::User::from_uid(uid.into()).ok().flatten().map(|user| user.name);
        let in_group = group.is_some_and(|group| group.has(user.as_deref(), gid));
        let name = user.unwrap_or_else(|| format!("uid {uid}"));
        let readers = group.map_or_else(String::new, |group| format!(", and group {} may read", group.name));
        let refusal = format!("{name} may not do this: root and the service's user may{readers}");
        Self { rights: rights(uid, nix::unistd::geteuid().as_raw(), in_group), name, refusal }
    }
}

fn rights(peer: u32, own: u32, in_group: bool) -> Option<Rights> {
    match (peer == 0 || peer == own, in_group) {
        (true, _) => Some(Rights::Write),
        (false, true) => Some(Rights::Read),
        (false, false) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_and_the_service_may_write_the_group_may_read_and_others_nothing() {
        assert_eq!(rights(0, 990, false), Some(Rights::Write));
        assert_eq!(rights(990, 990, false), Some(Rights::Write));
        assert_eq!(rights(1000, 990, true), Some(Rights::Read));
        assert_eq!(rights(1000, 990, false), None);
    }

    #[test]
    fn a_user_without_a_name_is_refused_by_number_and_told_who_may() {
        let group = Group { name: "backup".to_owned(), gid: 4_000_000_001 };
        let peer = Peer::known(4_000_000_000, 4_000_000_000, Some(&group));
        assert_eq!(peer.rights, None);
        assert_eq!(peer.refusal, "uid 4000000000 may not do this: root and the service's user may, and group backup may read");
        assert_eq!(Peer::known(4_000_000_000, group.gid, Some(&group)).rights, Some(Rights::Read));
    }
}

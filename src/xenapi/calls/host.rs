//! Hosts, and their certificates.

use std::collections::HashMap;

use crate::xenapi::call::Call;
use crate::xenapi::records::{Certificate, Host};
use crate::xenapi::types::{Date, Ref};

/// The host's clock, UTC.
pub fn get_servertime(host: &Ref<Host>) -> Call<Date> {
    Call::read("host.get_servertime").with(host)
}

/// The host's clock in its own time zone, which is what the server's own schedules go by.
pub fn get_server_localtime(host: &Ref<Host>) -> Call<Date> {
    Call::read("host.get_server_localtime").with(host)
}

/// All certificates that the pool knows. Servers before 8.2 know no such thing.
pub fn certificates() -> Call<HashMap<Ref<Certificate>, Certificate>> {
    Call::read("Certificate.get_all_records")
}

//! Transfers over HTTP: archives, disks, the pool's database and hosts' backups go through these handlers, not through calls.
//!
//! The rules, all of the real server: a transfer works under a task, the client's own (`task_id`) or one that is gone when the
//! transfer is; nothing is refused by status once the head has been sent, so only the task tells how it ended, and an error's page
//! then stands inside the body. Nothing is held in memory but the piece that is on its way.

mod database;
mod export;
mod hosts;
mod import;
mod metadata;
mod pages;
mod placing;
mod raw_vdi;
pub(crate) mod spoil;
mod transfer;

use super::http::handlers::Route;

/// The routes of all transfers.
pub(super) static ROUTES: [Route; 10] = [
    Route { method: "GET", path: "/export", since: "rio", handler: export::get },
    Route { method: "PUT", path: "/import", since: "rio", handler: import::put },
    Route { method: "GET", path: "/export_metadata", since: "rio", handler: metadata::get },
    Route { method: "PUT", path: "/import_metadata", since: "rio", handler: metadata::put },
    Route { method: "GET", path: "/export_raw_vdi", since: "clearwater", handler: raw_vdi::get },
    Route { method: "PUT", path: "/import_raw_vdi", since: "rio", handler: raw_vdi::put },
    Route { method: "GET", path: "/pool/xmldbdump", since: "rio", handler: database::get },
    Route { method: "PUT", path: "/pool/xmldbdump", since: "rio", handler: database::put },
    Route { method: "GET", path: "/host_backup", since: "rio", handler: hosts::get_backup },
    Route { method: "PUT", path: "/host_restore", since: "rio", handler: hosts::put_restore },
];

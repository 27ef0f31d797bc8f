//! A small pool on a hand-moved clock, spoken to without sockets.
#![allow(dead_code)]

mod quick_clock;

use std::future::Future;
use std::sync::Arc;

use tokio::net::TcpListener;
use xensnap::simulator::codec::Rpc;
use xensnap::simulator::error::{ApiError, ApiResult};
use xensnap::simulator::model::Release;
use xensnap::simulator::operations::device_lifecycle::{update_sr, update_vm};
use xensnap::simulator::value::{Ref, Value};
use xensnap::simulator::world::World;
use xensnap::simulator::{Options, Server};

use quick_clock::QuickClock;

pub const HOST: &str = "OpaqueRef:host";
pub const EXT: &str = "OpaqueRef:ext";
pub const NFS: &str = "OpaqueRef:nfs";
pub const LVM: &str = "OpaqueRef:lvm";
pub const ISO: &str = "OpaqueRef:iso";
pub const DISC: &str = "OpaqueRef:disc";
pub const GIB: i64 = 1 << 30;

/// The driver features of the server that was recorded.
const FEATURES: [&str; 15] = [
    "SR_PROBE",
    "SR_UPDATE",
    "VDI_ACTIVATE",
    "VDI_ATTACH",
    "VDI_CLONE",
    "VDI_CREATE",
    "VDI_DEACTIVATE",
    "VDI_DELETE",
    "VDI_DETACH",
    "VDI_GENERATE_CONFIG",
    "VDI_MIRROR",
    "VDI_RESET_ON_BOOT",
    "VDI_RESIZE",
    "VDI_SNAPSHOT",
    "VDI_UPDATE",
];

/// A server under test.
pub struct Pool {
    pub server: Server,
    pub clock: QuickClock,
    pub session: String,
}

/// One host, SRs of three kinds, an ISO library with a disc; no VMs.
pub fn world(release: Release, seed: u64) -> World {
    let mut world = World::new(release, seed);
    let s = |text: &str| Value::str(text);
    let database = &mut world.database;
    database.create("host_metrics", "OpaqueRef:hm", [("uuid", s("u-hm")), ("live", Value::Bool(true))]);
    let host =
        [("uuid", s("u-host")), ("name_label", s("xcp-lab1")), ("enabled", Value::Bool(true)), ("metrics", s("OpaqueRef:hm"))];
    database.create("host", HOST, host);
    let pool = [
        ("uuid", s("u-pool")),
        ("master", s(HOST)),
        ("default_SR", s(EXT)),
        ("suspend_image_SR", s(EXT)),
        ("restrictions", Value::pairs([("restrict_checkpoint", "false")])),
    ];
    database.create("pool", "OpaqueRef:pool", pool);
    for (reference, kind) in [(EXT, "ext"), (NFS, "nfs"), (LVM, "lvm"), (ISO, "iso")] {
        add_sr(&mut world, reference, kind);
    }
    let disc = [
        ("uuid", s("u-disc")),
        ("name_label", s("debian.iso")),
        ("SR", s(ISO)),
        ("virtual_size", Value::Int(1 << 20)),
        ("physical_utilisation", Value::Int(1 << 20)),
        ("type", s("user")),
        ("read_only", Value::Bool(true)),
        ("sharable", Value::Bool(true)),
        ("managed", Value::Bool(true)),
    ];
    world.database.create("VDI", DISC, disc);
    world.master = HOST.into();
    world
}

fn add_sr(world: &mut World, reference: &str, kind: &str) {
    let s = |text: &str| Value::str(text);
    let features: &[&str] = if kind == "iso" { &["VDI_CREATE", "VDI_DELETE", "VDI_UPDATE"] } else { &FEATURES };
    let sm = [("uuid", s(&format!("u-sm-{kind}"))), ("type", s(kind)), ("capabilities", Value::texts(features.iter().copied()))];
    world.database.create("SM", format!("OpaqueRef:sm-{kind}"), sm);
    let sr = [
        ("uuid", s(&format!("u-{kind}"))),
        ("name_label", s(kind)),
        ("type", s(kind)),
        ("content_type", s(if kind == "iso" { "iso" } else { "user" })),
        ("physical_size", Value::Int(200 * GIB)),
    ];
    world.database.create("SR", reference, sr);
    let pbd = [
        ("uuid", s(&format!("u-pbd-{kind}"))),
        ("host", s(HOST)),
        ("SR", s(reference)),
        ("currently_attached", Value::Bool(true)),
    ];
    world.database.create("PBD", format!("OpaqueRef:pbd-{kind}"), pbd);
    update_sr(world, reference);
}

/// A halted VM with disks of 1 GiB in the given SRs. Its reference is `OpaqueRef:<name>`, its disks' `OpaqueRef:<name>-<n>`.
pub fn add_vm(world: &mut World, name: &str, srs: &[&str]) -> Ref {
    let s = |text: &str| Value::str(text);
    let vm: Ref = format!("OpaqueRef:{name}").into();
    world.database.create("VM_metrics", format!("OpaqueRef:{name}-m"), [("uuid", s(&format!("u-{name}-m")))]);
    let guest = [
        ("uuid", s(&format!("u-{name}-g"))),
        ("other", Value::pairs([("feature-suspend", "1"), ("feature-poweroff", "1"), ("feature-reboot", "1")])),
    ];
    world.database.create("VM_guest_metrics", format!("OpaqueRef:{name}-g"), guest);
    let fields = [
        ("uuid", s(&format!("u-{name}"))),
        ("name_label", s(name)),
        ("power_state", s("Halted")),
        ("domid", Value::Int(-1)),
        ("memory_static_max", Value::Int(256 << 20)),
        ("memory_dynamic_min", Value::Int(256 << 20)),
        ("memory_dynamic_max", Value::Int(256 << 20)),
        ("VCPUs_at_startup", Value::Int(1)),
        ("HVM_boot_policy", s("BIOS order")),
        ("metrics", s(&format!("OpaqueRef:{name}-m"))),
        ("guest_metrics", s(&format!("OpaqueRef:{name}-g"))),
        ("generation_id", s("1:2")),
        (
            "other_config",
            Value::pairs([("mac_seed", format!("seed-{name}")), ("base_template_name", "Other install media".to_owned())]),
        ),
        ("tags", Value::texts(["nightly"])),
    ];
    world.database.create("VM", vm.clone(), fields);
    for (at, sr) in srs.iter().enumerate() {
        let vdi = format!("OpaqueRef:{name}-{at}");
        let disk = [
            ("uuid", s(&format!("u-{name}-{at}"))),
            ("name_label", s(&format!("{name} disk {at}"))),
            ("SR", s(sr)),
            ("virtual_size", Value::Int(GIB)),
            ("type", s("user")),
            ("managed", Value::Bool(true)),
            ("on_boot", s("persist")),
            ("location", s(&format!("u-{name}-{at}"))),
        ];
        world.database.create("VDI", vdi.clone(), disk);
        add_vbd(world, name, &vm, &vdi, at, "Disk");
    }
    update_vm(world, &vm);
    vm
}

fn add_vbd(world: &mut World, name: &str, vm: &Ref, vdi: &str, at: usize, kind: &str) {
    let s = |text: &str| Value::str(text);
    let vbd = [
        ("uuid", s(&format!("u-{name}-vbd{at}"))),
        ("VM", s(vm)),
        ("VDI", s(vdi)),
        ("userdevice", s(&at.to_string())),
        ("type", s(kind)),
        ("mode", s(if kind == "CD" { "RO" } else { "RW" })),
        ("unpluggable", Value::Bool(true)),
    ];
    world.database.create("VBD", format!("OpaqueRef:{name}-vbd{at}"), vbd);
}

/// Puts the disc into a drive of a VM.
pub fn add_cd(world: &mut World, name: &str) {
    let vm: Ref = format!("OpaqueRef:{name}").into();
    add_vbd(world, name, &vm, DISC, 3, "CD");
    update_vm(world, &vm);
}

impl Pool {
    pub async fn start(world: World) -> Self {
        let clock = QuickClock::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Server::start(Options::default(), Arc::new(clock.clone()), world, listener).await.unwrap();
        let login = ["root", "xensnap", "1.0", "test"].map(|text| Rpc::String(text.into())).to_vec();
        let session = clock.run(server.call("session.login_with_password", login)).await.unwrap();
        let session = session.as_text().unwrap().to_string();
        Self { server, clock, session }
    }

    /// Calls a message and lets time pass until it has answered.
    pub async fn call(&self, method: &str, args: Vec<Rpc>) -> ApiResult<Value> {
        self.clock.run(self.begin(method, args)).await
    }

    /// Calls a message; somebody else must let time pass.
    pub async fn begin(&self, method: &str, args: Vec<Rpc>) -> ApiResult<Value> {
        let params = std::iter::once(Rpc::String(self.session.clone())).chain(args).collect();
        self.server.call(method, params).await
    }

    /// Runs work while moving the clock.
    pub async fn run<F: Future>(&self, work: F) -> F::Output {
        self.clock.run(work).await
    }

    /// Lets time pass, in seconds.
    pub async fn wait(&self, seconds: u64) {
        self.clock.advance(std::time::Duration::from_secs(seconds)).await;
    }

    /// The reference in an answer.
    pub async fn make(&self, method: &str, args: Vec<Rpc>) -> Ref {
        self.call(method, args).await.unwrap().as_text().unwrap().clone()
    }

    pub fn look<T>(&self, look: impl FnOnce(&mut World) -> T) -> T {
        self.server.shared().step(look)
    }

    pub fn text(&self, class: &str, object: &str, field: &str) -> String {
        self.look(|world| world.database.text(class, object, field).to_string())
    }

    pub fn texts(&self, class: &str, object: &str, field: &str) -> Vec<Ref> {
        self.look(|world| world.database.texts(class, object, field))
    }

    pub fn int(&self, class: &str, object: &str, field: &str) -> i64 {
        self.look(|world| world.database.int(class, object, field))
    }

    pub fn exists(&self, class: &str, object: &str) -> bool {
        self.look(|world| world.database.exists(class, object))
    }

    /// The disks of a VM by their device number.
    pub fn disks(&self, vm: &str) -> Vec<(String, String)> {
        self.look(|world| {
            let vbds = world.database.texts("VM", vm, "VBDs");
            let mut disks: Vec<(String, String)> = vbds
                .iter()
                .filter(|vbd| &*world.database.text("VBD", vbd, "type") == "Disk")
                .map(|vbd| {
                    (
                        world.database.text("VBD", vbd, "userdevice").to_string(),
                        world.database.text("VBD", vbd, "VDI").to_string(),
                    )
                })
                .collect();
            disks.sort();
            disks
        })
    }
}

/// A text parameter.
pub fn t(text: impl AsRef<str>) -> Rpc {
    Rpc::String(text.as_ref().into())
}

/// The code and parameters of a refusal.
pub fn refusal(answer: ApiResult<Value>) -> (String, Vec<String>) {
    let ApiError { code, params } = answer.unwrap_err();
    (code, params)
}

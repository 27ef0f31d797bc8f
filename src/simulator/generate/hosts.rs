//! Hosts, their networks and control domains, and the pool itself.

use super::maker::Maker;
use super::product::{Product, restrictions};
use super::storage::Storage;
use crate::simulator::value::{NULL, Ref, Text, Value};

const GIB: i64 = 1 << 30;
/// What a host has beside the memory of its guests.
const SPARE_MEMORY: i64 = 64 * GIB;
const CPUS: usize = 16;

/// A host that was made.
pub(super) struct Host {
    pub(super) reference: Ref,
    pub(super) networks: Vec<Ref>,
    pub(super) number: usize,
}

/// Makes the hosts; their SRs are filled in by [`make_pool`].
pub(super) fn make(maker: &mut Maker<'_>) -> Vec<Host> {
    let networks = networks(maker);
    (0..maker.recipe.hosts.max(1)).map(|number| host(maker, number, &networks)).collect()
}

fn networks(maker: &mut Maker<'_>) -> Vec<Ref> {
    let external =
        (0..2).map(|eth| (format!("Pool-wide network associated with eth{eth}"), format!("xenbr{eth}"))).collect::<Vec<_>>();
    let mut made = Vec::new();
    for (name, bridge) in external {
        made.push(maker.row(
            "network",
            vec![
                ("name_label", Value::str(name)),
                ("bridge", Value::str(bridge)),
                ("MTU", Value::Int(1500)),
                ("managed", Value::Bool(true)),
                ("default_locking_mode", Value::str("unlocked")),
            ],
        ));
    }
    let internal = [
        ("is_guest_installer_network", "true"),
        ("is_host_internal_management_network", "true"),
        ("ip_begin", "169.254.0.1"),
        ("ip_end", "169.254.255.254"),
        ("netmask", "255.255.0.0"),
    ];
    maker.row(
        "network",
        vec![
            ("name_label", Value::str("Host internal management network")),
            (
                "name_description",
                Value::str(
                    "Network on which guests will be assigned a private link-local IP address which can be used to talk XenAPI",
                ),
            ),
            ("bridge", Value::str("xenapi")),
            ("MTU", Value::Int(1500)),
            ("managed", Value::Bool(true)),
            ("default_locking_mode", Value::str("unlocked")),
            ("other_config", Value::pairs(internal)),
        ],
    );
    made
}

fn host(maker: &mut Maker<'_>, number: usize, networks: &[Ref]) -> Host {
    let reference = maker.reference();
    let name: Text = format!("xen-{:02}", number + 1).into();
    let address = address(maker, number);
    let memory = SPARE_MEMORY + (maker.recipe.vms as i64 / maker.recipe.hosts.max(1) as i64 + 2) * 16 * GIB;
    let metrics = maker.row(
        "host_metrics",
        vec![
            ("memory_total", Value::Int(memory)),
            ("memory_free", Value::Int(memory / 3)),
            ("live", Value::Bool(true)),
            ("last_updated", maker.ago(0)),
        ],
    );
    for (eth, network) in networks.iter().enumerate() {
        pif(maker, &reference, eth, network, &address);
    }
    for cpu in 0..CPUS {
        host_cpu(maker, &reference, cpu);
    }
    let control_domain = control_domain(maker, &reference, &name);
    certificate(maker, &reference);
    let fields = host_fields(maker, &name, &address, number, &metrics, &control_domain);
    maker.row_as("host", reference.clone(), fields);
    Host { reference, networks: networks.to_vec(), number }
}

/// The address of a host: as the recipe says, else one of a management network.
fn address(maker: &Maker<'_>, number: usize) -> Text {
    let made_up = || Text::from(format!("10.20.0.{}", 11 + number % 200));
    maker.recipe.addresses.get(number).cloned().unwrap_or_else(made_up)
}

fn host_fields(
    maker: &mut Maker<'_>,
    name: &Text,
    address: &Text,
    number: usize,
    metrics: &Ref,
    control_domain: &Ref,
) -> Vec<(&'static str, Value)> {
    let product = Product::of(maker);
    let started = maker.now.timestamp() - 86_400 * 20 - 613 * number as i64;
    let times = [("agent_start_time", format!("{}.", started + 95)), ("boot_time", format!("{started}."))];
    let operations = if maker.since("george") {
        vec!["vm_migrate", "provision", "vm_resume", "evacuate", "vm_start"]
    } else {
        vec!["provision", "vm_start"]
    };
    let mut software = product.software_version(maker, name);
    if let Value::Map(members) = &mut software {
        members.retain(|(_, value)| *value != Value::str(""));
    }
    vec![
        ("name_label", Value::Str(name.clone())),
        ("name_description", Value::str("Default install")),
        ("hostname", Value::Str(name.clone())),
        ("address", Value::Str(address.clone())),
        ("metrics", Value::Str(metrics.clone())),
        ("control_domain", Value::Str(control_domain.clone())),
        ("enabled", Value::Bool(true)),
        ("allowed_operations", Value::texts(operations)),
        ("API_version_major", Value::Int(product.api.0)),
        ("API_version_minor", Value::Int(product.api.1)),
        ("API_version_vendor", Value::str("XenSource")),
        ("software_version", software),
        ("other_config", Value::pairs(times)),
        (
            "capabilities",
            Value::texts(["xen-3.0-x86_64", "xen-3.0-x86_32p", "hvm-3.0-x86_32", "hvm-3.0-x86_32p", "hvm-3.0-x86_64"]),
        ),
        ("supported_bootloaders", Value::texts(["pygrub", "eliloader"])),
        ("sched_policy", Value::str("credit")),
        ("memory_overhead", Value::Int(GIB)),
        ("cpu_info", cpu_info()),
        ("edition", Value::str(product.edition(maker))),
        ("editions", Value::texts([product.edition(maker)])),
        ("license_params", restrictions(maker)),
        ("license_server", Value::pairs([("address", "localhost"), ("port", "27000")])),
        ("chipset_info", Value::pairs([("iommu", "true")])),
        ("display", Value::str("enabled")),
        ("virtual_hardware_platform_versions", Value::Set((0..3).map(Value::Int).collect())),
        ("tls_verification_enabled", Value::Bool(maker.since("22.20.0"))),
        ("numa_affinity_policy", Value::str("default_policy")),
        ("ssh_enabled", Value::Bool(true)),
        ("timezone", Value::str("UTC")),
    ]
}

fn cpu_info() -> Value {
    let features = "1fcbfbff-f7fa3223-2d93fbff-00000423-00000001-000007ab-00000000-00000000-00001000-0c000000";
    let count = CPUS.to_string();
    Value::pairs([
        ("cpu_count", &*count),
        ("socket_count", "2"),
        ("vendor", "GenuineIntel"),
        ("speed", "2394.370"),
        ("modelname", "Intel(R) Xeon(R) Silver 4210R CPU @ 2.40GHz"),
        ("family", "6"),
        ("model", "85"),
        ("stepping", "7"),
        ("flags", FLAGS),
        ("features_pv", features),
        ("features_hvm", features),
    ])
}

const FLAGS: &str = "fpu de tsc msr pae mce cx8 apic sep mca cmov pat clflush acpi mmx fxsr sse sse2 ss ht syscall nx lm";

fn host_cpu(maker: &mut Maker<'_>, host: &Ref, number: usize) {
    maker.row(
        "host_cpu",
        vec![
            ("host", Value::Str(host.clone())),
            ("number", Value::Int(number as i64)),
            ("vendor", Value::str("GenuineIntel")),
            ("speed", Value::Int(2394)),
            ("modelname", Value::str("Intel(R) Xeon(R) Silver 4210R CPU @ 2.40GHz")),
            ("family", Value::Int(6)),
            ("model", Value::Int(85)),
            ("stepping", Value::str("7")),
            ("flags", Value::str(FLAGS)),
        ],
    );
}

fn pif(maker: &mut Maker<'_>, host: &Ref, eth: usize, network: &Ref, address: &Text) {
    let management = eth == 0;
    let metrics = maker.row(
        "PIF_metrics",
        vec![
            ("carrier", Value::Bool(true)),
            ("vendor_name", Value::str("Intel Corporation")),
            ("device_name", Value::str("Ethernet Controller X710")),
            ("speed", Value::Int(10_000)),
            ("duplex", Value::Bool(true)),
            ("pci_bus_path", Value::str(format!("0000:3b:00.{eth}"))),
            ("last_updated", maker.ago(0)),
        ],
    );
    let mac = mac(maker);
    let text = |shown: &str| Value::str(if management { shown } else { "" });
    let fields = vec![
        ("device", Value::str(format!("eth{eth}"))),
        ("host", Value::Str(host.clone())),
        ("network", Value::Str(network.clone())),
        ("metrics", Value::Str(metrics)),
        ("MAC", Value::Str(mac)),
        ("MTU", Value::Int(1500)),
        ("VLAN", Value::Int(-1)),
        ("physical", Value::Bool(true)),
        ("currently_attached", Value::Bool(true)),
        ("ip_configuration_mode", Value::str(if management { "Static" } else { "None" })),
        ("IP", text(address)),
        ("netmask", text("255.255.255.0")),
        ("gateway", text("10.20.0.1")),
        ("DNS", text("10.20.0.2")),
        ("management", Value::Bool(management)),
        ("managed", Value::Bool(true)),
    ];
    maker.row("PIF", fields);
}

/// A MAC address as the server draws it: locally administered.
pub(super) fn mac(maker: &mut Maker<'_>) -> Text {
    let mut bytes: Vec<usize> = (0..6).map(|_| maker.below(256)).collect();
    bytes[0] = (bytes[0] & 0xfc) | 0x02;
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(":").into()
}

fn control_domain(maker: &mut Maker<'_>, host: &Ref, name: &str) -> Ref {
    let memory = Value::Int(4 * GIB);
    let metrics = maker.row(
        "VM_metrics",
        vec![
            ("memory_actual", memory.clone()),
            ("VCPUs_number", Value::Int(4)),
            ("state", Value::texts(["running"])),
            ("start_time", maker.ago(20 * 1440)),
            ("last_updated", maker.ago(20 * 1440)),
            ("current_domain_type", Value::str("pv")),
        ],
    );
    let mut fields = vec![
        ("name_label", Value::str(format!("Control domain on host: {name}"))),
        ("name_description", Value::str("The domain which manages physical devices and manages other domains")),
        ("is_control_domain", Value::Bool(true)),
        ("power_state", Value::str("Running")),
        ("domid", Value::Int(0)),
        ("domarch", Value::str(if maker.since("creedence") { "x64" } else { "x32" })),
        ("domain_type", Value::str("pv")),
        ("user_version", Value::Int(1)),
        ("resident_on", Value::Str(host.clone())),
        ("affinity", Value::Str(host.clone())),
        ("metrics", Value::Str(metrics)),
        ("VCPUs_at_startup", Value::Int(4)),
        ("VCPUs_max", Value::Int(4)),
        ("actions_after_shutdown", Value::str("destroy")),
        ("actions_after_reboot", Value::str("destroy")),
        ("actions_after_crash", Value::str("destroy")),
        ("HVM_shadow_multiplier", Value::Float(1.0)),
        ("memory_overhead", Value::Int(12 << 20)),
        ("allowed_operations", Value::texts(["metadata_export", "changing_static_range", "changing_dynamic_range"])),
    ];
    let limits = ["memory_target", "memory_static_max", "memory_dynamic_max", "memory_dynamic_min", "memory_static_min"];
    fields.extend(limits.map(|limit| (limit, memory.clone())));
    maker.row("VM", fields)
}

fn certificate(maker: &mut Maker<'_>, host: &Ref) {
    if !maker.since("stockholm") {
        return;
    }
    let bytes: Vec<String> = (0..32).map(|_| format!("{:02X}", maker.below(256))).collect();
    let fields = vec![
        ("type", Value::str("host")),
        ("host", Value::Str(host.clone())),
        ("not_before", maker.ago(200 * 1440)),
        ("not_after", maker.ago(-3450 * 1440)),
        ("fingerprint", Value::str(bytes.join(":"))),
    ];
    maker.row("Certificate", fields);
}

/// Makes the pool, and tells hosts which SR takes suspend images.
pub(super) fn make_pool(maker: &mut Maker<'_>, hosts: &[Host], storage: &Storage) {
    for host in hosts {
        let local = Value::Str(storage.local[host.number].reference.clone());
        maker.rewrite("host", &host.reference, "suspend_image_sr", local.clone());
        maker.rewrite("host", &host.reference, "crash_dump_sr", local);
    }
    let shared = Value::Str(storage.shared[0].reference.clone());
    maker.row("user", vec![("short_name", Value::str("root")), ("fullname", Value::str(""))]);
    let fields = vec![
        ("name_label", Value::Str(maker.recipe.name.clone())),
        ("master", Value::Str(hosts[0].reference.clone())),
        ("default_SR", shared.clone()),
        ("suspend_image_SR", shared.clone()),
        ("crash_dump_SR", shared),
        ("other_config", Value::pairs([("memory-ratio-hvm", "0.25"), ("memory-ratio-pv", "0.25")])),
        ("restrictions", restrictions(maker)),
        ("ha_cluster_stack", Value::str("xhad")),
        ("redo_log_vdi", Value::str(NULL)),
        ("cpu_info", cpu_info()),
        ("telemetry_frequency", Value::str("weekly")),
        ("allowed_operations", Value::texts(["ha_enable", "cluster_create", "designate_new_master"])),
    ];
    maker.row("pool", fields);
}

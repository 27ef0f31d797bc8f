//! What a host says about its software, release by release (09, section 10).

use super::maker::Maker;
use crate::simulator::model::release;
use crate::simulator::value::{Text, Value};

/// What one release calls itself.
pub(super) struct Product {
    since: &'static str,
    pub(super) api: (i64, i64),
    version: &'static str,
    brand: &'static str,
    platform: &'static str,
    build: &'static str,
    date: &'static str,
    xapi: &'static str,
    xen: &'static str,
    linux: &'static str,
}

macro_rules! products {
    ($($since:literal $major:literal.$minor:literal $version:literal $brand:literal $platform:literal $build:literal $date:literal
        $xapi:literal $xen:literal $linux:literal;)*) => {
        [$(Product { since: $since, api: ($major, $minor), version: $version, brand: $brand, platform: $platform, build: $build,
            date: $date, xapi: $xapi, xen: $xen, linux: $linux },)*]
    };
}

/// Oldest first. The minor number of an API version is what 09 says; builds and dates are in the style of the time.
const PRODUCTS: [Product; 21] = products! {
    "orlando" 1 . 3 "5.0.0" "XenServer" "" "10918p" "2008-09-05" "1.3" "3.2.1" "2.6.18.8.xs5.0.0.10.439";
    "george" 1 . 6 "5.5.0" "XenServer" "" "15119p" "2009-05-28" "1.3" "3.3.1" "2.6.18-128.1.6.el5.xs5.5.0.496";
    "midnight-ride" 1 . 7 "5.6.0" "XenServer" "" "31188p" "2010-05-20" "1.3" "3.4.2" "2.6.27.42-0.1.1.xs5.6.0.44";
    "cowley" 1 . 8 "5.6.100" "XenServer" "" "39265p" "2010-12-06" "1.3" "3.4.2" "2.6.32.12-0.7.1.xs5.6.100.307";
    "boston" 1 . 9 "6.0.0" "XenServer" "1.4.90" "50762p" "2011-09-01" "1.3" "4.1.1" "2.6.32.12-0.7.1.xs6.0.0.529";
    "tampa" 1 . 10 "6.1.0" "XenServer" "1.6.10" "59235p" "2012-09-25" "1.3" "4.1.3" "2.6.32.43-0.4.1.xs1.6.10.734";
    "clearwater" 2 . 0 "6.2.0" "XenServer" "1.8.0" "70446c" "2013-06-14" "1.3" "4.1.5" "2.6.32.43-0.4.1.xs1.8.0.835";
    "creedence" 2 . 3 "6.5.0" "XenServer" "1.9.0" "90233c" "2015-01-07" "1.3" "4.4.1-xs90192" "3.10.0+2";
    "dundee" 2 . 5 "7.0.0" "XenServer" "2.1.0" "125380c" "2016-05-11" "1.9" "4.6.1" "3.10.0+2";
    "ely" 2 . 6 "7.1.0" "XenServer" "2.2.0" "137272c" "2017-02-02" "1.14" "4.7.1-1.9" "4.4.0+2";
    "falcon" 2 . 7 "7.2.0" "XenServer" "2.3.0" "release/falcon/master/8" "2017-05-11" "1.20" "4.7.1-1.17" "4.4.0+10";
    "inverness" 2 . 8 "7.3.0" "XenServer" "2.4.0" "release/inverness/master/20" "2017-11-21" "1.60" "4.7.4-4.1" "4.4.0+10";
    "jura" 2 . 9 "7.4.0" "XenServer" "2.5.0" "release/jura/master/13" "2018-02-16" "1.82" "4.7.4-4.1" "4.4.0+10";
    "kolkata" 2 . 10 "7.5.0" "XenServer" "2.6.0" "release/kolkata/master/28" "2018-05-11" "1.90" "4.7.5-5.5" "4.4.0+10";
    "lima" 2 . 11 "7.6.0" "XenServer" "2.7.0" "release/lima/master/7" "2018-08-16" "1.110" "4.7.6-1.26" "4.4.0+10";
    "naples" 2 . 12 "8.0.0" "Citrix Hypervisor" "3.0.0" "release/naples/master/45" "2019-04-16" "1.160" "4.11.1-7.6" "4.19.0+1";
    "quebec" 2 . 14 "8.1.0" "Citrix Hypervisor" "3.1.0" "release/quebec/master/6" "2019-11-29" "1.214" "4.13.0-8.3" "4.19.0+1";
    "stockholm" 2 . 15 "8.2.0" "Citrix Hypervisor" "3.2.0" "release/stockholm/master/7" "2020-05-12" "1.249" "4.13.1-9.9" "4.19.0+1";
    "22.20.0" 2 . 20 "8.3.0" "XCP-ng" "3.3.0" "cloud" "20230119T10:12:44Z" "22.31" "4.13.4-10.4" "4.19.0+1";
    "24.16.0" 2 . 21 "8.3.0" "XCP-ng" "3.4.0" "cloud" "20240912T13:02:11Z" "24.16" "4.17.5-3" "4.19.0+1";
    "26.0.0" 2 . 23 "9.0.0" "XenServer" "3.5.0" "stream" "20260821T09:40:30Z" "26.17" "4.21.0-1" "6.6.88+1";
};

impl Product {
    /// What the recipe's release calls itself.
    pub(super) fn of(maker: &Maker<'_>) -> &'static Product {
        PRODUCTS.iter().rev().find(|product| release(product.since) <= maker.release()).unwrap_or(&PRODUCTS[0])
    }

    /// `host.software_version`.
    pub(super) fn software_version(&self, maker: &Maker<'_>, hostname: &str) -> Value {
        let short = self.version.rsplit_once('.').map_or(self.version, |(short, _)| short);
        let (major, minor) = self.api;
        let api = format!("{major}.{minor}");
        let schema = format!("5.{}", crate::simulator::pool_database::minor_of(maker.release()));
        // Keys by the first release that has them.
        let all = [
            ("orlando", "product_version", self.version),
            ("boston", "product_version_text", short),
            ("boston", "product_version_text_short", short),
            ("boston", "platform_name", "XCP"),
            ("boston", "platform_version", self.platform),
            ("orlando", "product_brand", self.brand),
            ("orlando", "build_number", self.build),
            ("orlando", "hostname", hostname),
            ("orlando", "date", self.date),
            ("orlando", "dbv", if maker.since("ely") { "" } else { "2010.0521" }),
            ("orlando", "xapi", self.xapi),
            ("orlando", "xen", self.xen),
            ("orlando", "linux", self.linux),
            ("orlando", "xencenter_min", &api),
            ("orlando", "xencenter_max", &api),
            ("boston", "network_backend", "openvswitch"),
            ("22.20.0", "db_schema", &schema),
        ];
        let shown = all.into_iter().filter(|(since, _, value)| maker.since(since) && !value.is_empty());
        Value::pairs(shown.map(|(_, key, value)| (Text::from(key), Text::from(value))))
    }

    /// `host.edition`.
    pub(super) fn edition(&self, maker: &Maker<'_>) -> &'static str {
        match self.brand {
            "XCP-ng" => "xcp-ng",
            _ if maker.since("creedence") => "enterprise-per-socket",
            _ if maker.since("clearwater") => "per-socket",
            _ => "platinum",
        }
    }
}

/// Features that a licence can restrict, with the release that knows them; all are allowed. Names as a real host lists them.
const RESTRICTIONS: [(&str, &str); 45] = [
    ("orlando", "restrict_vlan"),
    ("orlando", "restrict_qos"),
    ("orlando", "restrict_pool_attached_storage"),
    ("orlando", "restrict_netapp"),
    ("orlando", "restrict_equalogic"),
    ("orlando", "restrict_pooling"),
    ("orlando", "restrict_marathon"),
    ("george", "restrict_email_alerting"),
    ("george", "restrict_historical_performance"),
    ("george", "restrict_wlb"),
    ("midnight-ride", "restrict_rbac"),
    ("midnight-ride", "restrict_dmc"),
    ("midnight-ride", "restrict_checkpoint"),
    ("midnight-ride", "restrict_cpu_masking"),
    ("midnight-ride", "restrict_connection"),
    ("cowley", "restrict_vmpr"),
    ("falcon", "restrict_vmss"),
    ("cowley", "restrict_intellicache"),
    ("boston", "restrict_gpu"),
    ("boston", "restrict_dr"),
    ("tampa", "restrict_vif_locking"),
    ("tampa", "restrict_storage_xen_motion"),
    ("vgpu-productisation", "restrict_vgpu"),
    ("creedence", "restrict_integrated_gpu_passthrough"),
    ("creedence", "restrict_vss"),
    ("dundee", "restrict_guest_agent_auto_update"),
    ("dundee", "restrict_pci_device_for_auto_update"),
    ("dundee", "restrict_xen_motion"),
    ("dundee", "restrict_guest_ip_setting"),
    ("dundee", "restrict_ad"),
    ("dundee", "restrict_nested_virt"),
    ("ely", "restrict_live_patching"),
    ("ely", "restrict_set_vcpus_number_live"),
    ("ely", "restrict_pvs_proxy"),
    ("falcon", "restrict_igmp_snooping"),
    ("falcon", "restrict_rpu"),
    ("falcon", "restrict_pool_size"),
    ("inverness", "restrict_cbt"),
    ("inverness", "restrict_usb_passthrough"),
    ("jura", "restrict_network_sriov"),
    ("kolkata", "restrict_corosync"),
    ("quebec", "restrict_zstd_export"),
    ("stockholm", "restrict_pool_secret_rotation"),
    ("stockholm", "restrict_certificate_verification"),
    ("22.20.0", "restrict_vtpm"),
];

/// `host.license_params` and `pool.restrictions`.
pub(super) fn restrictions(maker: &Maker<'_>) -> Value {
    let shown = RESTRICTIONS.iter().filter(|(since, _)| maker.since(since));
    let flags = shown.map(|(_, key)| (*key, "false"));
    Value::pairs(flags.chain([("enable_xha", "true"), ("platform_filter", "false"), ("regular_nag_dialog", "false")]))
}

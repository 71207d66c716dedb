//! Settings of several parts: devices, routes, sites, certificates.

use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr as _;

use freeway_httpd::{Certificate, SiteConfig};
use toml::de::{DeTable, DeValue};

use super::file::nearest;
use super::value::{Setting, Value, Wrong, kind, quoted};
use crate::device::{Cidr, Device};

/// A device, and how it was written.
#[derive(Clone, Debug)]
pub(crate) struct DeviceSpec {
    pub(crate) device: Device,
    text: String,
}

impl Default for DeviceSpec {
    fn default() -> Self {
        Self { device: Device::Auto, text: "auto".to_owned() }
    }
}

impl Setting for DeviceSpec {
    fn what() -> String {
        "a device: auto, tap:NAME, afxdp:IFACE or memif:SOCKET".into()
    }

    fn of_text(text: &str) -> Result<Self, String> {
        Ok(Self { device: Device::from_str(text)?, text: text.to_owned() })
    }

    fn to_toml(&self) -> String {
        quoted(&self.text)
    }
}

/// A way to a network.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct RouteSettings {
    /// The network's address and prefix.
    pub(crate) to: freeway::Cidr,
    /// The router.
    pub(crate) via: IpAddr,
}

impl RouteSettings {
    fn new(to: &str, via: &str) -> Result<Self, String> {
        let network: freeway::Cidr = to
            .parse()
            .map_err(|_| format!("'{to}' is no network: ADDRESS/PREFIX, such as 203.0.113.0/24"))?;
        let via = IpAddr::of_text(via)?;
        if via.is_ipv4() != network.addr.is_ipv4() {
            return Err(format!("{via} and {to} are of different IP versions"));
        }
        Ok(Self { to: network, via })
    }
}

/// The fields of a table in a list, by name; all of them are text or lists of text.
struct Fields<'a, 'v> {
    table: &'a DeTable<'v>,
    names: &'static [&'static str],
}

impl<'a, 'v> Fields<'a, 'v> {
    fn of(
        value: &'a Value<'v>,
        names: &'static [&'static str],
        what: &str,
        wrong: &mut Wrong,
    ) -> Option<Self> {
        let DeValue::Table(table) = value.get_ref() else {
            wrong.note(value.span(), format!("this is {}: it should be {what}", kind(value)));
            return None;
        };
        for name in table.keys().filter(|name| !names.contains(&name.get_ref().as_ref())) {
            let known = nearest(name.get_ref(), names.iter().copied());
            let hint = known.map_or_else(
                || format!("there are {}", names.join(", ")),
                |known| format!("did you mean {known}?"),
            );
            wrong.note(name.span(), format!("there is no {} here: {hint}", name.get_ref()));
        }
        Some(Self { table, names })
    }

    fn get<T: Setting>(&self, name: &str, wrong: &mut Wrong) -> Option<T> {
        debug_assert!(self.names.contains(&name));
        T::of_value(self.table.get(name)?, wrong)
    }

    fn must<T: Setting>(&self, name: &str, value: &Value<'_>, wrong: &mut Wrong) -> Option<T> {
        if !self.table.contains_key(name) {
            wrong.note(value.span(), format!("{name} is missing: it is {}", T::what()));
            return None;
        }
        self.get(name, wrong)
    }
}

impl Setting for RouteSettings {
    fn what() -> String {
        "a table such as { to = \"203.0.113.0/24\", via = \"198.18.0.9\" }".into()
    }

    fn of_text(text: &str) -> Result<Self, String> {
        let (to, via) = text.split_once('=').ok_or("a route is NETWORK=ROUTER")?;
        Self::new(to, via)
    }

    fn of_value(value: &Value<'_>, wrong: &mut Wrong) -> Option<Self> {
        let fields = Fields::of(value, &["to", "via"], &Self::what(), wrong)?;
        let (to, via) =
            (fields.must::<String>("to", value, wrong), fields.must::<String>("via", value, wrong));
        Self::new(&to?, &via?).map_err(|error| wrong.note(value.span(), error)).ok()
    }

    fn to_toml(&self) -> String {
        format!("{{ to = {}, via = {} }}", quoted(self.to), quoted(self.via))
    }
}

impl Setting for SiteConfig {
    fn what() -> String {
        "a site, a table with names and root".into()
    }

    fn of_text(text: &str) -> Result<Self, String> {
        let (names, root) = text.split_once('=').ok_or("NAMES=DIR has an equals sign")?;
        let hosts: Vec<String> = names.split(',').map(str::to_owned).collect();
        if hosts.iter().any(String::is_empty) || root.is_empty() {
            return Err("NAMES=DIR has a name and a folder".into());
        }
        Ok(Self { hosts, root: root.into() })
    }

    fn of_value(value: &Value<'_>, wrong: &mut Wrong) -> Option<Self> {
        let fields = Fields::of(value, &["names", "root"], &Self::what(), wrong)?;
        let hosts = fields.must::<Vec<String>>("names", value, wrong);
        let root = fields.must::<PathBuf>("root", value, wrong);
        let (hosts, root) = (hosts?, root?);
        if hosts.is_empty() || hosts.iter().any(String::is_empty) {
            wrong.note(value.span(), "names is empty: a site is known by its hosts' names");
            return None;
        }
        Some(Self { hosts, root })
    }

    fn to_toml(&self) -> String {
        format!("{{ names = {}, root = {} }}", self.hosts.to_toml(), self.root.to_toml())
    }
}

impl Setting for Certificate {
    fn what() -> String {
        "a certificate, a table with names, chain and key".into()
    }

    fn of_text(text: &str) -> Result<Self, String> {
        let (names, files) = text.split_once('=').unwrap_or(("", text));
        let (chain, key) = files.split_once(':').ok_or("[NAMES=]CHAIN:KEY has a colon between two files")?;
        let names = names.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect();
        Ok(Self { names, chain: chain.into(), key: key.into() })
    }

    fn of_value(value: &Value<'_>, wrong: &mut Wrong) -> Option<Self> {
        let fields = Fields::of(value, &["names", "chain", "key"], &Self::what(), wrong)?;
        let names = fields.get::<Vec<String>>("names", wrong).unwrap_or_default();
        let chain = fields.must::<PathBuf>("chain", value, wrong);
        let key = fields.must::<PathBuf>("key", value, wrong);
        Some(Self { names, chain: chain?, key: key? })
    }

    fn to_toml(&self) -> String {
        let Self { names, chain, key } = self;
        format!("{{ names = {}, chain = {}, key = {} }}", names.to_toml(), chain.to_toml(), key.to_toml())
    }
}

impl Setting for Cidr {
    fn what() -> String {
        "ADDRESS/PREFIX, such as 198.18.0.2/24".into()
    }

    fn of_text(text: &str) -> Result<Self, String> {
        Self::from_str(text)
    }

    fn to_toml(&self) -> String {
        quoted(self)
    }
}

//! What `--dev`, `--addr` and `--host-addr` mean.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use anyhow::{Context as _, Result, bail};
use freeway_afxdp::AfxdpConfig;

use crate::memif::MemifSpec;

/// The interface that `--dev auto` makes.
pub(crate) const AUTO_NAME: &str = "freeway0";

/// A device as `--dev` names it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Device {
    /// Whatever the rights allow.
    Auto,
    /// A TAP device of that name, created or opened.
    Tap(String),
    /// AF_XDP sockets of an interface that exists.
    Afxdp(Box<AfxdpConfig>),
    /// Shared memory with another process.
    Memif(Box<MemifSpec>),
}

impl FromStr for Device {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            None if text == "auto" => Ok(Self::Auto),
            Some(("tap", name)) if (1..16).contains(&name.len()) && !name.contains(['/', ' ', ',']) => {
                Ok(Self::Tap(name.to_owned()))
            }
            Some(("tap", name)) => Err(format!(
                "'{name}' cannot name an interface: 1 to 15 characters, no slash, space or comma"
            )),
            Some(("afxdp", spec)) => spec.parse().map(|config| Self::Afxdp(Box::new(config))),
            Some(("memif", spec)) => MemifSpec::parse(spec).map(|spec| Self::Memif(Box::new(spec))),
            _ => Err(format!(
                "unknown device '{text}': this version knows auto, tap:NAME, afxdp:IFACE and memif:SOCKET"
            )),
        }
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Tap(name) => write!(f, "tap:{name}"),
            Self::Afxdp(config) => write!(f, "afxdp:{}", config.interface),
            Self::Memif(spec) => write!(f, "memif:{}", spec.socket),
        }
    }
}

/// An address with the length of its subnet's prefix.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Cidr {
    pub(crate) addr: IpAddr,
    pub(crate) prefix_len: u8,
}

impl Cidr {
    /// The first host of the subnet, or the second if this is the first: the default of the other end.
    pub(crate) fn neighbour(&self) -> Self {
        let first = |network: u128, own: u128| if network + 1 == own { network + 2 } else { network + 1 };
        let addr = match self.addr {
            IpAddr::V4(v4) => {
                let own = u32::from(v4);
                let network = own & u32::MAX.checked_shl(32 - u32::from(self.prefix_len)).unwrap_or(0);
                IpAddr::V4(Ipv4Addr::from(first(network.into(), own.into()) as u32))
            }
            IpAddr::V6(v6) => {
                let own = u128::from(v6);
                let network = own & u128::MAX.checked_shl(128 - u32::from(self.prefix_len)).unwrap_or(0);
                IpAddr::V6(Ipv6Addr::from(first(network, own)))
            }
        };
        Self { addr, prefix_len: self.prefix_len }
    }
}

impl FromStr for Cidr {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let shape = || format!("'{text}' is not ADDRESS/PREFIX, such as 198.18.0.2/24 or fdc1::2/64");
        let (addr, prefix_len) = text.split_once('/').ok_or_else(shape)?;
        let addr: IpAddr = addr.parse().map_err(|_| shape())?;
        let prefix_len: u8 = prefix_len.parse().map_err(|_| shape())?;
        let most = if addr.is_ipv4() { 32 } else { 128 };
        if prefix_len == 0 || prefix_len > most {
            return Err(format!("the prefix of {addr} must be 1 to {most} bits long, not {prefix_len}"));
        }
        let broadcast = matches!(addr, IpAddr::V4(v4) if v4.is_broadcast());
        if addr.is_multicast() || addr.is_unspecified() || addr.is_loopback() || broadcast {
            return Err(format!("{addr} cannot be a host's own address: give it a unicast one"));
        }
        Ok(Self { addr, prefix_len })
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.addr, self.prefix_len)
    }
}

/// The addresses of both ends: Freeway's, and the Linux end's.
#[derive(Clone, Debug)]
pub(crate) struct Addresses {
    pub(crate) own: Vec<Cidr>,
    pub(crate) host: Vec<Cidr>,
}

impl Addresses {
    /// Fills in the defaults, and checks that the two ends can reach each other.
    pub(crate) fn complete(own: &[Cidr], host: &[Cidr]) -> Result<Self> {
        let own = if own.is_empty() {
            ["198.18.0.2/24", "fdc1::2/64"]
                .map(|text| Cidr::from_str(text).map_err(anyhow::Error::msg))
                .into_iter()
                .collect::<Result<_>>()?
        } else {
            own.to_vec()
        };
        let host = if host.is_empty() {
            // One of each version is enough for Linux to reach all addresses of that subnet.
            let mut host: Vec<Cidr> = Vec::new();
            for neighbour in own.iter().map(Cidr::neighbour) {
                if !own.iter().chain(&host).any(|cidr| cidr.addr == neighbour.addr) {
                    host.push(neighbour);
                }
            }
            host
        } else {
            host.to_vec()
        };
        for (place, cidr) in own.iter().enumerate() {
            if own[..place].iter().chain(&host).any(|other| other.addr == cidr.addr) {
                bail!("{} is given twice: every address belongs to one end, once", cidr.addr);
            }
        }
        Ok(Self { own, host })
    }
}

/// A gateway in one of the subnets of `own`.
pub(crate) fn check_gateway(gateway: IpAddr, own: &[Cidr]) -> Result<()> {
    own.iter()
        .any(|cidr| same_subnet(cidr, gateway))
        .then_some(())
        .with_context(|| format!("gateway {gateway} is in no subnet of --addr: add an address of its subnet"))
}

fn same_subnet(cidr: &Cidr, addr: IpAddr) -> bool {
    let prefix = u32::from(cidr.prefix_len);
    match (cidr.addr, addr) {
        (IpAddr::V4(a), IpAddr::V4(b)) => (u32::from(a) ^ u32::from(b)).leading_zeros() >= prefix,
        (IpAddr::V6(a), IpAddr::V6(b)) => (u128::from(a) ^ u128::from(b)).leading_zeros() >= prefix,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn cidr(text: &str) -> Cidr {
        text.parse().unwrap()
    }

    #[test]
    fn devices_are_named_or_refused() {
        assert_eq!("auto".parse(), Ok(Device::Auto));
        assert_eq!("tap:fw0".parse(), Ok(Device::Tap("fw0".into())));
        assert!(matches!("memif:@fw,role=client".parse(), Ok(Device::Memif(_))));
        assert_eq!("afxdp:eth0".parse(), Ok(Device::Afxdp(Box::new(AfxdpConfig::new("eth0")))));
        for bad in [
            "afxdp",
            "afxdp:",
            "afxdp:eth0,queues=x",
            "memif",
            "memif:",
            "tap",
            "tap:",
            "tap:a/b",
            "tap:0123456789abcdef",
            "eth0",
            "",
        ] {
            assert!(bad.parse::<Device>().is_err(), "{bad}");
        }
    }

    #[test]
    fn the_other_end_is_the_first_address_of_the_subnet() {
        assert_eq!(cidr("198.18.0.2/24").neighbour(), cidr("198.18.0.1/24"));
        assert_eq!(cidr("198.18.0.1/24").neighbour(), cidr("198.18.0.2/24"));
        assert_eq!(cidr("fdc1::2/64").neighbour(), cidr("fdc1::1/64"));
    }

    #[test]
    fn addresses_that_no_host_has_are_refused() {
        for bad in
            ["198.18.0.2", "198.18.0.2/0", "198.18.0.2/33", "224.0.0.1/24", "::/64", "127.0.0.1/8", "x/1"]
        {
            assert!(bad.parse::<Cidr>().is_err(), "{bad}");
        }
        assert!(Addresses::complete(&[cidr("198.18.0.2/24")], &[cidr("198.18.0.2/24")]).is_err());
        assert!(Addresses::complete(&[], &[]).is_ok());
    }

    #[test]
    fn a_gateway_lies_in_a_subnet() {
        assert!(check_gateway("198.18.0.9".parse().unwrap(), &[cidr("198.18.0.2/24")]).is_ok());
        assert!(check_gateway("198.19.0.9".parse().unwrap(), &[cidr("198.18.0.2/24")]).is_err());
        assert!(check_gateway("2001:db8::9".parse().unwrap(), &[cidr("2001:db8::2/64")]).is_ok());
    }
}

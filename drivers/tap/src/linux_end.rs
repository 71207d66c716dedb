//! Setting up the end that Linux has.

use std::io;
use std::net::IpAddr;

use crate::error::TapError;
use crate::netlink::Netlink;
use crate::tap::Tap;

/// What the Linux end of a device is to be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LinuxEnd {
    /// Its addresses, each with the length of its network's prefix in bits. Linux routes the networks to the device.
    pub addresses: Vec<(IpAddr, u8)>,
    /// The longest IP packet of both ends, in bytes: 68 to 65,521, and 1280 at least for IPv6. Default 1500.
    pub mtu: u16,
}

impl Default for LinuxEnd {
    fn default() -> Self {
        Self { addresses: Vec::new(), mtu: 1_500 }
    }
}

/// Gives the Linux end of the device of `taps` (all its queues) its MTU, brings it up, and adds the addresses. The
/// ports' MTU follows. Only what is not so already is changed: where an administrator has prepared the device, no rights
/// are needed.
///
/// Linux first makes sure that nobody else has an IPv6 address, and uses it after a second.
///
/// # Errors
///
/// No `CAP_NET_ADMIN`, or the kernel does not take one of the values.
pub fn configure(taps: &mut [Tap], end: &LinuxEnd) -> Result<(), TapError> {
    let Some(name) = taps.first().map(|tap| tap.name().to_owned()) else { return Ok(()) };
    let LinuxEnd { addresses, mtu } = end;
    let system = |action| refused(&name, move |name, source| TapError::System { action, name, source });

    let netlink = Netlink::open().map_err(system("ask about"))?;
    let link = netlink.link(&name).map_err(system("ask about"))?;
    if link.mtu != u32::from(*mtu) {
        let unwilling = refused(&name, |name, source| TapError::Mtu { name, mtu: *mtu, source });
        netlink.set_mtu(link.index, *mtu).map_err(unwilling)?;
    }
    if !link.is_up {
        netlink.bring_up(link.index).map_err(system("bring up"))?;
    }
    let there = netlink.addresses(link.index).map_err(system("ask about the addresses of"))?;
    for &(addr, prefix_len) in addresses.iter().filter(|address| !there.contains(address)) {
        let unwilling = refused(&name, |name, source| TapError::Address { name, addr, prefix_len, source });
        netlink.add_address(link.index, addr, prefix_len).map_err(unwilling)?;
    }
    taps.iter_mut().for_each(|tap| tap.set_mtu(*mtu));
    Ok(())
}

/// Tells a lack of rights from what `other` says.
fn refused(
    name: &str,
    other: impl FnOnce(String, io::Error) -> TapError,
) -> impl FnOnce(io::Error) -> TapError {
    let name = name.to_owned();
    move |error| match error.kind() {
        io::ErrorKind::PermissionDenied => TapError::SetUpNotPermitted(name),
        _ => other(name, error),
    }
}

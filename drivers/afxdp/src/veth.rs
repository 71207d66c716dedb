//! A veth pair made for Freeway, and taken back.

use std::fs;
use std::net::IpAddr;

use crate::error::AfxdpError;
use crate::inspect::Attached;
use crate::netlink::Netlink;

/// What the name of Freeway's end has behind that of Linux's.
const FAR: &str = "-xdp";
/// The longest name of an interface, in bytes.
const NAME_MAX: usize = 15;

/// What a pair is to be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VethConfig {
    /// The name of Linux's end, at most 11 bytes; Freeway's has `-xdp` behind it.
    pub name: String,
    /// The addresses of Linux's end, each with the length of its network's prefix in bits.
    pub addresses: Vec<(IpAddr, u8)>,
    /// The longest IP packet, in bytes.
    pub mtu: u16,
    /// Queues of each end, both ways: one for each core.
    pub queues: u32,
}

/// A veth pair: Linux on one end, Freeway on the other. Dropping it removes it.
///
/// A pair that a killed process left behind is told from one in use by the XDP program: that of a dead process is
/// gone. It is removed when the next one is made.
#[derive(Debug)]
pub struct VethPair {
    near: String,
    far: String,
    index: u32,
}

impl VethPair {
    /// Makes a pair and sets Linux's end up. Linux's half of Freeway's end is silent: it has no IPv6.
    ///
    /// # Errors
    ///
    /// No rights, or the name is somebody else's.
    pub fn create(config: &VethConfig) -> Result<Self, AfxdpError> {
        let VethConfig { name, addresses, mtu, queues } = config;
        let far = format!("{name}{FAR}");
        let failed = |action| move |error| AfxdpError::system(action, name, error);
        if far.len() > NAME_MAX {
            let error = std::io::Error::new(std::io::ErrorKind::InvalidInput, "at most 11 bytes");
            return Err(AfxdpError::system("make a veth pair called", name, error));
        }
        let mut netlink = Netlink::open().map_err(failed("ask about"))?;
        remove_leftover(&mut netlink, name, &far)?;
        netlink.add_veth(name, &far, *queues).map_err(failed("make a veth pair"))?;
        let link = |netlink: &mut Netlink, end: &str| {
            let asked = netlink.link(end).map_err(failed("ask about"))?;
            asked.ok_or_else(|| AfxdpError::NoInterface(end.to_owned()))
        };
        let near_link = link(&mut netlink, name)?;
        // From here on dropping removes it.
        let pair = Self { near: name.clone(), far, index: near_link.index };
        let far_link = link(&mut netlink, &pair.far)?;
        // Where there is no IPv6 there is nothing to silence.
        let _ = fs::write(format!("/proc/sys/net/ipv6/conf/{}/disable_ipv6", pair.far), "1");
        for end in [far_link.index, near_link.index] {
            netlink.bring_up(end, u32::from(*mtu)).map_err(failed("bring up"))?;
        }
        for &(addr, prefix_len) in addresses {
            netlink.add_address(near_link.index, addr, prefix_len).map_err(failed("give an address to"))?;
        }
        Ok(pair)
    }

    /// The name of Linux's end.
    pub fn near(&self) -> &str {
        &self.near
    }

    /// The number that the system gave to Linux's end, and gives to no other.
    pub fn index(&self) -> u32 {
        self.index
    }

    /// Removes a pair by the name and number of Linux's end, for whoever has it no more but outlives who has. One that is
    /// gone is as good as removed, and so is one that another of the same name has followed.
    ///
    /// # Errors
    ///
    /// No rights.
    pub fn remove(near: &str, index: u32) -> Result<(), AfxdpError> {
        let failed = |error| AfxdpError::system("remove", near, error);
        let mut netlink = Netlink::open().map_err(failed)?;
        match netlink.link(near).map_err(failed)? {
            Some(link) if link.is_veth && link.index == index => netlink.delete(index).map_err(failed),
            _ => Ok(()),
        }
    }

    /// The name of Freeway's end.
    pub fn far(&self) -> &str {
        &self.far
    }
}

impl Drop for VethPair {
    fn drop(&mut self) {
        // One that is gone already is as good as removed.
        if let Ok(mut netlink) = Netlink::open() {
            let _ = netlink.delete(self.index);
        }
    }
}

/// Removes a pair of these names that no living process uses.
fn remove_leftover(netlink: &mut Netlink, near: &str, far: &str) -> Result<(), AfxdpError> {
    let failed = |error| AfxdpError::system("ask about", near, error);
    let Some(near_link) = netlink.link(near).map_err(failed)? else { return Ok(()) };
    match netlink.link(far).map_err(failed)? {
        Some(far_link) if near_link.is_veth && far_link.is_veth && far_link.attached == Attached::None => {
            netlink.delete(near_link.index).map_err(|error| AfxdpError::system("remove", near, error))
        }
        Some(far_link) if far_link.attached != Attached::None => Err(AfxdpError::Busy(far_link.name)),
        _ => {
            let error =
                std::io::Error::new(std::io::ErrorKind::AlreadyExists, "an interface of that name is there");
            Err(AfxdpError::system("make a veth pair called", near, error))
        }
    }
}

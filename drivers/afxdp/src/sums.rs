//! Who fills in the TCP and UDP sums of sent frames: the kernel or the card, where it is known to work, or software.

use freeway_port::TxChecksum as PortTxChecksum;

use crate::config::TxChecksum;
use crate::error::AfxdpError;
use crate::netdev;
use crate::netlink::Link;
use crate::program::SINGLE_BUFFER_MTU_MAX;
use crate::xsk;

/// Who fills in the sums of what is sent by an interface.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sums {
    /// The kernel or the card is asked to.
    pub(crate) are_asked_for: bool,
    /// A card that reads the pool by itself does so.
    pub(crate) by_card: bool,
}

impl Sums {
    /// Decides it for an interface.
    pub(crate) fn of(link: &Link, wanted: TxChecksum) -> Result<Self, AfxdpError> {
        let by_card = driver_sums(link);
        let why = match wanted {
            TxChecksum::Off => Some("it is switched off"),
            TxChecksum::Auto => why_software(link, by_card),
            TxChecksum::On => {
                if let Some(why) = why_not(link) {
                    return Err(AfxdpError::NoTxChecksum { name: link.name.clone(), why });
                }
                None
            }
        };
        Ok(Self { are_asked_for: why.is_none(), by_card })
    }

    /// What the ports say of it.
    pub(crate) const fn capability(self) -> PortTxChecksum {
        if self.are_asked_for { PortTxChecksum::Requested } else { PortTxChecksum::None }
    }
}

/// Why software fills in the sums of what an interface sends, unless it is said otherwise; none where it does not.
pub(crate) fn in_software(link: &Link) -> Option<&'static str> {
    why_software(link, driver_sums(link))
}

/// Whether the driver says that the card fills in sums for AF_XDP.
fn driver_sums(link: &Link) -> bool {
    netdev::xdp_features(link.index).ok().flatten().is_some_and(|features| features.tx_checksum)
}

fn why_software(link: &Link, by_card: bool) -> Option<&'static str> {
    // Where the kernel copies frames, any driver gets the wish; but some look for headers where Linux's own stack notes
    // them, which AF_XDP does not. A veth hands it on as it is.
    if !link.is_veth && !by_card {
        return Some("the driver does not say that it sums for AF_XDP");
    }
    why_not(link)
}

/// Why nobody can be asked.
fn why_not(link: &Link) -> Option<&'static str> {
    if link.mtu > SINGLE_BUFFER_MTU_MAX {
        return Some("frames of this MTU lie in several buffers");
    }
    match xsk::takes_requests() {
        Ok(true) => None,
        Ok(false) => Some("the kernel does not take such requests (Linux 6.11 does)"),
        Err(_) => Some("no AF_XDP socket can be opened to ask the kernel"),
    }
}

//! What an interface's driver can do with XDP and AF_XDP, by its own account.
//!
//! Sources: genetlink(7), Documentation/netlink/specs/netdev.yaml of Linux (6.3 and later).

use std::io;

use netlink_packet_core::{
    DecodeError, DefaultNla, Emitable, NLM_F_REQUEST, NetlinkDeserializable, NetlinkMessage, NetlinkPayload,
    Nla, NlasIterator, ParseableParametrized,
};
use netlink_packet_generic::ctrl::nlas::GenlCtrlAttrs;
use netlink_packet_generic::ctrl::{GenlCtrl, GenlCtrlCmd};
use netlink_packet_generic::{GenlFamily, GenlHeader, GenlMessage};
use netlink_sys::protocols::NETLINK_GENERIC;
use netlink_sys::{Socket, SocketAddr};

/// `NETDEV_CMD_DEV_GET`.
const DEVICE_GET: u8 = 1;
/// `NETDEV_A_DEV_IFINDEX` and its neighbours.
const INDEX: u16 = 1;
const XDP_FEATURES: u16 = 3;
const SEGMENTS_MAX: u16 = 4;
const RX_METADATA: u16 = 5;
const SOCKET_FEATURES: u16 = 6;

/// What a driver offers. Fields are false for what it does not say.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct XdpFeatures {
    /// Programs run in the driver.
    pub native: bool,
    /// They may hand frames to sockets.
    pub redirect: bool,
    /// Sockets share the card's memory.
    pub zero_copy: bool,
    /// Frames may lie in several buffers.
    pub multi_buffer: bool,
    /// The most buffers of a frame without copying; 0 or 1 where there is one.
    pub zero_copy_segments: u32,
    /// Programs can read the card's hash of a frame.
    pub rx_hash: bool,
    /// Programs can read when a frame arrived.
    pub rx_timestamp: bool,
    /// The card fills in the sums of what sockets send without copying.
    pub tx_checksum: bool,
    /// The card says when it sent a frame.
    pub tx_timestamp: bool,
}

/// Asks about interface `index`. None if the kernel is too old to say.
///
/// # Errors
///
/// The kernel refuses, or there is no such interface.
pub(crate) fn xdp_features(index: u32) -> io::Result<Option<XdpFeatures>> {
    let mut socket = Socket::new(NETLINK_GENERIC)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    let Some(family) = family_of(&socket, Netdev::family_name())? else { return Ok(None) };
    let question = Netdev(vec![DefaultNla::new(INDEX, index.to_ne_bytes().to_vec())]);
    let mut message = GenlMessage::from_payload(question);
    message.set_resolved_family_id(family);
    let answer: Option<GenlMessage<Netdev>> = ask(&socket, message)?;
    Ok(answer.map(|answer| features_of(&answer.payload.0)))
}

/// A message of the family: its attributes.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Netdev(Vec<DefaultNla>);

impl GenlFamily for Netdev {
    fn family_name() -> &'static str {
        "netdev"
    }

    fn command(&self) -> u8 {
        DEVICE_GET
    }

    fn version(&self) -> u8 {
        1
    }
}

impl Emitable for Netdev {
    fn buffer_len(&self) -> usize {
        self.0.as_slice().buffer_len()
    }

    fn emit(&self, buffer: &mut [u8]) {
        self.0.as_slice().emit(buffer);
    }
}

impl ParseableParametrized<[u8], GenlHeader> for Netdev {
    fn parse_with_param(bytes: &[u8], _: GenlHeader) -> Result<Self, DecodeError> {
        let attribute = |nla: Result<netlink_packet_core::NlaBuffer<&[u8]>, DecodeError>| {
            nla.map(|nla| DefaultNla::new(nla.kind(), nla.value().to_vec()))
        };
        NlasIterator::new(bytes).map(attribute).collect::<Result<_, _>>().map(Self)
    }
}

/// The number of a family of messages; none if the kernel does not have it.
fn family_of(socket: &Socket, name: &str) -> io::Result<Option<u16>> {
    let question =
        GenlCtrl { cmd: GenlCtrlCmd::GetFamily, nlas: vec![GenlCtrlAttrs::FamilyName(name.to_owned())] };
    let answer: Option<GenlMessage<GenlCtrl>> = match ask(socket, GenlMessage::from_payload(question)) {
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => None,
        answer => answer?,
    };
    let attributes = answer.map(|answer| answer.payload.nlas).unwrap_or_default();
    Ok(attributes.into_iter().find_map(|attribute| match attribute {
        GenlCtrlAttrs::FamilyId(id) => Some(id),
        _ => None,
    }))
}

/// Sends a question and takes its one answer.
fn ask<F>(socket: &Socket, question: GenlMessage<F>) -> io::Result<Option<GenlMessage<F>>>
where
    F: GenlFamily + Emitable + ParseableParametrized<[u8], GenlHeader> + std::fmt::Debug,
    GenlMessage<F>: NetlinkDeserializable,
{
    let mut message = NetlinkMessage::from(question);
    message.header.flags = NLM_F_REQUEST;
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    socket.send(&bytes, 0)?;
    let (bytes, _) = socket.recv_from_full()?;
    let answer = NetlinkMessage::<GenlMessage<F>>::deserialize(&bytes)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string()))?;
    match answer.payload {
        NetlinkPayload::InnerMessage(inner) => Ok(Some(inner)),
        NetlinkPayload::Error(error) => match error.code {
            Some(code) => Err(io::Error::from_raw_os_error(-code.get())),
            None => Ok(None),
        },
        _ => Ok(None),
    }
}

fn features_of(attributes: &[DefaultNla]) -> XdpFeatures {
    // Numbers of eight bytes, or of four.
    let number = |kind: u16| {
        let attribute = attributes.iter().find(|attribute| attribute.kind() == kind)?;
        let mut value = vec![0; attribute.value_len()];
        attribute.emit_value(&mut value);
        match value.len() {
            8 => value.try_into().ok().map(u64::from_ne_bytes),
            4 => value.try_into().ok().map(|value| u64::from(u32::from_ne_bytes(value))),
            _ => None,
        }
    };
    let has = |kind, bit: u32| number(kind).unwrap_or(0) & (1 << bit) != 0;
    XdpFeatures {
        native: has(XDP_FEATURES, 0),
        redirect: has(XDP_FEATURES, 1),
        zero_copy: has(XDP_FEATURES, 3),
        multi_buffer: has(XDP_FEATURES, 5),
        zero_copy_segments: number(SEGMENTS_MAX).unwrap_or(0) as u32,
        rx_timestamp: has(RX_METADATA, 0),
        rx_hash: has(RX_METADATA, 1),
        tx_timestamp: has(SOCKET_FEATURES, 0),
        tx_checksum: has(SOCKET_FEATURES, 1),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn attributes_say_what_a_driver_offers() {
        let number = |kind, value: u64| DefaultNla::new(kind, value.to_ne_bytes().to_vec());
        let attributes = [
            DefaultNla::new(INDEX, vec![3, 0, 0, 0]),
            number(XDP_FEATURES, 0b10_1011),
            DefaultNla::new(SEGMENTS_MAX, 5_u32.to_ne_bytes().to_vec()),
            number(RX_METADATA, 0b10),
            number(SOCKET_FEATURES, 0b11),
        ];
        let expected = XdpFeatures {
            native: true,
            redirect: true,
            zero_copy: true,
            multi_buffer: true,
            zero_copy_segments: 5,
            rx_hash: true,
            rx_timestamp: false,
            tx_checksum: true,
            tx_timestamp: true,
        };
        assert_eq!(features_of(&attributes), expected);
        assert_eq!(features_of(&[]), XdpFeatures::default());
    }

    /// Loopback is interface 1 of every namespace and runs no program in a driver.
    #[test]
    fn the_kernel_answers() {
        let features = xdp_features(1).unwrap();
        assert!(features.is_none_or(|features| !features.native));
        assert!(xdp_features(u32::MAX - 1).is_err() || features.is_none());
    }
}

//! ICMP for IPv4, RFC 792.
//!
//! ```text
//!  0       1       2               4                               8
//! +-------+-------+---------------+-------------------------------+---------
//! | type  | code  |   checksum    |  by type                      | data
//! +-------+-------+---------------+-------------------------------+---------
//!  echo                              identifier,    sequence        any
//!  unreachable                       unused,        next MTU        the packet it is about
//!  time exceeded                     unused                         the packet it is about
//!  parameter problem                 pointer, unused                the packet it is about
//! ```

use crate::bytes::{self, Octets, U8, U16};
use crate::{Error, Result, checksum};

/// Bytes before a message's data.
pub const HEADER_LEN: usize = 8;

mod field {
    use super::{Octets, U8, U16};

    pub const KIND: U8 = U8(0);
    pub const CODE: U8 = U8(1);
    pub const CHECKSUM: U16 = U16(2);
    pub const REST: Octets<4> = Octets(4);
    pub const IDENT: U16 = U16(4);
    pub const SEQ: U16 = U16(6);
    pub const NEXT_MTU: U16 = U16(6);
    pub const POINTER: U8 = U8(4);
}

/// What a message is (IANA's "ICMP Type Numbers").
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Type(pub u8);

impl Type {
    /// An answer to an echo request.
    pub const ECHO_REPLY: Self = Self(0);
    /// A packet could not be delivered.
    pub const DST_UNREACHABLE: Self = Self(3);
    /// There is a better next hop.
    pub const REDIRECT: Self = Self(5);
    /// Send this back.
    pub const ECHO_REQUEST: Self = Self(8);
    /// A packet lived too long, or its fragments did not all come.
    pub const TIME_EXCEEDED: Self = Self(11);
    /// A packet's header makes no sense.
    pub const PARAMETER_PROBLEM: Self = Self(12);

    /// Whether this tells of an error: no error may be answered with another (RFC 1122 section 3.2.2).
    #[inline]
    pub const fn is_error(self) -> bool {
        matches!(
            self,
            Self::DST_UNREACHABLE | Self::REDIRECT | Self::TIME_EXCEEDED | Self::PARAMETER_PROBLEM | Self(4)
        )
    }
}

/// Codes of [`Type::DST_UNREACHABLE`].
pub mod unreachable {
    /// No route to the network.
    pub const NET: u8 = 0;
    /// The host does not answer.
    pub const HOST: u8 = 1;
    /// The host does not speak the protocol.
    pub const PROTOCOL: u8 = 2;
    /// No one listens on the port.
    pub const PORT: u8 = 3;
    /// The packet is too long for the next link and may not be fragmented, RFC 1191.
    pub const FRAGMENTATION_NEEDED: u8 = 4;
    /// A filter forbids it.
    pub const PROHIBITED: u8 = 13;
}

/// Codes of [`Type::TIME_EXCEEDED`].
pub mod time_exceeded {
    /// No hops were left.
    pub const IN_TRANSIT: u8 = 0;
    /// Fragments were missing for too long.
    pub const REASSEMBLY: u8 = 1;
}

/// A view of an ICMP message.
#[derive(Clone, Copy, Debug)]
pub struct Packet<T: AsRef<[u8]>> {
    bytes: T,
}

impl<T: AsRef<[u8]>> Packet<T> {
    /// A view without any check: fields that are not there read as zero.
    #[inline]
    pub const fn new_unchecked(bytes: T) -> Self {
        Self { bytes }
    }

    /// A view of bytes that hold a whole header; the data are the bytes behind it.
    ///
    /// # Errors
    ///
    /// [`Error::Truncated`] when they do not.
    #[inline]
    pub fn new_checked(bytes: T) -> Result<Self> {
        if bytes.as_ref().len() < HEADER_LEN {
            return Err(Error::Truncated);
        }
        Ok(Self { bytes })
    }

    /// The bytes again.
    #[inline]
    pub fn into_inner(self) -> T {
        self.bytes
    }

    /// What the message is.
    #[inline]
    pub fn kind(&self) -> Type {
        Type(field::KIND.get(self.bytes.as_ref()))
    }

    /// The type's variety.
    #[inline]
    pub fn code(&self) -> u8 {
        field::CODE.get(self.bytes.as_ref())
    }

    /// The checksum as it stands.
    #[inline]
    pub fn checksum(&self) -> u16 {
        field::CHECKSUM.get(self.bytes.as_ref())
    }

    /// An echo's identifier.
    #[inline]
    pub fn ident(&self) -> u16 {
        field::IDENT.get(self.bytes.as_ref())
    }

    /// An echo's sequence number.
    #[inline]
    pub fn seq(&self) -> u16 {
        field::SEQ.get(self.bytes.as_ref())
    }

    /// The next link's MTU, with [`unreachable::FRAGMENTATION_NEEDED`]; zero from routers older than RFC 1191.
    #[inline]
    pub fn next_mtu(&self) -> u16 {
        field::NEXT_MTU.get(self.bytes.as_ref())
    }

    /// Which byte of the quoted packet is wrong.
    #[inline]
    pub fn pointer(&self) -> u8 {
        field::POINTER.get(self.bytes.as_ref())
    }

    /// The four bytes whose meaning depends on the type.
    #[inline]
    pub fn rest(&self) -> [u8; 4] {
        field::REST.get(self.bytes.as_ref())
    }

    /// What follows the header.
    #[inline]
    pub fn payload(&self) -> &[u8] {
        bytes::rest(self.bytes.as_ref(), HEADER_LEN)
    }

    /// Whether the checksum is right; the view must hold the whole message.
    #[inline]
    pub fn verify_checksum(&self) -> bool {
        checksum::sum(self.bytes.as_ref()).is_valid()
    }
}

impl<T: AsRef<[u8]> + AsMut<[u8]>> Packet<T> {
    /// Writes what the message is.
    #[inline]
    pub fn set_kind(&mut self, kind: Type) {
        field::KIND.set(self.bytes.as_mut(), kind.0);
    }

    /// Writes the type's variety.
    #[inline]
    pub fn set_code(&mut self, code: u8) {
        field::CODE.set(self.bytes.as_mut(), code);
    }

    /// Writes the four bytes whose meaning depends on the type.
    #[inline]
    pub fn set_rest(&mut self, rest: [u8; 4]) {
        field::REST.set(self.bytes.as_mut(), rest);
    }

    /// Writes the checksum.
    #[inline]
    pub fn set_checksum(&mut self, checksum: u16) {
        field::CHECKSUM.set(self.bytes.as_mut(), checksum);
    }

    /// Computes the checksum of all the bytes and writes it.
    #[inline]
    pub fn fill_checksum(&mut self) {
        self.set_checksum(0);
        let checksum = checksum::sum(self.bytes.as_ref()).finish();
        self.set_checksum(checksum);
    }

    /// What follows the header, for writing.
    #[inline]
    pub fn payload_mut(&mut self) -> &mut [u8] {
        bytes::rest_mut(self.bytes.as_mut(), HEADER_LEN)
    }
}

/// An ICMP message. `invoking` is the beginning of the packet that the message is about, from its IP header on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Repr<'a> {
    /// Send this back.
    EchoRequest {
        /// Tells one asker from another.
        ident: u16,
        /// Tells one request from another.
        seq: u16,
        /// What is to come back.
        data: &'a [u8],
    },
    /// What was to come back.
    EchoReply {
        /// As in the request.
        ident: u16,
        /// As in the request.
        seq: u16,
        /// As in the request.
        data: &'a [u8],
    },
    /// A packet could not be delivered.
    DstUnreachable {
        /// Why, of [`mod@unreachable`].
        code: u8,
        /// Bytes of the longest packet that the next link takes, with [`unreachable::FRAGMENTATION_NEEDED`]; else 0.
        mtu: u16,
        /// The packet.
        invoking: &'a [u8],
    },
    /// A packet lived too long, or its fragments did not all come.
    TimeExceeded {
        /// Which of the two, of [`time_exceeded`].
        code: u8,
        /// The packet.
        invoking: &'a [u8],
    },
    /// A packet's header makes no sense.
    ParameterProblem {
        /// What is wrong; with 0 the pointer says where.
        code: u8,
        /// Which byte of the packet is wrong.
        pointer: u8,
        /// The packet.
        invoking: &'a [u8],
    },
    /// Anything else.
    Other {
        /// What the message is.
        kind: Type,
        /// The type's variety.
        code: u8,
        /// Four bytes whose meaning depends on the type.
        rest: [u8; 4],
        /// What follows.
        data: &'a [u8],
    },
}

impl<'a> Repr<'a> {
    /// Reads the message; the checksum is not looked at.
    ///
    /// # Errors
    ///
    /// [`Error::Truncated`] when the view was made unchecked and holds no whole header.
    pub fn parse<T: AsRef<[u8]>>(packet: &'a Packet<T>) -> Result<Self> {
        let packet = Packet::new_checked(packet.bytes.as_ref())?;
        let data = bytes::rest(packet.bytes, HEADER_LEN);
        let code = packet.code();
        Ok(match packet.kind() {
            Type::ECHO_REQUEST => Self::EchoRequest { ident: packet.ident(), seq: packet.seq(), data },
            Type::ECHO_REPLY => Self::EchoReply { ident: packet.ident(), seq: packet.seq(), data },
            Type::DST_UNREACHABLE => {
                let mtu = if code == unreachable::FRAGMENTATION_NEEDED { packet.next_mtu() } else { 0 };
                Self::DstUnreachable { code, mtu, invoking: data }
            }
            Type::TIME_EXCEEDED => Self::TimeExceeded { code, invoking: data },
            Type::PARAMETER_PROBLEM => {
                Self::ParameterProblem { code, pointer: packet.pointer(), invoking: data }
            }
            kind => Self::Other { kind, code, rest: packet.rest(), data },
        })
    }

    /// What the message carries behind its header.
    #[inline]
    pub const fn data(&self) -> &'a [u8] {
        match *self {
            Self::EchoRequest { data, .. } | Self::EchoReply { data, .. } | Self::Other { data, .. } => data,
            Self::DstUnreachable { invoking, .. }
            | Self::TimeExceeded { invoking, .. }
            | Self::ParameterProblem { invoking, .. } => invoking,
        }
    }

    /// Bytes that [`emit`](Self::emit) writes: header and data.
    #[inline]
    pub const fn buffer_len(&self) -> usize {
        HEADER_LEN + self.data().len()
    }

    /// Writes the message, with its checksum, to the front of `bytes`.
    pub fn emit(&self, bytes: &mut [u8]) {
        let Some(bytes) = bytes.get_mut(..self.buffer_len()) else { return };
        let (kind, code, rest) = self.head();
        let mut packet = Packet::new_unchecked(bytes);
        packet.set_kind(kind);
        packet.set_code(code);
        packet.set_rest(rest);
        bytes::put(packet.payload_mut(), self.data());
        packet.fill_checksum();
    }

    /// Type, code and the four bytes that depend on them.
    fn head(&self) -> (Type, u8, [u8; 4]) {
        match *self {
            Self::EchoRequest { ident, seq, .. } => (Type::ECHO_REQUEST, 0, words(ident, seq)),
            Self::EchoReply { ident, seq, .. } => (Type::ECHO_REPLY, 0, words(ident, seq)),
            Self::DstUnreachable { code, mtu, .. } => (Type::DST_UNREACHABLE, code, words(0, mtu)),
            Self::TimeExceeded { code, .. } => (Type::TIME_EXCEEDED, code, [0; 4]),
            Self::ParameterProblem { code, pointer, .. } => {
                (Type::PARAMETER_PROBLEM, code, [pointer, 0, 0, 0])
            }
            Self::Other { kind, code, rest, .. } => (kind, code, rest),
        }
    }
}

#[inline]
const fn words(high: u16, low: u16) -> [u8; 4] {
    ((high as u32) << 16 | low as u32).to_be_bytes()
}

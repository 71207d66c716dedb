//! The control messages: what two processes say on their socket before they share memory.
//!
//! Every message is one packet of 128 bytes; numbers are in the machine's byte order and not aligned:
//!
//! ```text
//!   0      2
//!   │ type │ HELLO       name (32), min version (2), max version (2), max region (2), max S2C ring (2),
//!   │      │             max C2S ring (2), max ring size, binary logarithm (1)
//!   │      │ INIT        version (2), id (4), mode (1), secret (24), name (32)
//!   │      │ ADD_REGION  index (2), size (8)                                                  + the memory's file
//!   │      │ ADD_RING    flags (2), index (2), region (2), offset (4), log2 size (1), header (2) + an eventfd
//!   │      │ CONNECT     name (32)
//!   │      │ CONNECTED   name (32)
//!   │      │ DISCONNECT  code (4), reason (96)
//!   │      │ ACK         nothing
//! ```
//!
//! Source: memif protocol 2.0 as in VPP's and DPDK's `memif.h`, where the client is the slave and the server the
//! master.

use std::fmt;

/// The size of every message, in bytes.
pub const MESSAGE_BYTES: usize = 128;
/// Version 2.0: the only one there is.
pub const VERSION: u16 = 2 << 8;

const ACK: u16 = 1;
const HELLO: u16 = 2;
const INIT: u16 = 3;
const ADD_REGION: u16 = 4;
const ADD_RING: u16 = 5;
const CONNECT: u16 = 6;
const CONNECTED: u16 = 7;
const DISCONNECT: u16 = 8;

/// `MEMIF_MSG_ADD_RING_FLAG_S2M`.
const TO_SERVER: u16 = 1;

/// A field of text: as many bytes, ended by a zero if it is shorter.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Text<const N: usize>([u8; N]);

impl<const N: usize> Text<N> {
    /// No text.
    pub const ZERO: Self = Self([0; N]);

    /// `text`, cut so that a zero fits behind it.
    pub fn new(text: &str) -> Self {
        let mut bytes = [0; N];
        bytes.iter_mut().take(N.saturating_sub(1)).zip(text.bytes()).for_each(|(to, from)| *to = from);
        Self(bytes)
    }

    /// The bytes before the first zero.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.split(|&byte| byte == 0).next().unwrap_or_default()
    }

    /// Whether both are the same, in a time that does not depend on where they differ.
    pub fn is_same_secret(&self, other: &Self) -> bool {
        self.0.iter().zip(&other.0).fold(0, |differ, (a, b)| differ | (a ^ b)) == 0
    }
}

impl<const N: usize> Default for Text<N> {
    fn default() -> Self {
        Self([0; N])
    }
}

/// What is not printable is shown escaped: the peer may have written anything.
impl<const N: usize> fmt::Display for Text<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use fmt::Write;
        self.as_bytes().iter().try_for_each(|&byte| match byte {
            b'\\' => f.write_str("\\\\"),
            b' '..=b'~' => f.write_char(char::from(byte)),
            _ => write!(f, "\\x{byte:02x}"),
        })
    }
}

impl<const N: usize> fmt::Debug for Text<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

/// What a server offers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Hello {
    /// Who the server is.
    pub name: Text<32>,
    /// The oldest version it speaks.
    pub version_min: u16,
    /// The newest one.
    pub version_max: u16,
    /// The last region it takes.
    pub region_max: u16,
    /// The last ring from the server to the client.
    pub to_client_max: u16,
    /// The last ring from the client to the server.
    pub to_server_max: u16,
    /// The most slots of a ring, as a binary logarithm.
    pub ring_log2_max: u8,
}

/// Which interface a client wants.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Init {
    /// The version that will be spoken.
    pub version: u16,
    /// The interface's number on this socket.
    pub id: u32,
    /// What the frames are: 0 for Ethernet.
    pub mode: u8,
    /// What shows that the client may.
    pub secret: Text<24>,
    /// Who the client is.
    pub name: Text<32>,
}

/// Where a ring lies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AddRing {
    /// Whether frames go from the client to the server, or the other way.
    pub to_server: bool,
    /// Its number among the rings of that direction.
    pub index: u16,
    /// The region it lies in.
    pub region: u16,
    /// Where in that region, in bytes.
    pub offset: u32,
    /// How many slots, as a binary logarithm.
    pub log2_size: u8,
    /// Bytes of metadata before each frame, for applications.
    pub private_header: u16,
}

/// One message. See the [module](self).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(clippy::large_enum_variant, reason = "messages are few and short-lived")]
pub enum Message {
    /// The last message was understood.
    Ack,
    /// The server's first words.
    Hello(Hello),
    /// The client's.
    Init(Init),
    /// A piece of memory of the client.
    AddRegion {
        /// Its number: they come in order.
        index: u16,
        /// Its size in bytes.
        size: u64,
    },
    /// A ring in it.
    AddRing(AddRing),
    /// The client has said all.
    Connect {
        /// What the client calls its interface.
        name: Text<32>,
    },
    /// The server is ready.
    Connected {
        /// What the server calls its interface.
        name: Text<32>,
    },
    /// The end, and why.
    Disconnect {
        /// A number of the sender's choice.
        code: u32,
        /// The reason in words.
        reason: Text<96>,
    },
}

/// The type of a message that is none of the protocol's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UnknownType(
    /// The type.
    pub u16,
);

impl Message {
    /// Reads a message. Bytes behind its fields are ignored.
    ///
    /// # Errors
    ///
    /// The type is none of the protocol's.
    pub fn parse(bytes: &[u8; MESSAGE_BYTES]) -> Result<Self, UnknownType> {
        let mut from = Reader { bytes, at: 0 };
        let kind = from.u16();
        Ok(match kind {
            ACK => Self::Ack,
            HELLO => Self::Hello(Hello {
                name: from.text(),
                version_min: from.u16(),
                version_max: from.u16(),
                region_max: from.u16(),
                to_client_max: from.u16(),
                to_server_max: from.u16(),
                ring_log2_max: from.u8(),
            }),
            INIT => Self::Init(Init {
                version: from.u16(),
                id: from.u32(),
                mode: from.u8(),
                secret: from.text(),
                name: from.text(),
            }),
            ADD_REGION => Self::AddRegion { index: from.u16(), size: from.u64() },
            ADD_RING => Self::AddRing(AddRing {
                to_server: from.u16() & TO_SERVER != 0,
                index: from.u16(),
                region: from.u16(),
                offset: from.u32(),
                log2_size: from.u8(),
                private_header: from.u16(),
            }),
            CONNECT => Self::Connect { name: from.text() },
            CONNECTED => Self::Connected { name: from.text() },
            DISCONNECT => Self::Disconnect { code: from.u32(), reason: from.text() },
            other => return Err(UnknownType(other)),
        })
    }

    /// The message as it is sent; bytes behind its fields are zero.
    pub fn emit(&self) -> [u8; MESSAGE_BYTES] {
        let mut bytes = [0; MESSAGE_BYTES];
        let mut to = Writer { bytes: &mut bytes, at: 0 };
        match self {
            Self::Ack => to.put(&ACK.to_ne_bytes()),
            Self::Hello(hello) => {
                let Hello {
                    name,
                    version_min,
                    version_max,
                    region_max,
                    to_client_max,
                    to_server_max,
                    ring_log2_max,
                } = hello;
                to.put(&HELLO.to_ne_bytes());
                to.put(&name.0);
                for field in [version_min, version_max, region_max, to_client_max, to_server_max] {
                    to.put(&field.to_ne_bytes());
                }
                to.put(&[*ring_log2_max]);
            }
            Self::Init(Init { version, id, mode, secret, name }) => {
                to.put(&INIT.to_ne_bytes());
                to.put(&version.to_ne_bytes());
                to.put(&id.to_ne_bytes());
                to.put(&[*mode]);
                to.put(&secret.0);
                to.put(&name.0);
            }
            Self::AddRegion { index, size } => {
                to.put(&ADD_REGION.to_ne_bytes());
                to.put(&index.to_ne_bytes());
                to.put(&size.to_ne_bytes());
            }
            Self::AddRing(AddRing { to_server, index, region, offset, log2_size, private_header }) => {
                to.put(&ADD_RING.to_ne_bytes());
                to.put(&(if *to_server { TO_SERVER } else { 0 }).to_ne_bytes());
                to.put(&index.to_ne_bytes());
                to.put(&region.to_ne_bytes());
                to.put(&offset.to_ne_bytes());
                to.put(&[*log2_size]);
                to.put(&private_header.to_ne_bytes());
            }
            Self::Connect { name } => {
                to.put(&CONNECT.to_ne_bytes());
                to.put(&name.0);
            }
            Self::Connected { name } => {
                to.put(&CONNECTED.to_ne_bytes());
                to.put(&name.0);
            }
            Self::Disconnect { code, reason } => {
                to.put(&DISCONNECT.to_ne_bytes());
                to.put(&code.to_ne_bytes());
                to.put(&reason.0);
            }
        }
        bytes
    }
}

struct Reader<'a> {
    bytes: &'a [u8; MESSAGE_BYTES],
    at: usize,
}

impl Reader<'_> {
    /// The next `N` bytes. No message has more than 128, so that there always are as many.
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let mut taken = [0; N];
        taken.iter_mut().zip(self.bytes.iter().skip(self.at)).for_each(|(to, from)| *to = *from);
        self.at += N;
        taken
    }

    fn u8(&mut self) -> u8 {
        let [byte] = self.take();
        byte
    }

    fn u16(&mut self) -> u16 {
        u16::from_ne_bytes(self.take())
    }

    fn u32(&mut self) -> u32 {
        u32::from_ne_bytes(self.take())
    }

    fn u64(&mut self) -> u64 {
        u64::from_ne_bytes(self.take())
    }

    fn text<const N: usize>(&mut self) -> Text<N> {
        Text(self.take())
    }
}

struct Writer<'a> {
    bytes: &'a mut [u8; MESSAGE_BYTES],
    at: usize,
}

impl Writer<'_> {
    fn put(&mut self, field: &[u8]) {
        self.bytes.iter_mut().skip(self.at).zip(field).for_each(|(to, from)| *to = *from);
        self.at += field.len();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    fn text<const N: usize>() -> impl Strategy<Value = Text<N>> {
        proptest::collection::vec(any::<u8>(), N).prop_map(|bytes| Text(bytes.try_into().unwrap()))
    }

    fn message() -> impl Strategy<Value = Message> {
        prop_oneof![
            Just(Message::Ack),
            (text(), any::<[u16; 5]>(), any::<u8>()).prop_map(|(name, [a, b, c, d, e], ring_log2_max)| {
                Message::Hello(Hello {
                    name,
                    version_min: a,
                    version_max: b,
                    region_max: c,
                    to_client_max: d,
                    to_server_max: e,
                    ring_log2_max,
                })
            }),
            (any::<(u16, u32, u8)>(), text(), text()).prop_map(|((version, id, mode), secret, name)| {
                Message::Init(Init { version, id, mode, secret, name })
            }),
            any::<(u16, u64)>().prop_map(|(index, size)| Message::AddRegion { index, size }),
            any::<(bool, u16, u16, u32, u8, u16)>().prop_map(
                |(to_server, index, region, offset, log2_size, private_header)| Message::AddRing(AddRing {
                    to_server,
                    index,
                    region,
                    offset,
                    log2_size,
                    private_header
                })
            ),
            text().prop_map(|name| Message::Connect { name }),
            text().prop_map(|name| Message::Connected { name }),
            (any::<u32>(), text()).prop_map(|(code, reason)| Message::Disconnect { code, reason }),
        ]
    }

    proptest! {
        #[test]
        fn what_is_emitted_is_parsed(message in message()) {
            prop_assert_eq!(Message::parse(&message.emit()), Ok(message));
        }

        #[test]
        fn any_bytes_are_a_message_or_of_an_unknown_type(bytes in any::<[u8; 64]>(), rest in any::<[u8; 64]>()) {
            let mut all = [0; MESSAGE_BYTES];
            all[..64].copy_from_slice(&bytes);
            all[64..].copy_from_slice(&rest);
            let kind = u16::from_ne_bytes([all[0], all[1]]);
            prop_assert_eq!(Message::parse(&all).is_ok(), (ACK..=DISCONNECT).contains(&kind));
        }
    }

    #[test]
    fn fields_lie_where_other_implementations_have_them() {
        let bytes = Message::AddRing(AddRing {
            to_server: true,
            index: 0x0201,
            region: 0x0403,
            offset: 0x0807_0605,
            log2_size: 9,
            private_header: 0x0b0a,
        })
        .emit();
        let mut expected = Vec::new();
        for field in [5_u16, 1, 0x0201, 0x0403] {
            expected.extend_from_slice(&field.to_ne_bytes());
        }
        expected.extend_from_slice(&0x0807_0605_u32.to_ne_bytes());
        expected.push(9);
        expected.extend_from_slice(&0x0b0a_u16.to_ne_bytes());
        assert_eq!(bytes[..15], expected[..]);
        assert!(bytes[15..].iter().all(|&byte| byte == 0));

        let init = Message::Init(Init {
            version: VERSION,
            id: 7,
            mode: 0,
            secret: Text::new("s"),
            name: Text::new("n"),
        });
        assert_eq!((init.emit()[9], init.emit()[33]), (b's', b'n'));
    }

    #[test]
    fn texts_end_in_a_zero_and_are_shown_escaped() {
        assert_eq!(Text::<4>::new("abcdef").as_bytes(), b"abc");
        assert_eq!(Text::<8>(*b"a\n'\\\xff\0zz").to_string(), "a\\x0a'\\\\\\xff");
        assert_eq!(Text::<2>(*b"ab").as_bytes(), b"ab");
        assert!(Text::<4>::new("abc").is_same_secret(&Text::new("abc")));
        assert!(!Text::<4>::new("abc").is_same_secret(&Text::new("abd")));
    }
}

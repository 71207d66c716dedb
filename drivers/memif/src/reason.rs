//! Why a connection ended, or never came to be.

use std::fmt;

macro_rules! reasons {
    ($( #[doc = $doc:literal] $name:ident = $text:literal, )*) => {
        /// Why a connection was ended: what is counted, and told to the peer in a DISCONNECT.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[repr(u8)]
        pub enum Reason {
            $( #[doc = $doc] $name, )*
        }

        impl Reason {
            /// All of them, in the order of their numbers.
            pub const ALL: &[Self] = &[$( Self::$name, )*];

            /// In words, at most 95 bytes of them.
            pub const fn text(self) -> &'static str {
                match self { $( Self::$name => $text, )* }
            }
        }

        $( const _: () = assert!($text.len() < 96); )*
    };
}

reasons! {
    #[doc = "The other side closed the socket, or died."]
    PeerGone = "the peer closed the connection or died",
    #[doc = "The other side said DISCONNECT."]
    PeerDisconnected = "the peer disconnected",
    #[doc = "This side was closed."]
    Closed = "interface closed",
    #[doc = "The handshake took too long."]
    TimedOut = "the handshake took too long",
    #[doc = "Too many handshakes at once: the oldest goes."]
    TooMany = "too many connections wait for their handshake",
    #[doc = "A message that is not 128 bytes long."]
    MessageSize = "message of a wrong size",
    #[doc = "A message of a type that does not exist."]
    MessageType = "message of an unknown type",
    #[doc = "A message that does not belong here."]
    OutOfOrder = "unexpected message",
    #[doc = "Another version than 2.0."]
    Version = "incompatible memif version",
    #[doc = "No interface of this number on this socket."]
    UnknownId = "no interface of this id",
    #[doc = "The interface has a peer already."]
    Busy = "already connected",
    #[doc = "Not Ethernet."]
    Mode = "only Ethernet mode is supported",
    #[doc = "A wrong secret, or none."]
    Secret = "wrong secret",
    #[doc = "A region out of order, or one too many."]
    RegionIndex = "invalid region index",
    #[doc = "A region without a file."]
    RegionFile = "region without a file",
    #[doc = "A region of no bytes, of more than allowed, or of more than its file has."]
    RegionSize = "region of an invalid size",
    #[doc = "A file that could be shortened under the reader, or that is no memory file."]
    RegionKind = "region's file is no memory file sealed against shrinking (trust the peer to allow it)",
    #[doc = "The memory could not be mapped."]
    RegionMap = "region cannot be mapped",
    #[doc = "A ring of an index that does not exist or was given before."]
    RingIndex = "invalid ring index",
    #[doc = "A ring of an invalid size."]
    RingSize = "invalid ring size",
    #[doc = "A ring that does not lie in a region, or not aligned."]
    RingPlace = "ring outside its region or not aligned",
    #[doc = "A ring that does not begin with the cookie."]
    RingCookie = "ring without the cookie",
    #[doc = "Metadata before frames, which is not supported."]
    PrivateHeader = "private headers are not supported",
    #[doc = "A ring without an interrupt, or one that is no eventfd."]
    Interrupt = "ring without an eventfd",
    #[doc = "Nothing to exchange frames by."]
    NoRing = "no ring was given",
    #[doc = "The server takes fewer regions than the client needs."]
    TooFewRegions = "the server takes too few regions",
    #[doc = "Memory or descriptors of this process ran out."]
    NoResources = "out of memory or descriptors",
    #[doc = "The system refused to send on the socket."]
    SocketFailed = "the control socket failed",
    #[doc = "A ring's index is further ahead than the ring is long."]
    RingIndices = "ring index out of range",
    #[doc = "A descriptor names a region that does not exist, or bytes outside of it."]
    Descriptor = "descriptor outside its region",
    #[doc = "A descriptor is longer than the buffer that was lent."]
    Length = "descriptor longer than its buffer",
    #[doc = "A chain of descriptors as long as the ring, without an end."]
    EndlessChain = "chain of descriptors without an end",
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

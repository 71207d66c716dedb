//! The fuzz targets: one function for each parser, one for HTTP's requests, one for a memif's handshake, and two for the whole host.
//!
//! A parser's does three things with its bytes. It walks every accessor of a view made without a check, which must not
//! panic; it parses; and, where that succeeds, it writes the representation out and parses it again, which must give
//! the same. Those for the host build one, [`net`] for raw frames and [`stack`] for a script, and look at what is left
//! of it in the end.

mod checksums;
mod http;
mod icmp;
mod ip;
mod link;
mod memcache;
mod memif;
mod net;
mod stack;
mod transport;

pub use checksums::checksum;
pub use http::http;
pub use icmp::{icmpv4, icmpv6, ndp};
pub use ip::{ipv4, ipv6};
pub use link::{arp, ethernet, vlan};
pub use memcache::{memcache_binary, memcache_text, memcache_udp};
pub use memif::memif;
pub use net::net;
pub use stack::stack;
pub use transport::{tcp, udp};

/// A fuzz target: any bytes will do.
pub type Target = fn(&[u8]);

/// Every target with its name.
pub const TARGETS: &[(&str, Target)] = &[
    ("arp", arp),
    ("checksum", checksum),
    ("ethernet", ethernet),
    ("http", http),
    ("icmpv4", icmpv4),
    ("icmpv6", icmpv6),
    ("ipv4", ipv4),
    ("ipv6", ipv6),
    ("memcache_binary", memcache_binary),
    ("memcache_text", memcache_text),
    ("memcache_udp", memcache_udp),
    ("memif", memif),
    ("ndp", ndp),
    ("net", net),
    ("stack", stack),
    ("tcp", tcp),
    ("udp", udp),
    ("vlan", vlan),
];

/// Bytes that are not zero where a writer forgets to write.
fn buffer(len: usize) -> Vec<u8> {
    vec![0xa5; len]
}

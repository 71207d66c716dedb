//! Segments and packets as a scenario writes them: `None` where nothing is said.

use std::net::IpAddr;
use std::time::Duration;

use freeway_wire::tcp::{FastOpenCookie, Flags};
use freeway_wire::{Ecn, MacAddr};

use crate::version::{self, Version};
use crate::words::{Words, hex, number, range, time_range};

/// A TCP segment.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Segment {
    /// The control bits.
    pub flags: Option<Flags>,
    /// First sequence number, relative to the sender's initial one.
    pub seq: Option<u32>,
    /// Bytes of payload.
    pub len: u32,
    /// Acknowledgment number, relative to the receiver's initial one.
    pub ack: Option<u32>,
    /// The window field as it stands in the header.
    pub window: Option<u16>,
    /// The urgent pointer.
    pub urgent: Option<u16>,
    /// The MSS option.
    pub mss: Option<u16>,
    /// The window scale option.
    pub wscale: Option<u8>,
    /// The SACK-permitted option.
    pub sack_permitted: bool,
    /// The blocks of the SACK option, first and end, relative as `ack` is. An expected segment has exactly these.
    pub sack: Option<Vec<(u32, u32)>>,
    /// The timestamps option. Of an expected segment only the echo counts.
    pub timestamps: Option<(u32, u32)>,
    /// A sent timestamps option echoes the host's last.
    pub echoes: bool,
    /// The timestamps option must be there, whatever its values.
    pub any_timestamps: bool,
    /// How far the host's timestamp must have gone on since its last one.
    pub ticks: Option<u32>,
    /// The Fast Open option: a cookie, or a request for one. An expected segment has exactly this, if any is named.
    pub cookie: Option<FastOpenCookie>,
    /// No option is there but those named.
    pub only: bool,
    /// The bytes of all options, instead of those above.
    pub raw_options: Option<Vec<u8>>,
    /// A data offset of so many words, whatever the header's length.
    pub data_offset: Option<u8>,
    /// The four reserved bits.
    pub reserved: u8,
    /// What the checksum field holds.
    pub checksum: Sum,
    /// The payload is another one than the stream has there.
    pub junk: bool,
    /// The IP header.
    pub ip: IpWords,
    /// How long after the segment expected before it this one left.
    pub after: Option<(Duration, Duration)>,
}

/// What a checksum field holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Sum {
    /// The right sum.
    #[default]
    Right,
    /// Another one.
    Wrong,
    /// Zero.
    Zero,
}

/// What a scenario says of the IP packet.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct IpWords {
    /// The source address.
    pub from: Option<IpAddr>,
    /// The destination address.
    pub to: Option<IpAddr>,
    /// The frame's destination.
    pub mac: Option<MacAddr>,
    /// The time to live, or hop limit.
    pub ttl: Option<u8>,
    /// The congestion mark.
    pub ecn: Option<Ecn>,
    /// The code point of differentiated services.
    pub dscp: Option<u8>,
    /// The version field.
    pub version: Option<u8>,
    /// The total length (IPv4) or payload length (IPv6) field.
    pub length: Option<u16>,
    /// The header length field of IPv4, in words.
    pub header_words: Option<u8>,
    /// The IPv4 header's sum is wrong.
    pub bad_sum: bool,
    /// Bytes of IPv4's options; whole words.
    pub options: Vec<u8>,
    /// Extension headers of IPv6: the number of each, and its bytes behind the next header field.
    pub extensions: Vec<(u8, Vec<u8>)>,
    /// The packet goes in these parts, in this order: ranges of its payload.
    pub parts: Vec<(usize, Option<usize>)>,
    /// The identification of these parts.
    pub ident: u16,
}

/// An ICMP message.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Icmp {
    /// Its type.
    pub kind: u8,
    /// Its code.
    pub code: u8,
    /// The number that comes with it: an MTU or a pointer.
    pub value: Option<u32>,
    /// The segment of the host's that it quotes: sequence numbers as an expected segment has them.
    pub quote: Option<(u32, u32)>,
    /// No more than so many bytes of the quoted segment.
    pub cut: Option<usize>,
    /// The quoted segment went to this port instead.
    pub quoted_port: Option<u16>,
    /// The checksum is wrong.
    pub bad_sum: bool,
    /// The IP header.
    pub ip: IpWords,
}

impl Segment {
    /// `FLAGS SEQ[:END] … [| IP words]`.
    pub(crate) fn parse(words: &mut Words<'_>, version: Version) -> Result<Self, String> {
        let mut segment = Self { flags: words.next().map(flags).transpose()?, ..Self::default() };
        if let Some(seq) = words.next_if(|word| word.starts_with(|c: char| c.is_ascii_digit())) {
            let (first, end) = range(seq)?;
            segment.seq = Some(first);
            segment.len = end - first;
        }
        while let Some(word) = words.next() {
            match word {
                "ack" => segment.ack = Some(words.number(word)?),
                "win" => segment.window = Some(words.number(word)?),
                "urg" => segment.urgent = Some(words.number(word)?),
                "mss" => segment.mss = Some(words.number(word)?),
                "wscale" => segment.wscale = Some(words.number(word)?),
                "sackok" => segment.sack_permitted = true,
                "sack" => segment.sack = Some(blocks(words)?),
                "nosack" => segment.sack = Some(Vec::new()),
                "ts" => {
                    let value = words.number(word)?;
                    segment.echoes = words.next_if(|word| word == "last").is_some();
                    segment.timestamps = Some((value, if segment.echoes { 0 } else { words.number(word)? }));
                }
                "ticks" => segment.ticks = Some(words.number(word)?),
                "anyts" => segment.any_timestamps = true,
                "askcookie" => segment.cookie = Some(FastOpenCookie::REQUEST),
                "cookie" => {
                    let bytes = hex(words.value(word)?)?;
                    let cookie =
                        FastOpenCookie::new(&bytes).ok_or("a cookie has 4 to 16 bytes, an even number")?;
                    segment.cookie = Some(cookie);
                }
                "only" => segment.only = true,
                "opts" => segment.raw_options = Some(hex(words.value(word)?)?),
                "doff" => segment.data_offset = Some(words.number(word)?),
                "reserved" => segment.reserved = words.number(word)?,
                "junk" => segment.junk = true,
                "badsum" => segment.checksum = Sum::Wrong,
                "zerosum" => segment.checksum = Sum::Zero,
                "after" => segment.after = Some(time_range(words.value(word)?)?),
                "|" => segment.ip = IpWords::parse(words, version)?,
                _ => return Err(format!("'{word}' is nothing a segment has")),
            }
        }
        Ok(segment)
    }
}

fn blocks(words: &mut Words<'_>) -> Result<Vec<(u32, u32)>, String> {
    let mut blocks = Vec::new();
    while let Some(word) = words.next_if(|word| word.starts_with(|c: char| c.is_ascii_digit())) {
        blocks.push(range(word)?);
    }
    if blocks.is_empty() { Err("'sack' wants a block".into()) } else { Ok(blocks) }
}

fn flags(word: &str) -> Result<Flags, String> {
    let mut flags = Flags::empty();
    for letter in word.chars() {
        flags |= match letter {
            'S' => Flags::SYN,
            'F' => Flags::FIN,
            'R' => Flags::RST,
            'P' => Flags::PSH,
            'A' => Flags::ACK,
            'U' => Flags::URG,
            'E' => Flags::ECE,
            'C' => Flags::CWR,
            '-' => Flags::empty(),
            _ => return Err(format!("'{letter}' is no flag: S F R P A U E C, or - for none")),
        };
    }
    Ok(flags)
}

impl IpWords {
    pub(crate) fn parse(words: &mut Words<'_>, version: Version) -> Result<Self, String> {
        let mut ip = Self { ident: 1, ..Self::default() };
        while let Some(word) = words.next() {
            match word {
                "from" => ip.from = Some(version.address(words.value(word)?)?),
                "to" => ip.to = Some(version.address(words.value(word)?)?),
                "mac" => ip.mac = Some(version::mac(words.value(word)?)?),
                "ttl" => ip.ttl = Some(words.number(word)?),
                "ecn" => ip.ecn = Some(ecn(words.value(word)?)?),
                "dscp" => ip.dscp = Some(words.number(word)?),
                "ipversion" => ip.version = Some(words.number(word)?),
                "iplen" => ip.length = Some(words.number(word)?),
                "ihl" => ip.header_words = Some(words.number(word)?),
                "badipsum" => ip.bad_sum = true,
                "ipopts" => ip.options = hex(words.value(word)?)?,
                "ext" => ip.extensions.push((words.number(word)?, hex(words.value(word)?)?)),
                "parts" => ip.parts = parts(words.value(word)?)?,
                "ident" => ip.ident = words.number(word)?,
                _ => return Err(format!("'{word}' is nothing an IP packet has")),
            }
        }
        if !ip.options.len().is_multiple_of(4) {
            return Err("'ipopts' wants whole words of four bytes".into());
        }
        Ok(ip)
    }
}

/// `0-24,24-48,48-`: ranges of bytes; the last one open.
fn parts(word: &str) -> Result<Vec<(usize, Option<usize>)>, String> {
    let one = |part: &str| {
        let (first, end) = part.split_once('-').ok_or_else(|| format!("'{part}' is no range"))?;
        let end = if end.is_empty() { None } else { Some(number(end)?) };
        Ok((number(first)?, end))
    };
    word.split(',').map(one).collect()
}

fn ecn(word: &str) -> Result<Ecn, String> {
    Ok(match word {
        "none" => Ecn::NotEct,
        "ect0" => Ecn::Ect0,
        "ect1" => Ecn::Ect1,
        "ce" => Ecn::Ce,
        _ => return Err(format!("'{word}' is no congestion mark: none, ect0, ect1 or ce")),
    })
}

/// The type and code of the ICMP message that a scenario calls `name` (RFC 792, RFC 4443).
fn icmp_type(name: &str, version: Version) -> Option<(u8, u8)> {
    let (v4, v6) = match name {
        "net-unreachable" => ((3, 0), (1, 0)),
        "host-unreachable" => ((3, 1), (1, 3)),
        "protocol-unreachable" => ((3, 2), (4, 1)),
        "port-unreachable" => ((3, 3), (1, 4)),
        "too-big" => ((3, 4), (2, 0)),
        "prohibited" => ((3, 13), (1, 1)),
        "source-quench" => ((4, 0), (4, 0)),
        "redirect" => ((5, 1), (137, 0)),
        "echo-request" => ((8, 0), (128, 0)),
        "echo-reply" => ((0, 0), (129, 0)),
        "time-exceeded" => ((11, 0), (3, 0)),
        "reassembly-time" => ((11, 1), (3, 1)),
        "parameter-problem" => ((12, 0), (4, 0)),
        "unknown-option" => ((12, 0), (4, 2)),
        _ => return None,
    };
    Some(if version == Version::Ipv4 { v4 } else { v6 })
}

impl Icmp {
    /// `NAME [VALUE] [quoting SEQ[:END]] … [| IP words]`.
    pub(crate) fn parse(words: &mut Words<'_>, version: Version) -> Result<Self, String> {
        let name = words.value("icmp")?;
        let (kind, code) =
            icmp_type(name, version).ok_or_else(|| format!("'{name}' is no ICMP message known here"))?;
        let mut icmp = Self { kind, code, ..Self::default() };
        if let Some(value) = words.next_if(|word| word.starts_with(|c: char| c.is_ascii_digit())) {
            icmp.value = Some(number(value)?);
        }
        while let Some(word) = words.next() {
            match word {
                "quoting" => icmp.quote = Some(range(words.value(word)?)?),
                "cut" => icmp.cut = Some(words.number(word)?),
                "port" => icmp.quoted_port = Some(words.number(word)?),
                "badsum" => icmp.bad_sum = true,
                "|" => icmp.ip = IpWords::parse(words, version)?,
                _ => return Err(format!("'{word}' is nothing an ICMP message has")),
            }
        }
        Ok(icmp)
    }
}

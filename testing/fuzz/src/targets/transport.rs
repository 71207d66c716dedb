//! UDP and TCP.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};

use freeway_wire::tcp::{self, Options};
use freeway_wire::{Protocol, checksum, udp};

use super::buffer;

const SRC: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 18, 0, 1));
const DST: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 18, 0, 2));

/// UDP datagrams.
pub fn udp(data: &[u8]) {
    let datagram = udp::Datagram::new_unchecked(data);
    black_box((datagram.src_port(), datagram.dst_port(), datagram.len(), datagram.checksum()));
    black_box((datagram.payload(), datagram.verify_checksum(SRC, DST)));
    let Ok(datagram) = udp::Datagram::new_checked(data) else { return };
    let repr = udp::Repr::parse(&datagram).expect("was checked");
    let mut bytes = buffer(datagram.len());
    repr.emit(&mut bytes);
    bytes[udp::HEADER_LEN..].copy_from_slice(datagram.payload());
    checksum::fill_transport(SRC, DST, Protocol::UDP, &mut bytes);
    let again = udp::Datagram::new_checked(bytes).expect("was just written");
    assert!(again.checksum() != 0 && again.verify_checksum(SRC, DST));
    assert_eq!(udp::Repr::parse(&again), Ok(repr));
}

/// TCP segments.
pub fn tcp(data: &[u8]) {
    let segment = tcp::Segment::new_unchecked(data);
    black_box((segment.src_port(), segment.dst_port(), segment.seq(), segment.ack()));
    black_box((segment.header_len(), segment.flags(), segment.window(), segment.checksum()));
    black_box((segment.urgent(), segment.options(), segment.payload()));
    black_box(segment.verify_checksum(SRC, DST));
    tcp_options(data);
    let Ok(segment) = tcp::Segment::new_checked(data) else { return };
    let repr = tcp::Repr::parse(&segment).expect("was checked");
    let mut bytes = buffer(repr.header_len());
    repr.emit(&mut bytes);
    checksum::fill_transport(SRC, DST, Protocol::TCP, &mut bytes);
    let again = tcp::Segment::new_checked(bytes).expect("was just written");
    assert!(again.verify_checksum(SRC, DST) && again.payload().is_empty());
    let written = tcp::Repr { options: repr.options.fitting(), ..repr };
    assert_eq!(tcp::Repr::parse(&again), Ok(written));
}

/// Options alone, of any length.
fn tcp_options(data: &[u8]) {
    let options = Options::parse(data);
    let fitting = options.fitting();
    assert_eq!(fitting, fitting.fitting());
    assert_eq!(options.len(), fitting.len());
    assert!(options.len() <= 40 && options.len().is_multiple_of(4));
}

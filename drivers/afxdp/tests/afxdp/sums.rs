//! Sums that are left to the kernel: what Linux's end of a veth pair sees of them.
#![allow(clippy::unwrap_used)]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use freeway_afxdp::{AfxdpConfig, AfxdpError, Device, Mode, Steering, TxChecksum, VethConfig, VethPair};
use freeway_mem::{Arena, ArenaLayout, Packet, PacketFlags, PacketPool, PoolConfig, TxBurst};
use freeway_port::{Port, TxChecksum as PortTxChecksum, TxQueue};
use freeway_wire::Protocol;
use freeway_wire::checksum::{seed_transport, verify_transport};
use freeway_wire::offload::{ChecksumRequest, REQUEST_LEN};

use crate::namespace::in_namespace;
use crate::raw_socket::RawSocket;

const V4: (IpAddr, IpAddr) =
    (IpAddr::V4(Ipv4Addr::new(198, 18, 0, 1)), IpAddr::V4(Ipv4Addr::new(198, 18, 0, 2)));
const V6: (IpAddr, IpAddr) = (
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)),
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2)),
);
const ASKED: PacketFlags = PacketFlags::CHECKSUM_NEEDED.union(PacketFlags::CHECKSUM_REQUESTED);

fn device(mtu: u16, mode: Mode, tx_checksum: TxChecksum) -> Result<Device, AfxdpError> {
    let veth = VethConfig { name: "fwtest0".into(), addresses: Vec::new(), mtu, queues: 1 };
    let steering = Steering { whole_interface: true, ..Steering::default() };
    let config = AfxdpConfig { mode, steering, tx_checksum, ..AfxdpConfig::new("") };
    Device::open_pair(config, VethPair::create(&veth).unwrap())
}

fn pool(headroom: u16) -> PacketPool {
    let config = PoolConfig { buffers: 4_096, headroom, spread: false, ..PoolConfig::default() };
    PacketPool::new(&mut Arena::heap(ArenaLayout::new().pool(&config).bytes()).unwrap(), &config).unwrap()
}

/// An Ethernet frame around a segment of `len` bytes, whose checksum field holds the pseudo-header's sum, and how long
/// its headers are.
fn frame((src, dst): (IpAddr, IpAddr), protocol: Protocol, vlan: bool, len: usize) -> (Vec<u8>, usize) {
    let mut frame = vec![0xff; 6];
    frame.extend([2, 0, 0, 0, 0, 1]);
    if vlan {
        frame.extend([0x81, 0, 0, 7]);
    }
    match (src, dst) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => {
            frame.extend([8, 0, 0x45, 0]);
            frame.extend((20 + len as u16).to_be_bytes());
            frame.extend([0, 0, 0x40, 0, 64, protocol.0, 0, 0]);
            frame.extend([src.octets(), dst.octets()].concat());
        }
        (IpAddr::V6(src), IpAddr::V6(dst)) => {
            frame.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
            frame.extend((len as u16).to_be_bytes());
            frame.extend([protocol.0, 64]);
            frame.extend([src.octets(), dst.octets()].concat());
        }
        _ => unreachable!("one version"),
    }
    let headers = frame.len();
    frame.extend((0..len).map(|number| number as u8));
    if protocol == Protocol::UDP {
        frame[headers + 4..headers + 6].copy_from_slice(&(len as u16).to_be_bytes());
    }
    seed_transport(src, dst, protocol, &mut frame[headers..]);
    (frame, headers)
}

/// A packet of `frame` that begins `headroom` bytes into its buffer.
fn packet(pool: &PacketPool, frame: &[u8], headroom: usize, flags: PacketFlags) -> Packet {
    let mut packet = pool.alloc().unwrap();
    match headroom.checked_sub(packet.headroom()) {
        Some(more) => {
            packet.append(more).unwrap();
            packet.trim_front(more);
        }
        None => {
            let less = packet.headroom() - headroom;
            packet.prepend(less).unwrap();
            packet.truncate(0);
        }
    }
    packet.append(frame.len()).unwrap().copy_from_slice(frame);
    if flags.contains(PacketFlags::CHECKSUM_REQUESTED) {
        let request = ChecksumRequest::of_frame(frame).unwrap();
        request.emit(packet.headroom_mut(REQUEST_LEN).unwrap());
    }
    packet.set_flags(flags);
    packet
}

#[test]
fn linux_takes_a_sum_that_was_asked_for_as_one_to_be_filled_in() {
    in_namespace("linux_takes_a_sum_that_was_asked_for_as_one_to_be_filled_in", || {
        for mode in [Mode::Native, Mode::Generic] {
            let device = device(1_500, mode, TxChecksum::Auto).unwrap();
            let mut port = device.divide(1).remove(0).into_port();
            assert_eq!(port.info().capabilities.tx_checksum, PortTxChecksum::Requested);
            let pool = pool(128);
            port.attach(&pool).unwrap();
            let mut linux = RawSocket::open("fwtest0");
            linux.want_status();
            let mut asked = 0;
            for addresses in [V4, V6] {
                for protocol in [Protocol::TCP, Protocol::UDP] {
                    for vlan in [false, true] {
                        // Asked for; asked for by a copy, without a request; and whole as it is.
                        for flags in [ASKED, PacketFlags::CHECKSUM_NEEDED, PacketFlags::empty()] {
                            let (frame, _) = frame(addresses, protocol, vlan, 1_000);
                            let mut burst = TxBurst::from_iter([packet(&pool, &frame, 100, flags).share()]);
                            assert_eq!(port.tx_burst(&mut burst), 1);
                            let (got, is_unfilled) = linux.receive_with_status().unwrap();
                            let what = format!("{mode:?} {addresses:?} {protocol} {vlan} {flags:?}");
                            assert_eq!(is_unfilled, !flags.is_empty(), "{what}");
                            if !vlan {
                                assert_eq!(got, frame, "{what}");
                            }
                            asked += u64::from(!flags.is_empty());
                        }
                    }
                }
            }
            assert_eq!(port.counters().tx_checksum_requests, asked);
            assert_eq!(port.counters().tx_errors, 0);
        }
    });
}

/// Whoever sums in Linux's stead, as a card without the means or a bridge into one, fills in what is right.
#[test]
fn a_sum_is_filled_in_where_the_far_end_does_without() {
    in_namespace("a_sum_is_filled_in_where_the_far_end_does_without", || {
        let device = device(1_500, Mode::Native, TxChecksum::Auto).unwrap();
        assert!(crate::device::run("ethtool -K fwtest0-xdp tx off"));
        let mut port = device.divide(1).remove(0).into_port();
        let pool = pool(128);
        port.attach(&pool).unwrap();
        let mut linux = RawSocket::open("fwtest0");
        linux.want_status();
        for addresses in [V4, V6] {
            for protocol in [Protocol::TCP, Protocol::UDP] {
                let (frame, headers) = frame(addresses, protocol, false, 999);
                assert!(!verify_transport(addresses.0, addresses.1, protocol, &frame[headers..]));
                port.tx_burst(&mut TxBurst::from_iter([packet(&pool, &frame, 128, ASKED).share()]));
                let (got, is_unfilled) = linux.receive_with_status().unwrap();
                assert!(!is_unfilled);
                assert!(
                    verify_transport(addresses.0, addresses.1, protocol, &got[headers..]),
                    "{addresses:?}"
                );
            }
        }
    });
}

/// Wherever a frame begins, whoever else holds it, and whichever pool it is of.
#[test]
fn frames_near_a_chunks_start_shared_ones_and_foreign_ones_pass() {
    in_namespace("frames_near_a_chunks_start_shared_ones_and_foreign_ones_pass", || {
        let device = device(1_500, Mode::Native, TxChecksum::Auto).unwrap();
        let mut port = device.divide(1).remove(0).into_port();
        let (ours, theirs) = (pool(128), pool(128));
        port.attach(&ours).unwrap();
        let mut linux = RawSocket::open("fwtest0");
        linux.want_status();
        let (frame, _) = frame(V4, Protocol::TCP, false, 1_200);
        let mut see = |packets: Vec<freeway_mem::SharedPacket>, asked: bool, what: &str| {
            let count = packets.len();
            assert_eq!(port.tx_burst(&mut TxBurst::from_iter(packets)), count, "{what}");
            for _ in 0..count {
                let (got, is_unfilled) = linux.receive_with_status().unwrap();
                assert_eq!((got, is_unfilled), (frame.clone(), asked), "{what}");
            }
        };
        for headroom in [0, 1, 23, 24, 25, 700] {
            for flags in [PacketFlags::empty(), PacketFlags::CHECKSUM_NEEDED] {
                for pool in [&ours, &theirs] {
                    let packet = packet(pool, &frame, headroom, flags).share();
                    see(vec![packet], !flags.is_empty(), &format!("{headroom} {flags:?}"));
                }
            }
        }
        // Sent twice at once, and once more when the first is done: as when it is not acknowledged.
        let kept = packet(&ours, &frame, 128, ASKED).share();
        see(vec![kept.try_clone().unwrap(), kept.try_clone().unwrap()], true, "twice");
        see(vec![kept.try_clone().unwrap()], true, "again");
        // The request of another pool's buffer does not come along; one of its own does.
        see(vec![packet(&theirs, &frame, 128, ASKED).share()], true, "foreign");
        drop(kept);
        drop(port);
        assert_eq!((ours.in_use(), theirs.in_use()), (0, 0));
    });
}

#[test]
fn sums_are_softwares_where_it_is_switched_off_or_frames_are_long() {
    in_namespace("sums_are_softwares_where_it_is_switched_off_or_frames_are_long", || {
        for (mtu, wanted) in [(1_500, TxChecksum::Off), (9_000, TxChecksum::Auto)] {
            let device = device(mtu, Mode::Native, wanted).unwrap();
            assert_eq!(device.info().capabilities.tx_checksum, PortTxChecksum::None, "{mtu} {wanted:?}");
        }
        let refused = device(9_000, Mode::Native, TxChecksum::On).unwrap_err();
        assert!(matches!(refused, AfxdpError::NoTxChecksum { .. }), "{refused}");
        assert!(refused.to_string().contains("several buffers"), "{refused}");
        assert!(device(1_500, Mode::Native, TxChecksum::On).is_ok());
    });
}

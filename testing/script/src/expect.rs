//! What the host sent against what a scenario expects.

use anyhow::{bail, ensure};
use freeway_wire::Ecn;
use freeway_wire::tcp::{Flags, Repr};

use crate::flow::Flow;
use crate::observe::{IpPacket, Sending};
use crate::packet::byte_at;
use crate::segment::{Icmp, IpWords, Segment};

/// What the IP header must say: an end or a mark that is not named must be the flow's own, or none.
fn check_ip(packet: &IpPacket<'_>, flow: &Flow, ip: &IpWords) -> anyhow::Result<()> {
    let wanted = flow.outbound().or(ip);
    let ends = packet.ends;
    ensure!(ends.src == wanted.src, "wrong source address {}", ends.src);
    ensure!(ends.dst == wanted.dst, "wrong destination address {}", ends.dst);
    ensure!(ip.ttl.is_none_or(|ttl| ttl == packet.ttl), "wrong TTL {}", packet.ttl);
    let ecn = ip.ecn.unwrap_or(Ecn::NotEct);
    ensure!(ecn == packet.ecn, "wrong congestion mark {:?}", packet.ecn);
    ensure!(ip.dscp.unwrap_or(0) == packet.dscp, "wrong DSCP {}", packet.dscp);
    Ok(())
}

/// A segment of the flow, with everything that the scenario names.
pub(crate) fn check_segment(frame: &[u8], flow: &mut Flow, wanted: &Segment) -> anyhow::Result<()> {
    let packet = IpPacket::open(frame)?;
    let sending = packet.segment()?;
    check_ip(&packet, flow, &wanted.ip)?;
    let Sending { repr, options, payload } = sending;
    let to = (repr.src_port, repr.dst_port);
    ensure!(to == flow.ports(), "wrong ports {to:?}");
    if repr.flags.contains(Flags::SYN) && flow.host_iss.is_none() {
        flow.host_iss = Some(repr.seq);
    }
    let base = flow.host_base();
    let stamps = repr.options.timestamps;
    let last_stamp = flow.host_stamp;
    let went_on = |stamp: u32| stamp.wrapping_sub(last_stamp);
    flow.host_stamp = stamps.map_or(last_stamp, |stamps| stamps.value);
    let checks = [
        ("flags", wanted.flags.is_none_or(|flags| flags == repr.flags)),
        ("sequence number", wanted.seq.is_none_or(|seq| base + seq == repr.seq)),
        ("length", payload.len() == wanted.len as usize),
        ("acknowledgment", wanted.ack.is_none_or(|ack| flow.peer_iss + ack == repr.ack)),
        ("window", wanted.window.is_none_or(|window| window == repr.window)),
        ("MSS", wanted.mss.is_none_or(|mss| Some(mss) == repr.options.mss)),
        ("window scale", wanted.wscale.is_none_or(|shift| Some(shift) == repr.options.window_scale)),
        ("SACK-permitted", !wanted.sack_permitted || repr.options.sack_permitted),
        ("SACK blocks", wanted.sack.as_ref().is_none_or(|blocks| *blocks == blocks_of(&repr, flow))),
        ("timestamps", !wanted.any_timestamps || stamps.is_some()),
        (
            "echoed timestamp",
            wanted.timestamps.is_none_or(|(_, echo)| stamps.is_some_and(|ts| ts.echo == echo)),
        ),
        ("timestamp", wanted.ticks.is_none_or(|ticks| stamps.is_some_and(|ts| went_on(ts.value) == ticks))),
        ("cookie", wanted.cookie.is_none_or(|cookie| Some(cookie) == repr.options.fast_open)),
        ("option, which was not expected", !wanted.only || has_only(&repr, wanted)),
        ("options", wanted.raw_options.as_ref().is_none_or(|bytes| bytes == options)),
    ];
    for (what, holds) in checks {
        ensure!(holds, "wrong {what}");
    }
    if let Some(start) = wanted.seq.filter(|_| wanted.len > 0) {
        let first = start + u32::from(repr.flags.contains(Flags::SYN));
        let intact = payload.iter().zip(first - 1..).all(|(&byte, place)| byte == byte_at(place));
        ensure!(intact, "the payload is not what was written");
    }
    Ok(())
}

/// The SACK blocks of a segment, relative.
fn blocks_of(repr: &Repr, flow: &Flow) -> Vec<(u32, u32)> {
    let relative = |seq: freeway_wire::tcp::SeqNumber| seq.distance_from(flow.peer_iss);
    repr.options.sack.iter().map(|(first, end)| (relative(first), relative(end))).collect()
}

/// Whether a segment has no option that the scenario does not name.
fn has_only(repr: &Repr, wanted: &Segment) -> bool {
    let options = &repr.options;
    options.mss.is_some() == wanted.mss.is_some()
        && options.window_scale.is_some() == wanted.wscale.is_some()
        && options.sack_permitted == wanted.sack_permitted
        && options.timestamps.is_some() == (wanted.timestamps.is_some() || wanted.any_timestamps)
        && options.sack.is_empty() == wanted.sack.as_ref().is_none_or(Vec::is_empty)
        && options.fast_open == wanted.cookie
        && options.user_timeout.is_none()
}

/// An ICMP message that the flow's peer gets.
pub(crate) fn check_icmp(frame: &[u8], flow: &Flow, wanted: &Icmp) -> anyhow::Result<()> {
    let packet = IpPacket::open(frame)?;
    let message = packet.icmp()?;
    check_ip(&packet, flow, &wanted.ip)?;
    let (kind, code) = (message[0], message[1]);
    ensure!((kind, code) == (wanted.kind, wanted.code), "wrong message: type {kind}, code {code}");
    let value = u32::from_be_bytes([message[4], message[5], message[6], message[7]]);
    ensure!(wanted.value.is_none_or(|wanted| wanted == value), "wrong value {value}");
    if wanted.quote.is_some() || wanted.cut.is_some() {
        bail!("what an ICMP message of the host's quotes cannot be expected");
    }
    Ok(())
}

/// A frame of the host's in a scenario's words.
pub(crate) fn describe(frame: &[u8], flow: &Flow) -> String {
    let told = IpPacket::open(frame).and_then(|packet| {
        if let Ok(message) = packet.icmp() {
            return Ok(format!("icmp type {} code {} to {}", message[0], message[1], packet.ends.dst));
        }
        let Sending { repr, payload, .. } = packet.segment()?;
        let seq = repr.seq.distance_from(flow.host_base());
        let ack = repr.ack.distance_from(flow.peer_iss);
        let Repr { flags, window, options, .. } = repr;
        let end = u64::from(seq) + payload.len() as u64;
        Ok(format!("{flags:?} {seq}:{end} ack {ack} win {window} {options:?}"))
    });
    told.unwrap_or_else(|error| format!("a frame that is not as it should be ({error})"))
}

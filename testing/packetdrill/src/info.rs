//! `TCP_INFO`: Linux's `struct tcp_info`, filled from what the stack knows of a connection.
//!
//! Figures that the stack does not keep are 0.

use freeway::Duration;
use freeway_tcp::{Info, Repair, State as Tcp};

use crate::socket::{Key, Socket, State};
use crate::world::World;

/// Linux's numbers of states.
const CLOSE: u8 = 7;
const LISTEN: u8 = 10;
/// Bits of `tcpi_options`.
const TIMESTAMPS: u8 = 1;
const SACK: u8 = 2;
const WINDOW_SCALE: u8 = 4;
const ECN: u8 = 8;
const SYN_DATA: u8 = 32;
/// Values of `tcpi_ca_state`.
const CA_OPEN: u8 = 0;
const CA_DISORDER: u8 = 1;
const CA_RECOVERY: u8 = 3;
const CA_LOSS: u8 = 4;
/// Linux's slow-start threshold before any loss, in segments.
const INFINITE: u32 = 0x7fff_ffff;
/// Linux's measure of reordering before any was seen, in segments.
const REORDERING: u32 = 3;
/// Above this a threshold of the stack is none.
const THRESHOLD_MAX: u32 = 1 << 30;

/// The structure as it grows, field by field.
#[derive(Default)]
struct Fields(Vec<u8>);

impl Fields {
    fn words<const N: usize>(&mut self, words: [u32; N]) {
        self.0.extend(words.iter().flat_map(|word| word.to_ne_bytes()));
    }

    fn longs<const N: usize>(&mut self, longs: [u64; N]) {
        self.0.extend(longs.iter().flat_map(|long| long.to_ne_bytes()));
    }
}

impl World {
    pub(crate) fn tcp_info(&mut self, key: Key) -> Vec<u8> {
        let (_, unsent) = self.queued(key);
        let Some(socket) = self.sockets.get(&key) else { return Vec::new() };
        let conn = socket.conn().and_then(|id| self.host.conn(id));
        let info = conn.as_ref().and_then(freeway::Conn::info);
        match info {
            Some(info) => of_connection(&info, self.flags.mtu, unsent, socket),
            None => of_none(socket),
        }
    }
}

/// A socket without a connection has a state and little else.
fn of_none(socket: &Socket) -> Vec<u8> {
    let mut fields = Fields::default();
    let (state, waiting, backlog) = match &socket.state {
        State::Listening { queue, backlog, .. } => (LISTEN, queue.len(), *backlog),
        _ => (CLOSE, 0, 0),
    };
    let options = if socket.syn_had_data { SYN_DATA } else { 0 };
    let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    fields.0.extend([state, 0, 0, 0, 0, options, 0, 0]);
    fields.words([0, 0, 0, 0, count(waiting), count(backlog)]);
    fields.0.resize(SIZE, 0);
    fields.0
}

/// Bytes of the structure in Linux 7.
const SIZE: usize = 288;

fn of_connection(info: &Info, mtu: u16, unsent: usize, socket: &Socket) -> Vec<u8> {
    let mut fields = Fields::default();
    let mss = u32::from(info.mss).max(1);
    let (theirs, ours) = info.window_scales;
    let scaled = theirs > 0 || ours > 0;
    let options = if info.timestamps { TIMESTAMPS } else { 0 }
        | if info.sack { SACK } else { 0 }
        | if scaled { WINDOW_SCALE } else { 0 }
        | if info.ecn == Some(true) { ECN } else { 0 }
        | if socket.syn_had_data { SYN_DATA } else { 0 };
    let loss = match info.phase {
        Repair::None if info.sacked.is_none_or(|sacked| sacked == 0) => CA_OPEN,
        Repair::None | Repair::Doubt => CA_DISORDER,
        Repair::Fast => CA_RECOVERY,
        Repair::Timeout => CA_LOSS,
    };
    fields.0.extend([
        state_number(info.state),
        loss,
        info.retries,
        info.probes,
        info.backoff,
        options,
        theirs & 15 | ours << 4,
        0,
    ]);
    let micros = |span: Duration| u32::try_from(span.as_micros()).unwrap_or(u32::MAX);
    let millis = |span: Duration| u32::try_from(span.as_millis()).unwrap_or(u32::MAX);
    let segments = |bytes: u32| bytes.div_ceil(mss);
    // Linux counts in segments: seven tenths of ten are seven.
    let threshold = if info.ssthresh >= THRESHOLD_MAX { INFINITE } else { (info.ssthresh + mss / 2) / mss };
    let received = match info.mss_received {
        0 => mss,
        mss => u32::from(mss),
    };
    // rto, ato, snd_mss, rcv_mss
    fields.words([micros(info.rto), info.ack_timeout.map_or(0, micros), mss, received]);
    // unacked, sacked, lost, retrans, fackets
    let (sacked, lost) = (info.sacked.map_or(0, segments), info.lost.map_or(0, segments));
    fields.words([segments(info.in_flight), sacked, lost, 0, 0]);
    // last data sent, last ack sent, last data received, last ack received
    let heard = millis(info.since_received);
    fields.words([info.since_sent.map_or(0, millis), 0, heard, heard]);
    // pmtu, rcv_ssthresh, rtt, rttvar, snd_ssthresh, snd_cwnd, advmss, reordering
    fields.words([
        u32::from(info.path_mtu.unwrap_or(mtu)),
        info.rcv_space,
        info.srtt.map_or(0, micros),
        micros(info.rttvar),
        threshold,
        info.cwnd / mss,
        u32::from(info.mss_advertised),
        info.reordering.unwrap_or(REORDERING),
    ]);
    // rcv_rtt, rcv_space, total_retrans
    let receiver_rtt = info.receiver_rtt.map_or(0, micros);
    fields.words([receiver_rtt, info.rcv_space, u32::from(info.retransmitted)]);
    // pacing rates, bytes acknowledged, bytes received
    let (acked, read) = (info.bytes_acked.unwrap_or(0), info.bytes_received.unwrap_or(0));
    fields.longs([info.pacing_rate.unwrap_or(0), u64::MAX, acked, read]);
    // segs_out, segs_in, notsent_bytes, min_rtt, data_segs_in, data_segs_out
    let unsent = u32::try_from(unsent).unwrap_or(u32::MAX);
    fields.words([0, 0, unsent, info.min_rtt.map_or(0, micros), 0, 0]);
    // delivery_rate, busy_time, rwnd_limited, sndbuf_limited
    let [busy, window, buffer] = socket.chrono.micros();
    fields.longs([info.delivery_rate.unwrap_or(0), busy, window, buffer]);
    // delivered, delivered_ce
    fields.words([0; 2]);
    // bytes_sent, bytes_retrans
    fields.longs([info.bytes_sent.unwrap_or(0), info.bytes_retransmitted.unwrap_or(0)]);
    // dsack_dups, reord_seen, rcv_ooopack, snd_wnd, rcv_wnd
    fields.words([0, 0, 0, info.snd_wnd, info.rcv_wnd]);
    fields.0.resize(SIZE, 0);
    fields.0
}

const fn state_number(state: Tcp) -> u8 {
    match state {
        Tcp::Established => 1,
        Tcp::SynSent => 2,
        Tcp::SynReceived => 3,
        Tcp::FinWait1 => 4,
        Tcp::FinWait2 => 5,
        Tcp::TimeWait => 6,
        Tcp::Closed => CLOSE,
        Tcp::CloseWait => 8,
        Tcp::LastAck => 9,
        Tcp::Closing => 11,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn fields_lie_where_linux_has_them() {
        let now = freeway::Instant::from_secs(1);
        let config = freeway::TcpConfig::default();
        let tcb =
            freeway_tcp::Tcb::connect(&freeway_tcp::Context { now, config: &config }, Default::default(), 0);
        let info = Info {
            state: Tcp::CloseWait,
            srtt: Some(Duration::from_millis(50)),
            rttvar: Duration::from_millis(25),
            rto: Duration::from_millis(500),
            backoff: 1,
            cwnd: 10_000,
            ssthresh: u32::MAX,
            in_flight: 2_500,
            snd_wnd: 7_777,
            mss: 1_000,
            window_scales: (7, 2),
            timestamps: true,
            sack: false,
            phase: Repair::Timeout,
            retries: 1,
            retransmitted: 3,
            ..tcb.info()
        };
        let socket =
            Socket::new(crate::address::Family::V4, crate::socket::Kind::Stream, &Default::default());
        let bytes = of_connection(&info, 1_500, 99, &socket);
        // The C library knows the structure's first part, up to `tcpi_total_retrans`.
        let offset = |field: usize| u32::from_ne_bytes(bytes[field..field + 4].try_into().unwrap());
        assert_eq!(bytes[..8], [8, 4, 1, 0, 1, TIMESTAMPS | WINDOW_SCALE, 0x27, 0]);
        use std::mem::offset_of;
        assert_eq!(offset(offset_of!(libc::tcp_info, tcpi_snd_mss)), 1_000);
        assert_eq!(offset(offset_of!(libc::tcp_info, tcpi_unacked)), 3);
        assert_eq!(offset(offset_of!(libc::tcp_info, tcpi_rtt)), 50_000);
        assert_eq!(offset(offset_of!(libc::tcp_info, tcpi_rttvar)), 25_000);
        assert_eq!(offset(offset_of!(libc::tcp_info, tcpi_rto)), 500_000);
        assert_eq!(offset(offset_of!(libc::tcp_info, tcpi_snd_cwnd)), 10);
        assert_eq!(offset(offset_of!(libc::tcp_info, tcpi_snd_ssthresh)), INFINITE);
        assert_eq!(offset(offset_of!(libc::tcp_info, tcpi_total_retrans)), 3);
        // Behind it, by Linux's header: notsent_bytes and snd_wnd.
        assert_eq!((offset(144), offset(228)), (99, 7_777));
        assert_eq!(bytes.len(), SIZE);
    }
}

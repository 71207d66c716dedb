//! Every setting of a connection, with its meaning, default and cost.
//!
//! A [`Config`] belongs to a class of connections (a listener, a kind of active open) and lies in the caller's
//! table, not in the [`Tcb`](crate::Tcb): a million connections share one. Changing it while connections live is
//! allowed for everything but `window_scale`, `timestamps`, `sack` and `ecn`, which each connection remembers.

use freeway_base::{Duration, Instant};

use crate::congestion::Algorithm;
use crate::ecn::EcnMode;
use crate::path::PathProbing;

/// What every call needs to know beside the connection.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// The time, read once a turn.
    pub now: Instant,
    /// The settings of the connection's class.
    pub config: &'a Config,
}

/// Settings of a class of connections.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Config {
    /// The MSS to advertise and not to exceed: the interface's MTU less 40 (IPv4) or 60 (IPv6) bytes, options
    /// not subtracted (RFC 9293, SHLD-6, MUST-67; RFC 6691). Default 1460.
    pub mss: u16,
    /// The peer's MSS when its SYN says nothing: 536 for IPv4, 1220 for IPv6 (RFC 9293, MUST-15). Default 536.
    pub default_mss: u16,
    /// Bytes of payload that the caller is ready to hold for a connection in the beginning, and while memory is short. Default
    /// 65,535, at most 1 GiB. Costs memory only where a peer sends more than the application reads.
    pub receive_window: u32,
    /// What the receive window may grow to, while the application takes in a round trip all that it lets through; decides the
    /// window scale. With no more than `receive_window` it does not grow. Default 6 MiB, at most 1 GiB. Costs memory as above.
    pub receive_window_max: u32,
    /// Offers window scaling (RFC 7323). Default on; off caps windows at 64 KiB.
    pub window_scale: bool,
    /// Offers timestamps (RFC 7323). Default on; costs 12 bytes a segment, buys PAWS and better round-trip times.
    pub timestamps: bool,
    /// Offers selective acknowledgments (RFC 2018). Default on; costs nothing but options while segments are missing.
    pub sack: bool,
    /// Probes the tail of a flight after two silent round trips (RFC 8985, section 7). Default on; costs a segment where
    /// a path is merely slow.
    pub tail_loss_probe: bool,
    /// How much longer a probe waits when one segment alone is in flight, whose acknowledgment the peer may delay
    /// (WCDelAckT of RFC 8985, section 7.2). Default 200 ms.
    pub probe_ack_delay: Duration,
    /// Congestion control. Default CUBIC (RFC 9438).
    pub congestion: Algorithm,
    /// Leaves the first slow start when round trips grow (HyStart++, RFC 9406), or acknowledgments come for half of one
    /// without a pause, before segments are lost. Default on; used by CUBIC alone: NewReno takes minutes to grow to where it
    /// stopped too soon, and is slower for it on paths that lose a segment now and then. Without it a long, deep path
    /// loses up to half a window once.
    pub hystart: bool,
    /// Spreads segments over the round trip instead of sending them as acknowledgments come. Default off: it costs a
    /// timer for each quantum, a millisecond's worth, and pays on long paths with shallow queues.
    pub pacing: bool,
    /// Explicit congestion notification (RFC 3168): routers mark segments instead of dropping them. Default on, as the
    /// RFC asks: it costs nothing where no router marks, and a SYN that a middlebox drops is repeated without it.
    /// DCTCP needs it on.
    pub ecn: EcnMode,
    /// Full segments that may be in flight before the first acknowledgment (RFC 6928). Default 10.
    pub initial_window: u8,
    /// The retransmission time-out before the first measurement (RFC 6298, 2.1). Default 1 s.
    pub rto_initial: Duration,
    /// The least distance of the time-out from the smoothed round trip. RFC 6298 asks for a time-out of 1 s at
    /// least; 200 ms is what widely used stacks keep. Default 200 ms.
    pub rto_min: Duration,
    /// The longest time-out, back-off included (RFC 6298, 5.5: at least 60 s). Default 60 s.
    pub rto_max: Duration,
    /// How long an acknowledgment may wait for company; `None` acknowledges each segment at once. RFC 9293,
    /// MUST-40, allows less than 500 ms. Default 40 ms.
    pub delayed_ack: Option<Duration>,
    /// Segments acknowledged at once while a connection is young, so that the peer's slow start is not
    /// halved. Default 16.
    pub quick_acks: u8,
    /// Delays the acknowledgment of the peer's FIN as that of data, so that it may ride on what the application says to
    /// the end of the stream, if it has sent any data. Default off: an application that answers in the same turn saves
    /// the segment anyway.
    pub delayed_fin_ack: bool,
    /// Drops segments without a timestamp where both sides have agreed on them, as RFC 7323, section 3.2, says one
    /// SHOULD; off, they are taken as Linux takes them, with no protection against old ones. Default on.
    pub require_timestamps: bool,
    /// Segments by which one acknowledgment opens the window in slow start at most; `None` leaves it to the algorithm: 2
    /// (RFC 3465), or 8 with HyStart++ (RFC 9406), or as many as it acknowledges where segments are paced. Default none.
    pub slow_start_step: Option<u16>,
    /// Nagle's algorithm (RFC 9293, SHLD-7) with Minshall's modification: no small segment while another one is in
    /// flight. Default off.
    pub nagle: bool,
    /// Only full segments: the rest waits until it fills one, or for the retransmission time-out, at least 200 ms, or until
    /// this is off again. A FIN, and what is queued when the window is too small for a full segment, goes out. Default off.
    pub cork: bool,
    /// Finds out by itself what segments the path carries (RFC 4821). Default: when it seems to swallow large ones. Costs
    /// a retransmission for each probe that is too large.
    pub path_probing: PathProbing,
    /// The segment that nearly every path carries, options not included, where probing begins (RFC 4821, section 7.2).
    /// Default 1024.
    pub path_base_mss: u16,
    /// No black hole makes segments shorter than this. Default 512.
    pub path_floor_mss: u16,
    /// Probes for idle connections. Default none (RFC 9293, MUST-25).
    pub keepalive: Option<Keepalive>,
    /// Retransmissions of a SYN before an active open fails. Default 7: 183 s with the default time-outs (RFC
    /// 9293, MUST-23, asks for three minutes).
    pub syn_retries: u8,
    /// Retransmissions of a SYN-ACK before a half-open connection is forgotten. Default 5: 63 s.
    pub syn_ack_retries: u8,
    /// R1: after so many retransmissions of the same data [`Events::STALLED`](crate::Events::STALLED) is
    /// reported (RFC 9293, SHLD-10: at least 3). Default 3.
    pub stall_retries: u8,
    /// R2: how long data may stay unacknowledged before the connection is given up (RFC 9293, SHLD-11: at
    /// least 100 s). Default 120 s.
    pub user_timeout: Duration,
    /// How long the active closer remembers the connection: twice the maximum segment lifetime (RFC 9293,
    /// MUST-13). Default 60 s, that is, a lifetime of 30 s.
    pub time_wait: Duration,
    /// How long the peer may be silent in FIN-WAIT-2 before the connection is forgotten, once the application has
    /// closed for reading too (a half-closed connection waits for ever); `None` always waits for ever, as RFC 9293
    /// does. Default 60 s.
    pub fin_wait_2: Option<Duration>,
    /// Bytes that the application may have queued for sending, acknowledged or not; `None` is the stack's own bound,
    /// which is also the most there can be. Default none.
    pub send_buffer: Option<u32>,
    /// No more than so many bytes are queued that were not sent yet: what is written late is written fresh. Default no bound.
    pub not_sent_low_water: u32,
    /// How long a closed connection may take to deliver what is queued, before it is reset; zero resets it at once, and
    /// `None` lets it take as long as the peer answers (RFC 9293, section 3.6). Default none.
    pub linger: Option<Duration>,
    /// The differentiated services code point of all segments, 6 bits (RFC 9293, MUST-48). Default 0.
    pub dscp: u8,
    /// The time to live, or hop limit, of all segments (RFC 9293, MUST-49); `None` is the host's. Default none.
    pub hop_limit: Option<u8>,
    /// Bytes of queued data that the first SYN of an active open may carry: none, unless the peer has given out a Fast
    /// Open cookie, which the caller adds (RFC 7413, section 4.2.1). Default 0. What the peer does not take with the
    /// SYN is sent again when the connection is open.
    pub syn_payload: u16,
}

/// Probes of an idle connection (RFC 9293, section 3.8.4). Nothing is sent while the connection is in use.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Keepalive {
    /// Silence before the first probe. Default 2 h (RFC 9293, MUST-28).
    pub idle: Duration,
    /// From probe to probe. Default 75 s.
    pub interval: Duration,
    /// Unanswered probes before the connection is given up. Default 9.
    pub probes: u8,
    /// By how much later than `idle` the first probe may be, in 256ths of it: how much is each connection's own, so that
    /// those opened in one moment are not probed in one moment. Default 16, a sixteenth; 0 probes at `idle` exactly.
    pub spread: u8,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            mss: 1460,
            default_mss: 536,
            receive_window: 65_535,
            receive_window_max: 6 << 20,
            window_scale: true,
            timestamps: true,
            sack: true,
            tail_loss_probe: true,
            probe_ack_delay: Duration::from_millis(200),
            congestion: Algorithm::Cubic,
            hystart: true,
            pacing: false,
            ecn: EcnMode::On,
            initial_window: 10,
            rto_initial: Duration::from_secs(1),
            rto_min: Duration::from_millis(200),
            rto_max: Duration::from_secs(60),
            delayed_ack: Some(Duration::from_millis(40)),
            quick_acks: 16,
            delayed_fin_ack: false,
            require_timestamps: true,
            slow_start_step: None,
            nagle: false,
            cork: false,
            path_probing: PathProbing::BlackHole,
            path_base_mss: 1_024,
            path_floor_mss: 512,
            keepalive: None,
            syn_retries: 7,
            syn_ack_retries: 5,
            stall_retries: 3,
            user_timeout: Duration::from_secs(120),
            time_wait: Duration::from_secs(60),
            fin_wait_2: Some(Duration::from_secs(60)),
            send_buffer: None,
            not_sent_low_water: u32::MAX,
            linger: None,
            dscp: 0,
            hop_limit: None,
            syn_payload: 0,
        }
    }
}

impl Default for Keepalive {
    fn default() -> Self {
        Self { idle: Duration::from_secs(7_200), interval: Duration::from_secs(75), probes: 9, spread: 16 }
    }
}

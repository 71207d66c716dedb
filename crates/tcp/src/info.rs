//! Figures of a connection, for people and their tools: what Linux tells in TCP_INFO, as far as it has a meaning here.
//!
//! An idle connection keeps nothing for the sake of figures. What only a side record knows, or only the connection's
//! holder, is `None` (or left at its default) in what [`Tcb::info`] answers, and the holder fills it in while there is
//! such a record.

use freeway_base::Duration;

use crate::config::Context;
use crate::congestion::Algorithm;
use crate::outcome::Held;
use crate::recovery::{Flight, Phase};
use crate::state::State;
use crate::tcb::{Marks, Tcb};

/// What a connection knows of itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Info {
    /// The state.
    pub state: State,

    // ---- what the SYNs agreed on ----
    /// The peer's window shift, and ours.
    pub window_scales: (u8, u8),
    /// Whether segments carry timestamps.
    pub timestamps: bool,
    /// Whether both sides understand selective acknowledgments.
    pub sack: bool,
    /// Whether both sides understand explicit congestion notification.
    pub ecn: Option<bool>,
    /// Whether the SYN carried data that was taken (RFC 7413); `None` where that is not kept.
    pub fast_open: Option<bool>,

    // ---- time ----
    /// Smoothed round-trip time; `None` before the first measurement.
    pub srtt: Option<Duration>,
    /// Variation of the round-trip time.
    pub rttvar: Duration,
    /// The least round trip of the flight at hand.
    pub min_rtt: Option<Duration>,
    /// The round trip as a receiver of data sees it, while one is measured.
    pub receiver_rtt: Option<Duration>,
    /// The retransmission time-out, back-off included; zero unless asked with the settings ([`Tcb::info_with`]).
    pub rto: Duration,
    /// How often it is doubled at the moment.
    pub backoff: u8,
    /// How long an acknowledgment may be delayed (ATO); `None` if not at all.
    pub ack_timeout: Option<Duration>,
    /// Since the last segment was heard of the peer that passed the checks; zero unless asked with the settings.
    pub since_received: Duration,
    /// Since data was last acknowledged to us, while nothing is in flight and no timer runs.
    pub since_acked: Option<Duration>,
    /// Since data was last sent, while the flight is recorded.
    pub since_sent: Option<Duration>,

    // ---- congestion and loss ----
    /// The algorithm.
    pub congestion: Option<Algorithm>,
    /// Congestion window, in bytes.
    pub cwnd: u32,
    /// Slow-start threshold, in bytes; very large before the first loss.
    pub ssthresh: u32,
    /// Bytes sent and not acknowledged.
    pub in_flight: u32,
    /// Of these, bytes that the peer has acknowledged selectively, while the flight is recorded.
    pub sacked: Option<u32>,
    /// Of these, bytes that are taken for lost, while the flight is recorded.
    pub lost: Option<u32>,
    /// What losses have led to.
    pub phase: Repair,
    /// How far the path was seen to reorder, in segments, while the flight is recorded.
    pub reordering: Option<u32>,
    /// Retransmissions of the same data by the timer so far.
    pub retries: u8,
    /// Segments retransmitted in all; stops at 65535.
    pub retransmitted: u16,
    /// Unanswered keepalive probes.
    pub probes: u8,
    /// Bytes a second that arrived at the peer lately, while the flight is recorded.
    pub delivery_rate: Option<u64>,
    /// Bytes a second at which segments are let out; `None` without pacing.
    pub pacing_rate: Option<u64>,

    // ---- windows and sizes ----
    /// The peer's window, in bytes.
    pub snd_wnd: u32,
    /// Our window as promised, in bytes.
    pub rcv_wnd: u32,
    /// What our window may come to when everything is read; zero unless asked with the settings.
    pub rcv_space: u32,
    /// Payload bytes of a full segment that is sent.
    pub mss: u16,
    /// The same as the SYNs would allow it, were the path wide enough.
    pub mss_max: u16,
    /// Payload bytes of the longest segment received.
    pub mss_received: u16,
    /// Our MSS as advertised; zero unless asked with the settings.
    pub mss_advertised: u16,
    /// Bytes of the longest IP packet that is sent; `None` where the way to the peer is not known.
    pub path_mtu: Option<u16>,
    /// Whether larger segments are being searched for (RFC 4821).
    pub probes_path: bool,

    // ---- queues ----
    /// Bytes received and not read.
    pub unread: u32,
    /// Whether segments wait for a gap to close.
    pub out_of_order: bool,
    /// Bytes that the application has queued and the peer has not acknowledged.
    pub queued: u32,
    /// Of these, bytes not sent yet.
    pub not_sent: u32,
    /// Whether bytes wait to be sent and only the peer's window holds them back.
    pub window_limited: bool,
    /// Whether the last segment sent filled the congestion window.
    pub congestion_limited: bool,

    // ---- sums over the connection's life: `None` where no side record counts them ----
    /// Bytes of ours that the peer has acknowledged.
    pub bytes_acked: Option<u64>,
    /// Bytes received in order.
    pub bytes_received: Option<u64>,
    /// Bytes sent, repetitions included.
    pub bytes_sent: Option<u64>,
    /// Bytes sent again.
    pub bytes_retransmitted: Option<u64>,
}

/// What a connection does about losses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Repair {
    /// Nothing: there are no signs of any.
    None,
    /// Acknowledgments repeat themselves, or report gaps: it waits for more.
    Doubt,
    /// Fast recovery.
    Fast,
    /// The retransmission timer has expired.
    Timeout,
}

impl Tcb {
    /// Figures of the connection that need nobody but itself.
    pub fn info(&self) -> Info {
        Info {
            state: self.state,
            window_scales: (self.scales.theirs() as u8, self.scales.ours() as u8),
            timestamps: self.marks.contains(Marks::TIMESTAMPS),
            sack: self.marks.contains(Marks::SACK),
            ecn: Some(self.marks.contains(Marks::ECN)),
            fast_open: None,
            srtt: self.rtt.is_known().then(|| self.rtt.smoothed()),
            rttvar: self.rtt.variation(),
            min_rtt: None,
            receiver_rtt: None,
            rto: Duration::ZERO,
            backoff: self.backoff,
            ack_timeout: None,
            since_received: Duration::ZERO,
            since_acked: None,
            since_sent: None,
            congestion: None,
            cwnd: self.congestion.cwnd,
            ssthresh: self.congestion.ssthresh,
            in_flight: self.in_flight(),
            sacked: None,
            lost: None,
            phase: self.repair(),
            reordering: None,
            retries: self.retries,
            retransmitted: self.retransmitted,
            probes: self.probes,
            delivery_rate: None,
            pacing_rate: None,
            snd_wnd: self.snd_wnd,
            rcv_wnd: self.receive_window(),
            rcv_space: 0,
            mss: self.mss,
            mss_max: self.mss_max,
            mss_received: self.peer_segment,
            mss_advertised: 0,
            path_mtu: None,
            probes_path: self.probes_path(),
            unread: 0,
            out_of_order: false,
            queued: 0,
            not_sent: 0,
            window_limited: false,
            congestion_limited: self.marks.contains(Marks::CWND_LIMITED),
            bytes_acked: None,
            bytes_received: None,
            bytes_sent: None,
            bytes_retransmitted: None,
        }
    }

    /// The same with what follows from the settings, the time and the queues.
    pub fn info_with(&self, cx: &Context<'_>, held: &Held) -> Info {
        let config = cx.config;
        let is_waiting = self.marks.contains(Marks::RESEND_ARMED);
        let not_sent = self.not_sent(held);
        let window_room = self.snd_wnd.saturating_sub(self.in_flight());
        Info {
            rto: self.timeout(config),
            ack_timeout: config.delayed_ack,
            since_received: self.last_heard.elapsed(cx.now),
            since_acked: (!is_waiting && self.state.is_synchronized())
                .then(|| self.resend_at.elapsed(cx.now)),
            congestion: Some(config.congestion),
            pacing_rate: self.pacing_rate(config),
            rcv_space: self.buffer_size(config),
            mss_advertised: config.mss,
            unread: held.unread,
            out_of_order: held.out_of_order,
            queued: held.queued,
            not_sent,
            window_limited: not_sent > 0 && window_room < not_sent.min(self.full()),
            ..self.info()
        }
    }

    /// [`info_with`](Self::info_with), and what is recorded while several segments are in flight.
    pub fn info_in_flight(&self, cx: &Context<'_>, held: &Held, flight: &Flight) -> Info {
        let (sacked, lost) = flight.sacked_and_lost();
        Info {
            min_rtt: flight.min_rtt_us().map(|us| Duration::from_micros(u64::from(us))),
            since_sent: flight.since_sent(cx),
            sacked: Some(sacked),
            lost: Some(lost),
            delivery_rate: flight.delivery_rate(),
            ..self.info_with(cx, held)
        }
    }

    fn repair(&self) -> Repair {
        match self.recovery.phase() {
            Phase::Fast => Repair::Fast,
            Phase::Timeout => Repair::Timeout,
            Phase::Open if self.in_flight() > 0 && self.recovery.duplicates() > 0 => Repair::Doubt,
            Phase::Open => Repair::None,
        }
    }

    /// Smoothed round-trip time, once there was a measurement.
    #[inline]
    pub fn round_trip(&self) -> Option<Duration> {
        self.rtt.is_known().then(|| self.rtt.smoothed())
    }

    /// The congestion window, in bytes.
    #[inline]
    pub const fn cwnd(&self) -> u32 {
        self.congestion.cwnd
    }

    /// How long ago the timestamp `echo`, which the peer sends back, was sent; `None` without timestamps.
    #[inline]
    pub fn echo_age(&self, cx: &Context<'_>, echo: u32) -> Option<Duration> {
        let known = self.marks.contains(Marks::TIMESTAMPS);
        known.then(|| Duration::from_millis(u64::from(self.timestamp(cx).wrapping_sub(echo))))
    }

    /// Bytes queued that were not sent yet.
    #[inline]
    pub fn not_sent(&self, held: &Held) -> u32 {
        held.queued.saturating_sub(self.bytes_in_flight())
    }
}

//! What is said of one socket, as JSON has it.

use std::net::IpAddr;

use freeway_base::Duration;
use freeway_stack::rows::{Row, Stage};
use freeway_tcp::{Info, Repair};
use serde::{Deserialize, Serialize};

use super::states::States;

/// A threshold so large was set by no loss.
const SSTHRESH_NONE: u32 = 1 << 30;

/// A socket's protocol.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Netid {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

/// One socket. Units are in the names; what is unknown is left out.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Socket {
    /// Its protocol.
    pub netid: Netid,
    /// Its state, by ss's names: `ESTAB`, `TIME-WAIT`, `LISTEN`; `UNCONN` for UDP.
    pub state: String,
    /// Bytes received and not read; connections that wait on a listener.
    pub recv_q: u32,
    /// Bytes queued and not acknowledged; the most connections that may wait on a listener.
    pub send_q: u32,
    /// Its own address; absent for all of the host's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub local: Option<IpAddr>,
    /// Its own port.
    pub local_port: u16,
    /// The peer's address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<IpAddr>,
    /// The peer's port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer_port: Option<u16>,
    /// The core that it lives on.
    pub core: u32,
    /// The service's number that it was opened with.
    pub service: u16,
    /// Connections open, of a listener.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open: Option<u32>,
    /// What is left of TIME-WAIT, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remaining_ms: Option<u64>,
    /// What TCP knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tcp: Option<Box<Details>>,
}

/// What TCP knows of a connection; see `freeway_tcp::Info` for the meaning of each.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct Details {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub congestion: Option<String>,
    pub timestamps: bool,
    pub sack: bool,
    pub ecn: bool,
    pub window_scale_peer: u8,
    pub window_scale: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rtt_us: Option<u64>,
    pub rttvar_us: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_rtt_us: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub receiver_rtt_us: Option<u64>,
    pub rto_us: u64,
    pub backoff: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ack_timeout_us: Option<u64>,
    pub since_received_ms: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since_acked_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since_sent_ms: Option<u64>,
    pub cwnd_bytes: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ssthresh_bytes: Option<u32>,
    pub in_flight_bytes: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sacked_bytes: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lost_bytes: Option<u32>,
    pub recovery: String,
    pub retries: u8,
    pub retransmitted_segments: u16,
    pub probes: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delivery_rate_bytes_per_s: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pacing_rate_bytes_per_s: Option<u64>,
    pub send_window_bytes: u32,
    pub receive_window_bytes: u32,
    pub receive_space_bytes: u32,
    pub mss_bytes: u16,
    pub mss_received_bytes: u16,
    pub mss_advertised_bytes: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path_mtu_bytes: Option<u16>,
    pub out_of_order: bool,
    pub not_sent_bytes: u32,
    pub window_limited: bool,
    pub congestion_limited: bool,
}

impl Socket {
    /// What a row of `core` says.
    pub fn of(core: u32, row: &Row) -> Self {
        let Row { stage, local, local_port, peer, service, receive_queue, send_queue, remaining, info } = row;
        Self {
            netid: if *stage == Stage::Udp { Netid::Udp } else { Netid::Tcp },
            state: States::of(*stage).shown().to_owned(),
            recv_q: *receive_queue,
            send_q: *send_queue,
            local: *local,
            local_port: *local_port,
            peer: peer.map(|peer| peer.ip()),
            peer_port: peer.map(|peer| peer.port()),
            core,
            service: *service,
            open: if let Stage::Listener { open } = stage { Some(*open) } else { None },
            remaining_ms: remaining.map(Duration::as_millis),
            tcp: info.as_ref().map(|info| Box::new(Details::of(info))),
        }
    }
}

impl Details {
    fn of(info: &Info) -> Self {
        // A threshold that no loss has set is no threshold.
        let ssthresh = Some(info.ssthresh).filter(|&ssthresh| ssthresh < SSTHRESH_NONE);
        let recovery = match info.phase {
            Repair::None => "open",
            Repair::Doubt => "disorder",
            Repair::Fast => "recovery",
            Repair::Timeout => "loss",
        };
        Self {
            congestion: info.congestion.map(|algorithm| algorithm.to_string()),
            timestamps: info.timestamps,
            sack: info.sack,
            ecn: info.ecn == Some(true),
            window_scale_peer: info.window_scales.0,
            window_scale: info.window_scales.1,
            rtt_us: info.srtt.map(Duration::as_micros),
            rttvar_us: info.rttvar.as_micros(),
            min_rtt_us: info.min_rtt.map(Duration::as_micros),
            receiver_rtt_us: info.receiver_rtt.map(Duration::as_micros),
            rto_us: info.rto.as_micros(),
            backoff: info.backoff,
            ack_timeout_us: info.ack_timeout.map(Duration::as_micros),
            since_received_ms: info.since_received.as_millis(),
            since_acked_ms: info.since_acked.map(Duration::as_millis),
            since_sent_ms: info.since_sent.map(Duration::as_millis),
            cwnd_bytes: info.cwnd,
            ssthresh_bytes: ssthresh,
            in_flight_bytes: info.in_flight,
            sacked_bytes: info.sacked,
            lost_bytes: info.lost,
            recovery: recovery.to_owned(),
            retries: info.retries,
            retransmitted_segments: info.retransmitted,
            probes: info.probes,
            delivery_rate_bytes_per_s: info.delivery_rate,
            pacing_rate_bytes_per_s: info.pacing_rate,
            send_window_bytes: info.snd_wnd,
            receive_window_bytes: info.rcv_wnd,
            receive_space_bytes: info.rcv_space,
            mss_bytes: info.mss,
            mss_received_bytes: info.mss_received,
            mss_advertised_bytes: info.mss_advertised,
            path_mtu_bytes: info.path_mtu,
            out_of_order: info.out_of_order,
            not_sent_bytes: info.not_sent,
            window_limited: info.window_limited,
            congestion_limited: info.congestion_limited,
        }
    }
}

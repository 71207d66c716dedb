//! What two SYNs agree on (RFC 9293, section 3.7.1; RFC 7323, sections 2.2 and 3.2; RFC 2018).

use freeway_wire::tcp::{Options, Timestamps};

use crate::config::Config;
use crate::tcb::Scales;

/// Bytes that timestamps take from every segment, padding included.
pub(crate) const TIMESTAMPS_LEN: u16 = 12;

/// No peer makes us cut segments finer than this, whatever MSS it claims.
const MSS_MIN: u16 = 88;

/// RFC 7323, section 2.3: larger shifts count as this.
const SCALE_MAX: u8 = 14;

/// What both sides will do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Agreed {
    /// The longest segment, options included, that may be sent.
    pub(crate) mss: u16,
    pub(crate) timestamps: bool,
    pub(crate) sack: bool,
    /// Set by whoever sees the SYN's control bits: see `ecn`.
    pub(crate) ecn: bool,
    pub(crate) scales: Scales,
}

impl Agreed {
    /// Before the peer has spoken: for sizes only.
    pub(crate) fn none(config: &Config) -> Self {
        Self {
            mss: config.mss.max(MSS_MIN),
            timestamps: config.timestamps,
            sack: false,
            ecn: false,
            scales: Scales::default(),
        }
    }

    /// What our offer and the peer's SYN have in common.
    pub(crate) fn new(config: &Config, peer: &Options) -> Self {
        // MUST-15, MUST-16.
        let mss = peer.mss.unwrap_or(config.default_mss).min(config.mss).max(MSS_MIN);
        // RFC 7323, section 2.2: both or none.
        let scales = match peer.window_scale {
            Some(theirs) if config.window_scale => Scales::new(theirs.min(SCALE_MAX), shift(config)),
            _ => Scales::default(),
        };
        Self {
            mss,
            timestamps: config.timestamps && peer.timestamps.is_some(),
            sack: config.sack && peer.sack_permitted,
            ecn: false,
            scales,
        }
    }
}

/// Payload of a full segment, once options took their share.
pub(crate) fn payload_of(mss: u16, timestamps: bool) -> u16 {
    mss.max(MSS_MIN) - if timestamps { TIMESTAMPS_LEN } else { 0 }
}

/// The shift that lets 16 bits hold the largest receive window.
pub(crate) fn shift(config: &Config) -> u8 {
    let bits = u32::BITS - config.receive_window_limit().leading_zeros();
    bits.saturating_sub(16).min(u32::from(SCALE_MAX)) as u8
}

/// The options of a SYN: our offer, or, in a SYN-ACK, the part of it that the peer offered too.
pub(crate) fn syn_options(
    config: &Config,
    answer_to: Option<&Agreed>,
    scaled: bool,
    stamps: Timestamps,
) -> Options {
    let (timestamps, sack, window_scale) = match answer_to {
        None => (config.timestamps, config.sack, config.window_scale),
        Some(agreed) => (agreed.timestamps, agreed.sack, scaled),
    };
    Options {
        mss: Some(config.mss),
        window_scale: window_scale.then(|| shift(config)),
        sack_permitted: sack,
        timestamps: timestamps.then_some(stamps),
        ..Options::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shift_is_the_least_that_holds_the_window() {
        let of =
            |receive_window| shift(&Config { receive_window, receive_window_max: 0, ..Config::default() });
        assert_eq!(of(0), 0);
        assert_eq!(of(65_535), 0);
        assert_eq!(of(65_536), 1);
        assert_eq!(of(256 << 10), 3);
        assert_eq!(of(u32::MAX), 14);
        assert_eq!(shift(&Config::default()), 7);
    }

    #[test]
    fn a_peer_without_options_gets_the_defaults() {
        let agreed = Agreed::new(&Config::default(), &Options::default());
        assert_eq!(
            agreed,
            Agreed { mss: 536, timestamps: false, sack: false, ecn: false, scales: Scales::default() }
        );
    }

    #[test]
    fn a_shift_above_14_counts_as_14() {
        let peer = Options { window_scale: Some(200), ..Options::default() };
        assert_eq!(Agreed::new(&Config::default(), &peer).scales.theirs(), 14);
    }

    #[test]
    fn scaling_is_for_both_or_for_none() {
        let agreed = Agreed::new(&Config::default(), &Options { mss: Some(1_000), ..Options::default() });
        assert_eq!((agreed.scales.ours(), agreed.scales.theirs()), (0, 0));
        let off = Config { window_scale: false, ..Config::default() };
        let agreed = Agreed::new(&off, &Options { window_scale: Some(7), ..Options::default() });
        assert_eq!((agreed.scales.ours(), agreed.scales.theirs()), (0, 0));
    }

    #[test]
    fn an_absurd_mss_is_not_obeyed() {
        let peer = Options { mss: Some(0), timestamps: Some(Timestamps::default()), ..Options::default() };
        let agreed = Agreed::new(&Config::default(), &peer);
        assert_eq!(payload_of(agreed.mss, agreed.timestamps), MSS_MIN - TIMESTAMPS_LEN);
    }
}

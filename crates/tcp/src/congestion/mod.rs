//! Congestion control: how much may be in flight (RFC 5681).
//!
//! The connection reports what happened; the controller moves the window. Everything else (which bytes are
//! lost, what to send again) is `recovery`'s. A new algorithm is a variant of [`Algorithm`], a file beside
//! `new_reno` that implements `Controller`, and an arm in `Congestion`'s three matches.
//!
//! What an algorithm knows lies in two places. `Congestion`, three words in every connection, outlives everything. An `Epoch` exists only while several segments are in flight, and is lost when they are
//! acknowledged or when there was no room for one: then windows grow by plain slow start, and by no more than
//! RFC 5681 allows.
//!
//! | file | idea |
//! |---|---|
//! | `slow_start`, `hystart` | doubling, and when to stop it before a loss does (RFC 3465, RFC 9406) |
//! | `new_reno` | a segment more each round trip, half after a loss (RFC 5681) |
//! | `cubic`, `cube_root` | a cubic of the time since the last loss (RFC 9438) |
//! | `dctcp` | as far down as marks are frequent (RFC 8257) |
//! | `epoch` | what is known while data is in flight: the round trip, the way back from a mistaken reduction |

mod cube_root;
mod cubic;
mod dctcp;
mod epoch;
mod hystart;
mod new_reno;
mod slow_start;

#[cfg(test)]
mod tests;

use core::str::FromStr;

use freeway_wire::tcp::SeqNumber;

use cubic::Cubic;
use dctcp::Dctcp;
use epoch::Snapshot;
use new_reno::NewReno;

use crate::config::Config;

pub(crate) use epoch::{Epoch, RECIPROCAL_BITS};

/// Which algorithm moves the congestion window.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[non_exhaustive]
pub enum Algorithm {
    /// RFC 9438: fills fast, long paths, and is fair to RFC 5681 on short ones.
    #[default]
    Cubic,
    /// RFC 5681 with RFC 6582.
    NewReno,
    /// RFC 8257, for data centres whose switches mark early: its queues stay short. Needs ECN on both
    /// sides, and a peer that echoes marks as RFC 8257 says; next to loss-based flows it starves.
    Dctcp,
}

impl Algorithm {
    /// Every algorithm.
    pub const ALL: [Self; 3] = [Self::Cubic, Self::NewReno, Self::Dctcp];

    /// Its name on command lines and in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cubic => "cubic",
            Self::NewReno => "newreno",
            Self::Dctcp => "dctcp",
        }
    }
}

impl core::fmt::Display for Algorithm {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.pad(self.name())
    }
}

/// No algorithm has this name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UnknownAlgorithm;

impl core::fmt::Display for UnknownAlgorithm {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("congestion control is one of cubic, newreno, dctcp")
    }
}

impl core::error::Error for UnknownAlgorithm {}

impl FromStr for Algorithm {
    type Err = UnknownAlgorithm;

    fn from_str(name: &str) -> Result<Self, UnknownAlgorithm> {
        Self::ALL.into_iter().find(|algorithm| algorithm.name() == name).ok_or(UnknownAlgorithm)
    }
}

/// The state of every algorithm that outlives a flight.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub(crate) struct Congestion {
    /// What may be in flight, in bytes.
    pub(crate) cwnd: u32,
    /// Below it the window doubles each round trip, above it the algorithm decides. In bytes; [`CWND_MAX`] before the
    /// first reduction.
    pub(crate) ssthresh: u32,
    /// The algorithm's own word. NewReno: bytes acknowledged since the window last grew. CUBIC: W_max in bytes, 0 when
    /// it is not known. DCTCP: what alpha lacks of 1, in 65536ths.
    memory: u32,
}

/// One acknowledgment of new data.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ack {
    /// The clock in microseconds, modulo 2^32.
    pub(crate) now_us: u32,
    /// Bytes of payload it acknowledges for the first time.
    pub(crate) bytes: u32,
    /// SND.UNA, this acknowledgment included.
    pub(crate) una: SeqNumber,
    /// SND.NXT.
    pub(crate) nxt: SeqNumber,
    /// The round trip that it measured, if it did.
    pub(crate) rtt_us: Option<u32>,
    /// The smoothed round trip; 0 if there was no measurement yet.
    pub(crate) srtt_us: u32,
    /// It echoes a congestion mark: counted by those who count, and no reason to grow (RFC 3168, section 6.1.2).
    pub(crate) marked: bool,
    /// The window was what limited the sender (RFC 5681 lets it grow only then; RFC 7661 says why).
    pub(crate) limited: bool,
    /// What a time-out declared lost is still being sent again.
    pub(crate) after_timeout: bool,
}

/// What an algorithm decides.
pub(crate) trait Controller {
    /// Congestion avoidance: new data was acknowledged while the window was what limited the sender.
    fn avoid(window: &mut Congestion, epoch: Option<&mut Epoch>, mss: u32, ack: &Ack);

    /// Data was lost, `flight` bytes being out: the new ssthresh, before the bound that all share.
    fn reduced(window: &mut Congestion, epoch: Option<&mut Epoch>, flight: u32) -> u32;

    /// The path marked a segment instead of dropping it: the new ssthresh, likewise.
    fn marked(window: &mut Congestion, epoch: Option<&mut Epoch>, flight: u32) -> u32 {
        Self::reduced(window, epoch, flight)
    }

    /// After `reduced`, when a time-out was what told of the loss.
    fn forget(_window: &mut Congestion) {}
}

/// No window grows beyond what sequence numbers can tell apart.
pub(crate) const CWND_MAX: u32 = 1 << 30;

impl Congestion {
    /// The window of a new connection.
    pub(crate) fn new(config: &Config, mss: u32, syn_was_lost: bool) -> Self {
        let cwnd = if syn_was_lost { mss } else { initial_window(config, mss) };
        Self { cwnd, ssthresh: CWND_MAX, memory: 0 }
    }

    /// Whether the window doubles each round trip.
    pub(crate) const fn in_slow_start(&self) -> bool {
        self.cwnd < self.ssthresh
    }

    /// New data was acknowledged. To be called for every such acknowledgment when there is an `epoch`; without one it
    /// is enough to call it when the window limited the sender. Not during fast recovery.
    pub(crate) fn on_ack(&mut self, config: &Config, mut epoch: Option<&mut Epoch>, mss: u32, ack: &Ack) {
        let mut caution = slow_start::Caution::None;
        if let Some(epoch) = epoch.as_deref_mut() {
            epoch.begin_ack(self.cwnd, ack);
            match config.congestion {
                Algorithm::Dctcp => dctcp::observe(self, epoch, ack),
                Algorithm::Cubic if config.hystart && self.ssthresh == CWND_MAX => {
                    caution = epoch.hystart.on_ack(ack, self.cwnd, mss, config.pacing);
                }
                Algorithm::Cubic | Algorithm::NewReno => {}
            }
        }
        if caution == slow_start::Caution::Stop {
            // RFC 9406, section 4.2: the last round of conservative slow start is over; or the path is full.
            self.ssthresh = self.cwnd;
        }
        if ack.limited && !ack.marked {
            if self.in_slow_start() {
                slow_start::grow(self, config, caution, mss, ack);
            } else {
                self.avoid(config.congestion, epoch.as_deref_mut(), mss, ack);
            }
            self.cwnd = self.cwnd.min(CWND_MAX);
        }
        if let Some(epoch) = epoch {
            epoch.end_ack(ack);
        }
    }

    fn avoid(&mut self, algorithm: Algorithm, epoch: Option<&mut Epoch>, mss: u32, ack: &Ack) {
        match algorithm {
            Algorithm::Cubic => Cubic::avoid(self, epoch, mss, ack),
            Algorithm::NewReno => NewReno::avoid(self, epoch, mss, ack),
            Algorithm::Dctcp => Dctcp::avoid(self, epoch, mss, ack),
        }
    }

    /// A loss was noticed by acknowledgments, `flight` bytes being out: the new ssthresh. `recovery` shapes the window.
    pub(crate) fn on_loss(&mut self, config: &Config, mut epoch: Option<&mut Epoch>, mss: u32, flight: u32) {
        if let Some(epoch) = epoch.as_deref_mut() {
            epoch.undo = Some(Snapshot::of(self, epoch));
        }
        let reduced = match config.congestion {
            Algorithm::Cubic => Cubic::reduced(self, epoch.as_deref_mut(), flight),
            Algorithm::NewReno => NewReno::reduced(self, epoch.as_deref_mut(), flight),
            Algorithm::Dctcp => Dctcp::reduced(self, epoch.as_deref_mut(), flight),
        };
        self.ssthresh = reduced.clamp(2 * mss, CWND_MAX);
        if let Some(epoch) = epoch {
            epoch.begin_anew();
        }
    }

    /// The retransmission timer expired: begin anew with one segment (RFC 5681, section 3.1). When the same data
    /// was sent again before, ssthresh stays (equation 4's condition).
    pub(crate) fn on_timeout(
        &mut self,
        config: &Config,
        mut epoch: Option<&mut Epoch>,
        mss: u32,
        flight: u32,
        first: bool,
    ) {
        if first {
            self.on_loss(config, epoch.as_deref_mut(), mss, flight);
            match config.congestion {
                Algorithm::Cubic => Cubic::forget(self),
                Algorithm::NewReno => NewReno::forget(self),
                Algorithm::Dctcp => Dctcp::forget(self),
            }
        }
        self.cwnd = mss;
        if let Some(epoch) = epoch {
            epoch.begin_anew();
        }
    }

    /// An acknowledgment echoes a congestion mark, the first of its window: as after a loss, but nothing is to be sent
    /// again (RFC 3168, section 6.1.2; RFC 9438, section 4.6).
    pub(crate) fn on_mark(&mut self, config: &Config, mut epoch: Option<&mut Epoch>, mss: u32, flight: u32) {
        let reduced = match config.congestion {
            Algorithm::Cubic => Cubic::marked(self, epoch.as_deref_mut(), flight),
            Algorithm::NewReno => NewReno::marked(self, epoch.as_deref_mut(), flight),
            Algorithm::Dctcp => Dctcp::marked(self, epoch.as_deref_mut(), flight),
        };
        // RFC 9438, section 4.6: one segment is the least window after a mark, two after a loss.
        self.cwnd = reduced.clamp(mss, self.cwnd.max(mss));
        self.ssthresh = reduced.clamp(2 * mss, CWND_MAX);
        if let Some(epoch) = epoch {
            epoch.begin_anew();
        }
    }

    /// The loss that `on_loss` or `on_timeout` was told of last turns out not to have been one: back to where the
    /// window was (RFC 4015; RFC 9438, section 4.9). Returns whether that is known: it is while the epoch lasts.
    pub(crate) fn undo(&mut self, epoch: &mut Epoch) -> bool {
        let Some(snapshot) = epoch.undo.take() else { return false };
        snapshot.restore(self, epoch);
        true
    }

    /// Nothing was in flight for longer than the time-out: what was known of the path is old (RFC 5681, 4.1).
    pub(crate) fn after_idle(&mut self, config: &Config, epoch: Option<&mut Epoch>, mss: u32) {
        self.cwnd = self.cwnd.min(initial_window(config, mss));
        if let Some(epoch) = epoch {
            epoch.begin_anew();
        }
    }
}

/// RFC 6928: min(10 MSS, max(2 MSS, 14600)), with the number of segments a setting.
fn initial_window(config: &Config, mss: u32) -> u32 {
    let segments = u32::from(config.initial_window.max(1));
    (segments * mss).min((2 * mss).max(segments * 1460))
}

/// A part of `bytes`, in 65536ths.
const fn share(bytes: u32, part: u32) -> u32 {
    ((bytes as u64 * part as u64) >> 16) as u32
}

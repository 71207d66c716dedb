//! Errors of the path (RFC 9293, section 3.9.2.2; RFC 5927; RFC 1191 and 8201).

use freeway_wire::tcp::SeqNumber;

use crate::config::Context;
use crate::outcome::Events;
use crate::state::State;
use crate::tcb::{Marks, Tcb};

/// What an ICMP error means for a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum IcmpError {
    /// It may pass: network or host unreachable, time exceeded, parameter problem (MUST-56).
    Soft,
    /// Protocol or port unreachable, or administratively so (SHLD-26).
    Hard,
    /// A segment was too big for the path.
    PacketTooBig {
        /// What the path leaves to TCP: the MTU in the message less the IP header and 20 bytes. The caller keeps
        /// it above the least that the IP version allows.
        mss: u16,
    },
}

impl Tcb {
    /// An ICMP error quotes a segment of ours that began at `seq`.
    ///
    /// Believed only if that lies in flight (RFC 5927, section 4.1); and no such message ends a connection that is
    /// open, because anybody on the way, or off it, could send one (section 5.2). "Too big" is believed if it
    /// narrows the path: then [`Events::PATH`] is reported, and else the message told nothing.
    pub fn on_icmp(&mut self, cx: &Context<'_>, error: IcmpError, seq: SeqNumber) -> Events {
        let opening = matches!(self.state, State::SynSent | State::SynReceived);
        let is_ours = seq.in_window(self.snd_una, self.in_flight()) || opening && seq == self.syn_seq();
        if !is_ours {
            return Events::empty();
        }
        match error {
            IcmpError::Hard if opening => {
                self.end();
                Events::REFUSED
            }
            IcmpError::Hard | IcmpError::Soft => Events::SOFT_ERROR,
            IcmpError::PacketTooBig { mss } => self.on_narrow_path(cx, mss, seq),
        }
    }

    /// Segments in flight are too big, from the one at `seq` on: cut anew and sent again at once, without blaming
    /// congestion (RFC 1191, section 6.4). What was sent before it has passed that router, or a message of its own will
    /// not narrow the path any more: then it is missed as any other that is lost.
    fn on_narrow_path(&mut self, cx: &Context<'_>, mss: u16, seq: SeqNumber) -> Events {
        let before = self.mss;
        self.set_path_mss(mss.min(self.path_mss()));
        if self.mss == before {
            return Events::empty();
        }
        if self.state.transmits() && self.in_flight() > 0 {
            self.recovery.resend_all(seq.max(self.snd_una), self.snd_nxt);
            self.marks.insert(Marks::UNEVEN);
            self.arm_resend(cx);
        }
        Events::PATH
    }
}

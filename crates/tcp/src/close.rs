//! The ends of a connection: CLOSE, ABORT, and what follows the acknowledgment of a FIN.

use freeway_wire::tcp::{Flags, SackBlocks};

use crate::arrival::Step;
use crate::clock::Tick;
use crate::config::Context;
use crate::outcome::{Events, Outcome};
use crate::segment::Outgoing;
use crate::state::State;
use crate::tcb::{Marks, Tcb};

/// What is armed or owed only while a connection lives.
const LIVELY: Marks = Marks::RESEND_ARMED
    .union(Marks::ACK_ARMED)
    .union(Marks::PACED)
    .union(Marks::SLOW_ARMED)
    .union(Marks::PERSIST)
    .union(Marks::PROBE_NOW)
    .union(Marks::SYN_NOW)
    .union(Marks::RESEND_NOW)
    .union(Marks::FORCE);

impl Tcb {
    /// The user's CLOSE (RFC 9293, section 3.10.4): no more data; a FIN follows what is queued. The peer may
    /// still send. In SYN-SENT the connection is simply gone: the state is CLOSED afterwards.
    pub fn close(&mut self) {
        match self.state {
            State::SynSent => self.end(),
            // The FIN waits for the handshake.
            State::SynReceived => self.marks.insert(Marks::FIN_WANTED),
            State::Established => {
                self.marks.insert(Marks::FIN_WANTED);
                self.state = State::FinWait1;
            }
            State::CloseWait => {
                self.marks.insert(Marks::FIN_WANTED);
                self.state = State::LastAck;
            }
            State::Closed
            | State::FinWait1
            | State::FinWait2
            | State::Closing
            | State::LastAck
            | State::TimeWait => {}
        }
    }

    /// The user's ABORT (RFC 9293, section 3.10.5): the connection is CLOSED at once, and the reset that the
    /// peer is to get is returned, where it is due one.
    ///
    /// It carries a timestamp where they were agreed on (RFC 7323, section 3.2: SHOULD).
    pub fn abort(&mut self, cx: &Context<'_>) -> Option<Outgoing> {
        let informs = matches!(
            self.state,
            State::SynReceived | State::Established | State::FinWait1 | State::FinWait2 | State::CloseWait
        );
        self.end();
        informs.then(|| Outgoing {
            options: self.options(cx, SackBlocks::NONE),
            ..Outgoing::control(Flags::RST | Flags::ACK, self.snd_nxt, self.rcv_nxt)
        })
    }

    /// CLOSED, whatever was before.
    pub(crate) fn end(&mut self) {
        self.state = State::Closed;
        self.marks.remove(LIVELY | Marks::ACK_NOW);
    }

    /// TIME-WAIT: nothing is in flight, nothing is armed; the peer's FIN may still have to be acknowledged.
    pub(crate) fn enter_time_wait(&mut self, cx: &Context<'_>) -> Events {
        self.state = State::TimeWait;
        self.last_heard = Tick::at(cx.now);
        self.marks.remove(LIVELY);
        Events::TIME_WAIT
    }

    /// The end of the fifth step: has our FIN been acknowledged?
    pub(crate) fn after_ack_of_fin(&mut self, cx: &Context<'_>, outcome: &mut Outcome) -> Step {
        if !self.fin_is_acked() {
            return Step::Continue(());
        }
        match self.state {
            State::FinWait1 => {
                self.state = State::FinWait2;
                self.arm_fin_wait_2(cx);
                Step::Continue(())
            }
            State::Closing => {
                outcome.events |= self.enter_time_wait(cx);
                Step::Break(())
            }
            State::LastAck => {
                self.end();
                outcome.events |= Events::CLOSED;
                Step::Break(())
            }
            _ => Step::Continue(()),
        }
    }
}

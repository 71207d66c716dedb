//! The tail loss probe (RFC 8985, section 7).
//!
//! When the last segments of a flight are lost nothing arrives that could tell. Two round trips after the last was sent
//! one segment more goes out, new data if there is some, else the last segment again: what the peer says to that lets
//! RACK find the losses long before the retransmission timer would.

use freeway_wire::tcp::SeqNumber;

/// Where the probing of a flight is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Probe {
    /// None is out.
    #[default]
    None,
    /// One is to be sent now.
    Due,
    /// One is out.
    Sent {
        /// TLP.end_seq: SND.NXT behind it.
        end: SeqNumber,
        /// TLP.is_retrans: it repeated what had been sent.
        is_repeated: bool,
    },
}

/// What an acknowledgment says of a probe.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Answer {
    /// Nothing (yet).
    None,
    /// No loss was hidden by it.
    Harmless,
    /// It has repaired a loss, which nothing else will tell of: congestion control must hear of it.
    Repaired,
}

impl Probe {
    /// The probe was sent, as the end of all that is in flight.
    pub(crate) const fn sent(end: SeqNumber, is_repeated: bool) -> Self {
        Self::Sent { end, is_repeated }
    }

    /// Section 7.4.1 and 7.4.2: an acknowledgment up to `ack`. `duplicate` is the end of what the peer says to have
    /// got twice, `is_bare` that it moves nothing and reports nothing.
    pub(crate) fn on_ack(&mut self, ack: SeqNumber, duplicate: Option<SeqNumber>, is_bare: bool) -> Answer {
        let Self::Sent { end, is_repeated } = *self else { return Answer::None };
        if ack.is_before(end) {
            return Answer::None;
        }
        let answer = if !is_repeated || duplicate == Some(end) {
            Answer::Harmless
        } else if ack.is_after(end) {
            Answer::Repaired
        } else if is_bare {
            // Original and probe have both been acknowledged.
            Answer::Harmless
        } else {
            return Answer::None;
        };
        *self = Self::None;
        answer
    }

    /// Whether what the peer says next may tell of a repair.
    pub(crate) const fn is_pending(&self) -> bool {
        matches!(self, Self::Sent { is_repeated: true, .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const END: SeqNumber = SeqNumber(5);

    fn answers(is_repeated: bool, acks: &[(SeqNumber, Option<SeqNumber>, bool)]) -> Answer {
        let mut probe = Probe::sent(END, is_repeated);
        for &(ack, duplicate, is_bare) in acks {
            match probe.on_ack(ack, duplicate, is_bare) {
                Answer::None => {}
                answer => {
                    assert_eq!(probe, Probe::None);
                    return answer;
                }
            }
        }
        Answer::None
    }

    #[test]
    fn new_data_hides_no_loss() {
        assert_eq!(answers(false, &[(END - 1, None, true)]), Answer::None);
        assert_eq!(answers(false, &[(END, None, false)]), Answer::Harmless);
    }

    #[test]
    fn a_repetition_that_was_not_needed_is_reported_or_acknowledged_twice() {
        assert_eq!(answers(true, &[(END, Some(END), false)]), Answer::Harmless);
        assert_eq!(answers(true, &[(END, None, false), (END, None, true)]), Answer::Harmless);
        assert_eq!(answers(true, &[(END, None, false), (END, Some(END), false)]), Answer::Harmless);
    }

    #[test]
    fn a_repetition_that_was_acknowledged_once_has_repaired_a_loss() {
        assert_eq!(answers(true, &[(END, None, false)]), Answer::None);
        assert_eq!(answers(true, &[(END, None, false), (END + 1, None, false)]), Answer::Repaired);
        assert_eq!(answers(true, &[(END + 1, None, false)]), Answer::Repaired);
    }
}

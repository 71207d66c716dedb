//! Initial sequence numbers and timestamp offsets that strangers cannot guess.

use freeway_base::{HashKey, Instant};
use freeway_wire::tcp::SeqNumber;

/// The initial sequence number of a flow: ISN = M + F(flow, secret) (RFC 6528, section 3; RFC 9293, MUST-8,
/// MUST-9).
///
/// M advances every 4.096 microseconds, so that the next connection of the same flow begins beyond the last one's
/// numbers. `flow` is the four-tuple in any fixed form.
pub fn isn(key: HashKey, flow: &[u8], now: Instant) -> SeqNumber {
    let m = (now.as_nanos() >> 12) as u32;
    SeqNumber((key.hash(flow) as u32).wrapping_add(m))
}

/// What a flow's timestamps add to the clock (RFC 7323, section 5.4, and 7): another half of the same hash, so
/// that timestamps of one flow continue over its connections, and those of different flows tell nothing.
pub fn timestamp_offset(key: HashKey, flow: &[u8]) -> u32 {
    (key.hash(flow) >> 32) as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use freeway_base::Duration;

    #[test]
    fn a_flow_advances_by_the_clock_and_flows_differ() {
        let key = HashKey::new([3, 5]);
        let now = Instant::from_secs(10);
        let first = isn(key, b"flow a", now);
        let second = isn(key, b"flow a", now + Duration::from_micros(4_096));
        assert_eq!(second.distance_from(first), 1_000);
        assert_ne!(first, isn(key, b"flow b", now));
        assert_ne!(first, isn(HashKey::new([3, 6]), b"flow a", now));
        assert_ne!(timestamp_offset(key, b"flow a"), timestamp_offset(key, b"flow b"));
    }
}

//! Which drops have a reason in the weather or in what visitors do, and which have none.

use anyhow::{Result, ensure};

/// Counters, as `GROUP.NAME`.
pub(super) type Counters = Vec<(String, u64)>;

/// Words in a name that tell of something that went wrong, was refused or given up.
const BAD: [&str; 12] = [
    "aborted", "busy", "dropped", "errors", "failed", "limited", "no", "refused", "rejected", "shed",
    "starved", "stalled",
];

/// What the bridge and the visitors bring about: spoilt and cut frames, forgotten neighbours, peers that are killed, requests
/// for connections that are gone, and full devices.
const EXPLAINED: [&str; 47] = [
    // A flipped bit can make anything of a header behind Ethernet's, which the bridge leaves alone.
    "net.dropped_ip_checksum",
    "net.dropped_arp",
    "net.dropped_fragment",
    "net.dropped_icmp",
    "net.dropped_icmp_quote",
    "net.dropped_length",
    "net.dropped_martian",
    "net.dropped_ndp",
    "net.dropped_not_local",
    "net.dropped_options",
    "net.dropped_own_source",
    "net.dropped_protocol",
    "net.dropped_source_route",
    "net.dropped_truncated",
    "net.dropped_version",
    "net.dropped_duplicate",
    "tcp.dropped_checksum",
    "tcp.dropped_malformed",
    "udp.dropped_checksum",
    "udp.dropped_malformed",
    "udp.dropped_no_socket",
    "udp.dropped_no_route",
    // Groups that Linux speaks to and the server is in none of.
    "net.dropped_other_mac",
    // Addresses that are gone answer nobody.
    "net.dropped_unresolved",
    "net.dropped_no_route",
    "net.dropped_echo_group",
    "net.dropped_too_big",
    // What is sent twice, overtaken, or sent after the end of a connection.
    "tcp.sack_rejected",
    "tcp.dropped_duplicate",
    "tcp.dropped_no_listener",
    "tcp.dropped_unacceptable",
    // A killed load generator takes its rings with it.
    "port memif.tx_dropped_no_link",
    "port memif.rx_errors",
    // A load generator that reads without an end fills the rings: TCP waits for room, nobody else does.
    "port fw0.tx_full",
    "port memif.tx_full",
    "net.dropped_tx_full",
    // What cores hand to each other waits while one of them has no processor: here they share theirs with all visitors.
    "mail.dropped_full",
    "cache questions.refused",
    "cache answers.refused",
    // A writer that is told to wait until its peer has read.
    "tcp.starved_writes",
    // Ports whose connections were given up by their peers.
    "http.aborted_file",
    "tcp.closed_aborted",
    // What the server says of a protocol that a flipped bit made; and Linux of an address, or a port, that is gone.
    "net.errors_out",
    "net.errors_in",
    // Segments for connections that a killed peer has forgotten.
    "tcp.limited_challenges",
    // A peer that answers nothing for a while.
    "tcp.stalled",
    "cache server.stalled",
];

fn is_bad(name: &str) -> bool {
    let name = name.rsplit('.').next().unwrap_or(name);
    name != "busy_turns" && name.split('_').any(|word| BAD.contains(&word))
}

/// Looks that nothing was dropped without a reason.
pub(super) fn unexplained(counters: &Counters) -> Result<()> {
    let found: Vec<String> = counters
        .iter()
        .filter(|(name, count)| *count > 0 && is_bad(name) && !EXPLAINED.contains(&name.as_str()))
        .map(|(name, count)| format!("{name} {count}"))
        .collect();
    ensure!(found.is_empty(), "neither weather nor visitors account for: {}", found.join(", "));
    Ok(())
}

/// What was dropped or refused, for whatever reason.
pub(super) fn dropped(counters: &Counters) -> Counters {
    counters.iter().filter(|(name, count)| *count > 0 && is_bad(name)).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(name: &str, count: u64) -> Counters {
        vec![(name.to_owned(), count)]
    }

    #[test]
    fn only_what_has_a_reason_passes() {
        assert!(unexplained(&one("tcp.dropped_checksum", 7)).is_ok());
        assert!(unexplained(&one("mail.dropped_too_long", 0)).is_ok());
        assert!(unexplained(&one("mail.dropped_too_long", 1)).is_err());
        assert!(unexplained(&one("tcp.segments_in", 1)).is_ok());
        assert_eq!(dropped(&one("tcp.dropped_checksum", 7)).len(), 1);
        assert!(dropped(&one("tcp.segments_in", 7)).is_empty());
    }
}

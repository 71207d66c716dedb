//! What a core's HTTP server counts.

freeway_base::counters! {
    /// Requests, answers, and everything that was refused or given up, by reason.
    pub struct HttpCounters {
        /// Connections accepted.
        connections,
        /// Requests whose head was whole and well-formed.
        requests,
        /// Heads that were no HTTP, or could be read in two ways.
        malformed,
        /// Answers of 100 to 199, 101 included.
        status_1xx,
        /// Answers of 200 to 299.
        status_2xx,
        /// Answers of 300 to 399.
        status_3xx,
        /// Answers of 400 to 499.
        status_4xx,
        /// Answers of 500 to 599.
        status_5xx,
        /// Connections closed because a request's head did not arrive in time.
        timed_out_head,
        /// Connections closed because a request's body came too slowly.
        timed_out_body,
        /// Connections closed because the client took the answer too slowly.
        timed_out_send,
        /// Connections closed because no request came.
        timed_out_idle,
        /// Requests refused because their address made too many.
        refused_rate,
        /// Requests refused because too many were under way.
        refused_exchanges,
        /// Bodies refused because of their size.
        refused_body,
        /// Connections given up because the stack took no more items or buffers in the middle of an answer.
        aborted_no_room,
        /// Connections given up because a file became shorter, or could not be read, while it was sent.
        aborted_file,
        /// Parts of documents read from disk.
        disk_reads,
        /// Lines of the access log dropped because its thread was behind.
        log_dropped,
        /// Subscribers that were let in.
        subscribed,
        /// Subscribers refused because a topic was full.
        refused_subscribers,
        /// Messages sent to subscribers, each counted.
        broadcast,
        /// Messages that passed over a subscriber that was behind.
        broadcast_skipped,
        /// Messages dropped because too many waited.
        broadcast_dropped,
        /// WebSockets closed because the client broke the protocol.
        websocket_failed,
        /// TLS handshakes completed.
        tls_handshakes,
        /// Those of them that took up a session from before.
        tls_resumed,
        /// TLS connections closed because of an error.
        tls_failed,
        /// Connections refused because too many had TLS.
        refused_tls,
    }
}

impl HttpCounters {
    /// Counts an answer.
    pub(crate) const fn answered(&mut self, status: u16) {
        match status {
            0..200 => self.status_1xx += 1,
            200..300 => self.status_2xx += 1,
            300..400 => self.status_3xx += 1,
            400..500 => self.status_4xx += 1,
            _ => self.status_5xx += 1,
        }
    }
}

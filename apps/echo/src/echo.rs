//! Echo (RFC 862): whatever comes goes back, in the frames it came in.

use freeway::{Conn, Datagram, Stack};

/// Sends back what has arrived, as far as the peer takes it; what does not fit stays in the receive queue and
/// closes the window, so a peer that never reads cannot make this side hold more than one window's worth.
pub fn pump<S: Copy + Default + 'static>(conn: &mut Conn<'_, S>) {
    while let Some(packet) = conn.receive() {
        if let Err(packet) = conn.offer(packet) {
            conn.unreceive(packet);
            return;
        }
    }
    if conn.at_end() {
        conn.close();
    }
}

/// Sends a datagram back to where it came from.
pub fn datagram<S: Copy + Default + 'static>(stack: &mut Stack<S>, datagram: Datagram) {
    if !crate::would_loop(datagram.reply_to.remote_port()) {
        stack.udp_reply(datagram.reply_to, datagram.packet);
    }
}

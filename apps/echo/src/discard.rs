//! Discard (RFC 863): whatever comes is dropped.

use freeway::Conn;

/// Drops what has arrived.
pub fn drain<S: Copy + Default + 'static>(conn: &mut Conn<'_, S>) {
    conn.consume(usize::MAX);
    if conn.at_end() {
        conn.close();
    }
}

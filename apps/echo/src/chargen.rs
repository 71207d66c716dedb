//! Character generator (RFC 864): lines of printable characters, as fast as the peer takes them.

use std::rc::Rc;

use freeway::{Conn, Datagram, Lent, Stack};

const PRINTABLE: usize = 95;
const LINE: usize = 72 + 2;
/// The pattern repeats after as many lines as there are characters.
const PERIOD: usize = PRINTABLE * LINE;
/// The pattern is lent in runs of this many periods, so that a fast peer costs few calls.
const PERIODS: usize = 16;

/// The generator of one core: the pattern, lent to the stack.
#[derive(Clone, Copy, Debug)]
pub struct Chargen {
    pattern: Lent,
}

/// Where a connection is in the pattern.
#[derive(Clone, Copy, Debug, Default)]
pub struct Position {
    offset: u32,
}

/// Line `line` of the pattern begins with character `line` and goes on through the alphabet.
fn pattern() -> Vec<u8> {
    let mut bytes = Vec::with_capacity(PERIODS * PERIOD);
    for line in 0..PERIODS * PRINTABLE {
        bytes.extend((0..LINE - 2).map(|column| b' ' + ((line + column) % PRINTABLE) as u8));
        bytes.extend(b"\r\n");
    }
    bytes
}

impl Chargen {
    /// Lends the pattern to `stack`; `None` if the stack takes no more memory.
    pub fn new<S: Copy + Default + 'static>(stack: &mut Stack<S>) -> Option<Self> {
        stack.lend(Rc::new(pattern())).map(|pattern| Self { pattern })
    }

    /// Sends as much of the pattern as there is room for; call it when the connection opens and when it is
    /// writable.
    pub fn pump<S: Copy + Default + 'static>(
        &self,
        conn: &mut Conn<'_, S>,
        position: impl Fn(&mut S) -> &mut Position,
    ) {
        loop {
            let offset = position(conn.state()).offset as usize;
            let sent = conn.lend(self.pattern, offset..self.pattern.len());
            if sent == 0 {
                return;
            }
            position(conn.state()).offset = ((offset + sent) % PERIOD) as u32;
        }
    }

    /// Answers a datagram with characters, as many as it had.
    pub fn datagram<S: Copy + Default + 'static>(&self, stack: &mut Stack<S>, mut datagram: Datagram) {
        if crate::would_loop(datagram.reply_to.remote_port()) {
            return;
        }
        for (place, byte) in datagram.packet.data_mut().iter_mut().enumerate() {
            *byte = match place % LINE {
                column if column < LINE - 2 => b' ' + ((place / LINE + column) % PRINTABLE) as u8,
                72 => b'\r',
                _ => b'\n',
            };
        }
        stack.udp_reply(datagram.reply_to, datagram.packet);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pattern_is_the_one_of_the_rfc() {
        let bytes = pattern();
        assert!(bytes.starts_with(
            b" !\"#$%&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`abcdefg\r\n!\"#"
        ));
        assert_eq!(bytes.len() % PERIOD, 0);
        assert_eq!(bytes[..PERIOD], bytes[PERIOD..2 * PERIOD]);
    }
}

//! What the path has said of connections, until the application hears it at the end of the turn (RFC 9293, MUST-47).
//!
//! A few at a time: whoever floods a host with forged errors about its connections fills this table and nothing else.

use alloc::vec::Vec;

use super::record::Live as _;
use super::{Connection, TcpHost};
use crate::net::IcmpKind;

/// Connections that hear of one error a turn; the others' errors are only counted.
const ERRORS_MAX: usize = 64;

/// The newest error of each connection that had one in this turn.
pub(crate) struct Troubles {
    /// The connection's place and serial number.
    waiting: Vec<((u32, u32), IcmpKind)>,
}

impl Troubles {
    pub(crate) fn new() -> Self {
        Self { waiting: Vec::with_capacity(ERRORS_MAX) }
    }

    /// Notes an error; false when there are too many.
    fn note(&mut self, conn: (u32, u32), kind: IcmpKind) -> bool {
        if let Some((_, known)) = self.waiting.iter_mut().find(|(known, _)| *known == conn) {
            *known = kind;
            return true;
        }
        let has_room = self.waiting.len() < ERRORS_MAX;
        if has_room {
            self.waiting.push((conn, kind));
        }
        has_room
    }

    /// Takes a connection's error out. Whatever an earlier connection in its place left goes, too.
    fn take(&mut self, (index, serial): (u32, u32)) -> Option<IcmpKind> {
        let mut found = None;
        self.waiting.retain(|&((place, owner), kind)| {
            if place == index && owner == serial {
                found = Some(kind);
            }
            place != index
        });
        found
    }
}

impl<S: Copy + Default + 'static> TcpHost<S> {
    /// An ICMP error that TCP believes, and that ends nothing.
    #[cold]
    pub(crate) fn note_trouble(&mut self, index: u32, kind: IcmpKind) {
        let Some(Connection { socket, .. }) = self.connections.live(index) else { return };
        if self.troubles.note((index, socket.serial), kind) {
            self.counters.path_errors += 1;
            self.raise(index, super::record::Flags::empty());
        } else {
            self.counters.path_errors_untold += 1;
        }
    }

    /// What the application is to hear of a connection's path.
    #[inline]
    pub(crate) fn take_trouble(&mut self, index: u32) -> Option<IcmpKind> {
        if self.troubles.waiting.is_empty() {
            return None;
        }
        let serial = self.connections.live(index)?.socket.serial;
        self.troubles.take((index, serial))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_connection_hears_the_newest_and_the_table_is_bounded() {
        let mut troubles = Troubles::new();
        for index in 0..ERRORS_MAX as u32 {
            assert!(troubles.note((index, 7), IcmpKind::TimeExceeded));
        }
        assert!(!troubles.note((1_000, 7), IcmpKind::TimeExceeded));
        assert!(troubles.note((3, 7), IcmpKind::ParameterProblem));
        assert_eq!(troubles.take((3, 7)), Some(IcmpKind::ParameterProblem));
        assert_eq!(troubles.take((3, 7)), None);
        // The place has a new owner.
        assert_eq!(troubles.take((4, 8)), None);
        assert_eq!(troubles.waiting.len(), ERRORS_MAX - 2);
    }
}

//! What a request's first bytes tell at a glance: its key, whose memory is asked for before it is read in earnest, and
//! whether it is the usual one, a `get` of one key whose item is there and short.
//!
//! That is most of what most caches are asked. Its bytes say all that matters, so it needs no decoder, no list of keys and no
//! buffer of answers: the answer is written into the frame that it leaves in. Whatever is not exactly this, or does not
//! succeed at once, is read in earnest by [`engine`](crate::engine), and answered the same.

use freeway::{Conn, Datagram, Packet, Stack};
use freeway_base::{FlowHash, short};
use freeway_memcache::Sink;
use freeway_memcache::text::reply::{CRLF, END, HEAD_MAX, value_head};
use freeway_memcache::udp::{DATAGRAM_MAX, FRAME_LEN, Frame};

use crate::connection::{CacheServer, CacheState};
use crate::server::Server;
use crate::store::{Item, KEY_MAX};
use crate::tasks::NONE;

/// A longer value goes the long way.
const VALUE_MAX: usize = 1_024;
/// Bytes of an answer at most.
const ANSWER_MAX: usize = HEAD_MAX + VALUE_MAX + CRLF.len() + END.len();

/// How many bytes stand before the first blank or line end (or any other control character), if there is one behind a key's
/// length at most. Eight bytes are looked at together.
#[inline]
fn key_len(bytes: &[u8]) -> Option<usize> {
    const ONES: u64 = u64::MAX / 0xff;
    const HIGH: u64 = ONES << 7;
    // A byte's highest bit says that it, or one before it, is a blank or less: below 0x21 a subtraction borrows.
    let low = |chunk: [u8; 8]| {
        let word = u64::from_le_bytes(chunk);
        word.wrapping_sub(ONES * 0x21) & !word & HIGH
    };
    let most = KEY_MAX + 1;
    let bytes = bytes.get(..most).unwrap_or(bytes);
    let mut at = 0;
    while let Some(&chunk) = bytes.get(at..).and_then(<[u8]>::first_chunk) {
        let found = low(chunk);
        if found != 0 {
            return Some(at + found.trailing_zeros() as usize / 8);
        }
        at += 8;
    }
    let rest = bytes.get(at..)?;
    rest.iter().position(|&byte| byte <= b' ').map(|place| at + place)
}

/// The key of the first request, if it is seen at a glance: its memory is asked for before it is read in earnest.
pub(crate) fn first_key(bytes: &[u8]) -> Option<&[u8]> {
    let rest = match bytes {
        [b'g', b'e', b't', b' ', rest @ ..] | [b's', b'e', b't', b' ', rest @ ..] => rest,
        [b'm', b'g' | b's' | b'd' | b'a', b' ', rest @ ..] => rest,
        [b'g', b'e', b't', b's', b' ', rest @ ..] => rest,
        [0x80, _, key_high, key_low, extras, ..] => {
            let (start, len) = (24 + usize::from(*extras), u16::from_be_bytes([*key_high, *key_low]));
            return bytes.get(start..start + usize::from(len)).filter(|key| !key.is_empty());
        }
        _ => return None,
    };
    rest.get(..key_len(rest)?).filter(|key| !key.is_empty())
}

/// The key of `get KEY`, if that is all there is.
#[inline]
fn lone_key(request: &[u8]) -> Option<&[u8]> {
    let rest = request.strip_prefix(b"get ")?;
    let (key, end) = rest.split_at_checked(key_len(rest)?)?;
    (end == CRLF && !key.is_empty() && key.len() <= KEY_MAX).then_some(key)
}

impl Server {
    /// The item that `request` is the usual one for, if it is there and short. Nothing is counted yet: what is not answered
    /// at a glance after all is counted where it is.
    #[inline]
    fn glance(&mut self, hash: FlowHash, request: &[u8]) -> Option<Item> {
        let item = self.cache.look(hash, lone_key(request)?)?;
        (self.cache.store.value_len(item) <= VALUE_MAX).then_some(item)
    }

    /// Puts the answer to a get of `item` behind what is in `packet`; `None` if the buffer is too small.
    #[inline]
    fn put_found(&self, packet: &mut Packet, item: Item) -> Option<()> {
        let store = &self.cache.store;
        let (len, before) = (store.value_len(item), packet.len());
        let mut line = Line { bytes: packet.append(ANSWER_MAX)?, len: 0 };
        value_head(&mut line, store.key(item), store.flags(item), len as u32, None);
        // Nearly always it lies in one piece.
        let (mut piece, mut done) = (store.piece(item, 0), 0);
        while !piece.is_empty() {
            line.put(piece);
            done += piece.len();
            piece = if done < len { store.piece(item, done) } else { &[] };
        }
        line.put(CRLF);
        line.put(END);
        let after = before + line.len;
        packet.truncate(after);
        Some(())
    }

    /// Counts what was answered at a glance.
    #[inline]
    fn glanced(&mut self, item: Item, read: usize, written: usize) {
        self.cache.hit(item);
        self.counters.bytes_read += read as u64;
        self.counters.bytes_written += written as u64;
    }
}

impl CacheServer {
    /// Answers a connection's request if it is the usual one; `None` when it is to be read in earnest. `hash` is the hash of
    /// its first key, or was when it arrived: an item that it leads to is that of the key, or none is found.
    #[inline]
    pub(crate) fn glance<S: Copy + Default + 'static>(
        &mut self,
        conn: &mut Conn<'_, S>,
        hash: FlowHash,
        state: CacheState,
    ) -> Option<()> {
        let server = &mut self.engine.server;
        let is_between = state.task == NONE && state.done == 0 && state.decoder.is_at_line();
        if !is_between || server.cache.store.log.is_on() {
            return None;
        }
        let request = conn.peek();
        let read = request.len();
        let item = server.glance(hash, request).filter(|_| conn.readable_bytes() == read)?;
        let mut packet = conn.stack().pool().alloc()?;
        server.put_found(&mut packet, item)?;
        let written = packet.len();
        conn.offer(packet.share()).ok()?;
        server.glanced(item, read, written);
        conn.consume(read);
        Some(())
    }

    /// The same for a datagram's request.
    #[inline]
    pub(crate) fn glance_datagram<S: Copy + Default + 'static>(
        &mut self,
        stack: &mut Stack<S>,
        datagram: &Datagram,
        (frame, request): (Frame, &[u8]),
        hash: FlowHash,
    ) -> Option<()> {
        let server = &mut self.engine.server;
        if !frame.is_whole() || server.cache.store.log.is_on() {
            return None;
        }
        let item = server.glance(hash, request)?;
        let mut packet = stack.pool().alloc()?;
        let answer = Frame { request: frame.request, sequence: 0, total: 1 };
        packet.append(FRAME_LEN)?.copy_from_slice(&answer.to_bytes());
        server.put_found(&mut packet, item)?;
        server.glanced(item, request.len(), packet.len() - FRAME_LEN);
        stack.udp_reply(datagram.reply_to, packet);
        Some(())
    }
}

const _: () = assert!(FRAME_LEN + ANSWER_MAX <= DATAGRAM_MAX);

/// The beginning of an answer, in a place that has room for it.
struct Line<'a> {
    bytes: &'a mut [u8],
    len: usize,
}

impl Sink for Line<'_> {
    #[inline]
    fn put(&mut self, bytes: &[u8]) {
        if let Some(place) = self.bytes.get_mut(self.len..self.len + bytes.len()) {
            short::copy(place, bytes);
            self.len += bytes.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_ends_at_the_first_blank_wherever_it_is() {
        for len in 0..=KEY_MAX + 20 {
            let key: Vec<u8> =
                (0..len).map(|place| [b'a', 0xff, 0x7f, 0x80, b'!', 0xa0][place % 6]).collect();
            assert_eq!(key_len(&key), None);
            for end in [b' ', b'\r', b'\n', b'\t', 0] {
                let line = [&key[..], &[end], b" and more behind it"].concat();
                assert_eq!(key_len(&line), (len <= KEY_MAX).then_some(len), "{len}, {end}");
            }
        }
    }

    #[test]
    fn only_a_get_of_one_key_is_taken_at_a_glance() {
        assert_eq!(lone_key(b"get a\r\n"), Some(&b"a"[..]));
        let longest = [&b"get "[..], &[b'k'; 250], b"\r\n"].concat();
        assert_eq!(lone_key(&longest).map(<[u8]>::len), Some(250));
        let too_long = [&b"get "[..], &[b'k'; 251], b"\r\n"].concat();
        for other in [
            &b""[..],
            b"get \r\n",
            b"get a",
            b"get a\r",
            b"get a\n",
            b"get a b\r\n",
            b"get a \r\n",
            b"get  a\r\n",
            b"get a\r\nget b\r\n",
            b"get a\tb\r\n",
            b"get a\x01b\r\n",
            b"get abcdefghij b\r\n",
            b"gets a\r\n",
            b"GET a\r\n",
            b"set a\r\n",
            &too_long,
        ] {
            assert_eq!(lone_key(other), None, "{:?}", String::from_utf8_lossy(other));
        }
    }
}

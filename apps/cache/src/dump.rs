//! Lists of all items: `lru_crawler metadump` and `mgdump`.

use freeway_memcache::{Sink, text};

use crate::out::Out;
use crate::server::Server;
use crate::store::{Item, NEVER};
use crate::tasks::Dump;

/// Bytes of a line at most: a key of which each byte is written as three, and numbers.
const LINE_MAX: usize = 3 * 250 + 160;

impl Server {
    /// Lists this core's items as long as there is room; false when that was all.
    pub(crate) fn list(&self, out: &mut Out, dump: &mut Dump) -> bool {
        while out.has_room(LINE_MAX) {
            let Some(item) = self.cache.store.walk(&mut dump.segment, &mut dump.offset) else { return false };
            if self.cache.store.expiry(item) <= self.cache.clock.now() {
                continue;
            }
            if dump.as_commands {
                out.put(b"mg ");
                encode(out, self.cache.store.key(item));
                out.put(b"\r\n");
            } else {
                self.describe_line(out, item);
            }
        }
        true
    }

    /// The end of a list.
    pub(crate) fn end_list(out: &mut Out, as_commands: bool) {
        out.put(if as_commands { b"EN\r\n".as_slice() } else { text::reply::END });
    }

    fn describe_line(&self, out: &mut Out, item: Item) {
        let (store, clock) = (&self.cache.store, &self.cache.clock);
        let mut number = itoa::Buffer::new();
        out.put(b"key=");
        encode(out, store.key(item));
        out.put(b" exp=");
        match store.expiry(item) {
            NEVER => out.put(b"-1"),
            expiry => out.put(number.format(clock.unix_of(expiry)).as_bytes()),
        }
        out.put(b" la=");
        out.put(number.format(clock.unix_of(store.last_access(item))).as_bytes());
        out.put(b" cas=");
        out.put(number.format(store.cas(item)).as_bytes());
        out.put(if item.is_fetched() { b" fetch=yes" } else { b" fetch=no" });
        out.put(b" cls=1 size=");
        out.put(number.format(item.record_len()).as_bytes());
        out.put(b" flags=");
        out.put(number.format(store.flags(item)).as_bytes());
        // A bare line feed, as memcached has it here.
        out.put(b"\n");
    }
}

/// Writes a key as in a URI (RFC 3986, section 2.1): what is not unreserved as a percent sign and two digits.
pub(crate) fn encode(out: &mut impl Sink, key: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    for &byte in key {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.put(&[byte]);
        } else {
            out.put(&[b'%', DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
        }
    }
}

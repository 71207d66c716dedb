//! Lists of all items: `lru_crawler metadump` and `mgdump`, `stats cachedump` and `stats sizes`.
//!
//! A list is made bit by bit, on one core after the other. An item that stays where it is stands in it once.

use freeway_memcache::{Sink, text};

use crate::out::Out;
use crate::server::Server;
use crate::store::{Item, NEVER};
use crate::tasks::{Dump, What};

/// Bytes of a line at most: a key of which each byte is written as three, and numbers.
pub(crate) const LINE_MAX: usize = 3 * 250 + 160;
/// Sizes are told apart by so many bytes.
const SIZE_STEP: usize = 32;
/// How many sizes are told apart; larger items count as the last.
const SIZES: usize = 1 << 15;
/// Items counted at once.
const COUNTED: usize = 2_048;

/// How many items there are of each size, while somebody asks for it.
pub(crate) struct Sizes {
    counts: Box<[u32]>,
    /// `stats sizes` tells something: it is on.
    pub(crate) is_on: bool,
    /// The items are being counted for somebody.
    pub(crate) is_taken: bool,
}

impl Sizes {
    pub(crate) fn new(is_on: bool) -> Self {
        Self { counts: vec![0; SIZES].into_boxed_slice(), is_on, is_taken: false }
    }

    /// Begins to count; false while somebody else does.
    pub(crate) fn begin(&mut self) -> bool {
        let free = !self.is_taken;
        if free {
            self.is_taken = true;
            self.counts.fill(0);
        }
        free
    }

    fn add(&mut self, size: u16) {
        if let Some(count) = self.counts.get_mut(usize::from(size)) {
            *count += 1;
        }
    }

    /// Adds the sizes that another core tells of.
    pub(crate) fn add_all(&mut self, bytes: &[u8]) {
        let (sizes, _) = bytes.as_chunks::<2>();
        sizes.iter().for_each(|size| self.add(u16::from_ne_bytes(*size)));
    }
}

/// The number of an item's size.
fn size_of(item: Item) -> u16 {
    item.record_len().div_ceil(SIZE_STEP).min(SIZES - 1) as u16
}

impl Server {
    /// Lists this core's items as long as there is room; false when that was all. Sizes are counted instead.
    pub(crate) fn list(&mut self, out: &mut Out, dump: &mut Dump) -> bool {
        if dump.what == What::Sizes {
            for _ in 0..COUNTED {
                let Some(item) = self.cache.store.walk(&mut dump.segment, &mut dump.offset) else {
                    return false;
                };
                self.sizes.add(size_of(item));
            }
            return true;
        }
        while out.has_room(LINE_MAX) && dump.left > 0 {
            let Some(item) = self.cache.store.walk(&mut dump.segment, &mut dump.offset) else { return false };
            if self.cache.store.expiry(item) <= self.cache.clock.now() {
                continue;
            }
            dump.left -= 1;
            match dump.what {
                What::Details => self.describe_line(out, item),
                What::Commands => {
                    out.put(b"mg ");
                    encode(out, self.cache.store.key(item));
                    out.put(b"\r\n");
                }
                What::Cachedump | What::Sizes | What::Connections => self.short_line(out, item),
            }
        }
        dump.left > 0
    }

    /// The same for another core: sizes are told by number.
    pub(crate) fn list_for(&mut self, out: &mut Out, dump: &mut Dump) -> bool {
        if dump.what != What::Sizes {
            return self.list(out, dump);
        }
        for _ in 0..COUNTED {
            let Some(item) = self.cache.store.walk(&mut dump.segment, &mut dump.offset) else { return false };
            out.put(&size_of(item).to_ne_bytes());
        }
        true
    }

    /// What stands behind a list: for sizes, all of them. False when there is no room for more.
    pub(crate) fn end_list(&mut self, out: &mut Out, dump: &mut Dump) -> bool {
        if dump.what == What::Sizes {
            // Where the list of sizes goes on.
            for (number, &count) in self.sizes.counts.iter().enumerate().skip(dump.segment as usize) {
                if !out.has_room(LINE_MAX) {
                    return false;
                }
                dump.segment += 1;
                if count > 0 {
                    let mut digits = itoa::Buffer::new();
                    out.put(b"STAT ");
                    out.put(digits.format(number * SIZE_STEP).as_bytes());
                    out.put(b" ");
                    out.put(digits.format(count).as_bytes());
                    out.put(b"\r\n");
                }
            }
            self.sizes.is_taken = false;
        }
        out.put(if dump.what == What::Commands { b"EN\r\n".as_slice() } else { text::reply::END });
        true
    }

    /// `ITEM a [5 b; 0 s]`: key, bytes, and when it expires.
    fn short_line(&self, out: &mut Out, item: Item) {
        let (store, clock) = (&self.cache.store, &self.cache.clock);
        let mut number = itoa::Buffer::new();
        out.put(b"ITEM ");
        out.put(store.key(item));
        out.put(b" [");
        out.put(number.format(store.value_len(item)).as_bytes());
        out.put(b" b; ");
        match store.expiry(item) {
            NEVER => out.put(b"0"),
            expiry => out.put(number.format(clock.unix_of(expiry)).as_bytes()),
        }
        out.put(b" s]\r\n");
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

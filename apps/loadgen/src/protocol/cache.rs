//! memcached's text protocol: get of one or several keys, and set.
//!
//! Source: memcached's `doc/protocol.txt`.

use freeway::{Rng, Seed};

use super::{Answers, Protocol};

/// What is asked of a cache.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct CacheConfig {
    /// Keys there are, drawn evenly. Default 1,000,000.
    pub keys: u32,
    /// Bytes of a value. Default 32.
    pub value_size: u32,
    /// Which part of the requests are sets, 0 to 1. Default 0.
    pub set_ratio: f64,
    /// Keys of one get. Default 1.
    pub multiget: u32,
}

impl Default for CacheConfig {
    fn default() -> Self {
        Self { keys: 1_000_000, value_size: 32, set_ratio: 0.0, multiget: 1 }
    }
}

/// A cache's client.
#[derive(Clone, Debug)]
pub struct Cache {
    config: CacheConfig,
    rng: Rng,
    value: Box<[u8]>,
    /// What stands between the key and the value of an item that was set by this client.
    tail: Box<[u8]>,
    /// Keys that have been set in order, so that all of them are there.
    filled: u32,
}

/// Where in an answer the stream is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct CacheProgress {
    state: At,
    /// The number of the word that is read in a line, from 0.
    word: u8,
    /// The last number read in the line, then the bytes of the value that are to come.
    number: u32,
}

/// What the next byte is part of.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum At {
    /// The first byte of a line, which tells what it is.
    #[default]
    Line,
    /// A line that announces a value.
    Value,
    /// A value and the end of its line.
    Data,
    /// A line that ends a good answer: END, STORED, HIT.
    Good,
    /// A line that ends any other.
    Wrong,
}

/// `key:` and eight digits.
const KEY_LEN: usize = 12;

const VALUE: &[u8] = b"VALUE ";
const CRLF: &[u8] = b"\r\n";
const END: &[u8] = b"END\r\n";

impl Cache {
    /// A client that first sets every key, then asks as `config` says.
    pub fn new(config: CacheConfig, seed: Seed) -> Self {
        let value = (0..config.value_size).map(|place| b'a' + (place % 26) as u8).collect();
        let tail = format!(" 0 {}\r\n", config.value_size).into_bytes().into();
        Self { config, rng: Rng::new(seed), value, tail, filled: 0 }
    }

    /// The same, without the sets before.
    pub fn filled(config: CacheConfig, seed: Seed) -> Self {
        Self { filled: config.keys, ..Self::new(config, seed) }
    }

    /// Requests until every key has been set.
    pub const fn to_fill(&self) -> u32 {
        self.config.keys.saturating_sub(self.filled)
    }

    /// The length of the usual item of an answer, if `bytes` begin with all of it.
    #[inline]
    fn usual(&self, bytes: &[u8]) -> Option<usize> {
        let tail = VALUE.len() + KEY_LEN;
        let value = tail + self.tail.len();
        let end = value + self.value.len();
        let is_usual = bytes.starts_with(VALUE)
            && bytes.get(tail..value)? == &*self.tail
            && bytes.get(end..end + CRLF.len())? == CRLF;
        is_usual.then_some(end + CRLF.len())
    }

    fn set(&self, key: u32, into: &mut Writer<'_>) {
        into.put(b"set ");
        into.key(key);
        into.put(b" 0 0 ");
        into.number(self.value.len() as u32);
        into.put(b"\r\n");
        into.put(&self.value);
        into.put(b"\r\n");
    }
}

/// Writes to the start of a buffer that is long enough.
struct Writer<'a> {
    into: &'a mut [u8],
    len: usize,
}

impl Writer<'_> {
    fn put(&mut self, bytes: &[u8]) {
        if let Some(room) = self.into.get_mut(self.len..self.len + bytes.len()) {
            room.copy_from_slice(bytes);
            self.len += bytes.len();
        }
    }

    fn key(&mut self, number: u32) {
        let mut key = *b"key:00000000";
        let mut rest = number;
        for digit in key.iter_mut().rev().take(8) {
            *digit = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
        self.put(&key);
    }

    fn number(&mut self, mut number: u32) {
        let mut digits = [0; 10];
        let mut count = 0;
        for digit in digits.iter_mut().rev() {
            *digit = b'0' + (number % 10) as u8;
            count += 1;
            number /= 10;
            if number == 0 {
                break;
            }
        }
        self.put(digits.get(digits.len() - count..).unwrap_or_default());
    }
}

impl Protocol for Cache {
    type Progress = CacheProgress;

    fn request_max(&self) -> usize {
        // "set KEY 0 0 LENGTH\r\n" and the value, or "get" and the keys.
        let set = 4 + KEY_LEN + 5 + 10 + 2 + self.value.len() + 2;
        let get = 3 + self.config.multiget.max(1) as usize * (1 + KEY_LEN) + 2;
        set.max(get)
    }

    fn request(&mut self, into: &mut [u8]) -> usize {
        let keys = self.config.keys.max(1);
        let mut into = Writer { into, len: 0 };
        if self.filled < self.config.keys {
            self.set(self.filled, &mut into);
            self.filled += 1;
        } else if self.config.set_ratio > 0.0 && self.rng.chance(self.config.set_ratio) {
            let key = self.rng.below(keys);
            self.set(key, &mut into);
        } else {
            into.put(b"get");
            for _ in 0..self.config.multiget.max(1) {
                into.put(b" ");
                into.key(self.rng.below(keys));
            }
            into.put(b"\r\n");
        }
        into.len
    }

    #[inline]
    fn answers(&mut self, progress: &mut CacheProgress, mut bytes: &[u8]) -> Answers {
        let mut found = Answers::default();
        while let Some((&byte, rest)) = bytes.split_first() {
            let CacheProgress { state, word, number } = progress;
            if *state == At::Line {
                if let Some(len) = self.usual(bytes) {
                    found.values += 1;
                    bytes = bytes.get(len..).unwrap_or_default();
                    continue;
                }
                if let Some(behind) = bytes.strip_prefix(END) {
                    found.whole += 1;
                    bytes = behind;
                    continue;
                }
            }
            if *state == At::Data {
                let count = bytes.len().min(*number as usize);
                bytes = bytes.get(count..).unwrap_or_default();
                *number -= count as u32;
                if *number == 0 {
                    *progress = CacheProgress::default();
                }
                continue;
            }
            bytes = rest;
            match (*state, byte) {
                (At::Line, b'V') => *state = At::Value,
                (At::Line, b'E' | b'S' | b'H') => *state = At::Good,
                (At::Line, _) => *state = At::Wrong,
                // END, and not ERROR; STORED, and not SERVER_ERROR: told by the second letter.
                (At::Good, letter) if *word == 0 => {
                    *word = 1;
                    if !matches!(letter, b'N' | b'T' | b'D') {
                        *state = At::Wrong;
                    }
                }
                (At::Good | At::Wrong, b'\n') => {
                    found.whole += 1;
                    found.wrong += u32::from(*state == At::Wrong);
                    *progress = CacheProgress::default();
                }
                // VALUE key flags bytes [cas]: the third word behind is the length.
                (At::Value, b' ') => *word += 1,
                (At::Value, digit @ b'0'..=b'9') if *word == 3 => {
                    *number = number.saturating_mul(10).saturating_add(u32::from(digit - b'0'));
                }
                (At::Value, b'\n') => {
                    found.values += 1;
                    // The value, and the end of its line.
                    *number = number.saturating_add(2);
                    *state = At::Data;
                }
                _ => {}
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::however_cut;
    use super::*;

    #[test]
    fn answers_are_found_however_they_are_cut() {
        for (stream, whole, values, wrong) in [
            ("END\r\n", 1, 0, 0),
            ("VALUE key:00000001 0 5\r\nhello\r\nEND\r\n", 1, 1, 0),
            ("VALUE a 0 5\r\nE\r\nND\r\nVALUE b 7 0 99\r\n\r\nEND\r\nSTORED\r\n", 2, 2, 0),
            ("ERROR\r\nSTORED\r\nSERVER_ERROR out of memory\r\nEND\r\nNOT_STORED\r\n", 5, 0, 3),
            ("VALUE a 0 3\r\nabc\r\nEN", 0, 1, 0),
        ] {
            let mut cache = Cache::new(CacheConfig::default(), Seed(1));
            let found = however_cut(&mut cache, stream.as_bytes());
            assert_eq!(found, Answers { whole, values, wrong }, "{stream:?}");
        }
    }

    #[test]
    fn every_key_is_set_before_any_is_asked_for() {
        let config = CacheConfig { keys: 3, value_size: 5, set_ratio: 0.0, multiget: 2 };
        let mut cache = Cache::new(config, Seed(1));
        let next = |cache: &mut Cache| {
            let mut buffer = vec![0; cache.request_max()];
            let len = cache.request(&mut buffer);
            buffer.truncate(len);
            String::from_utf8(buffer).unwrap_or_default()
        };
        for key in 0..3 {
            assert_eq!(cache.to_fill(), 3 - key);
            assert_eq!(next(&mut cache), format!("set key:0000000{key} 0 0 5\r\nabcde\r\n"));
        }
        assert_eq!(cache.to_fill(), 0);
        let get = next(&mut cache);
        assert!(
            get.starts_with("get key:0000000") && get.ends_with("\r\n") && get.len() == 3 + 2 * 13 + 2,
            "{get}"
        );
    }

    #[test]
    fn sets_are_as_frequent_as_asked() {
        let config = CacheConfig { set_ratio: 0.25, value_size: 1_000, ..CacheConfig::default() };
        let mut cache = Cache::filled(config, Seed(1));
        let mut buffer = vec![0; cache.request_max()];
        let sets = (0..10_000).filter(|_| {
            cache.request(&mut buffer);
            buffer.starts_with(b"set")
        });
        assert!((2_300..2_700).contains(&sets.count()));
    }
}

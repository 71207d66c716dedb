//! One file as it is answered: its bytes, and the fields that go with them, written once.

use std::fs::File;
use std::hash::{BuildHasher as _, Hasher as _};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use freeway_http1::conditions::Validators;
use freeway_http1::decimal::Decimal;
use freeway_http1::{Coding, Head};

/// Answers of at most so many bytes, behind their Date, are kept in one piece, head and body: they fit into a frame.
pub(crate) const WHOLE_MAX: usize = 1_200;

/// Where a document's bytes are.
#[derive(Debug)]
pub(crate) enum Content {
    /// In memory, shared by all cores.
    Memory(Arc<[u8]>),
    /// In a file that is read when it is asked for.
    Disk(File),
}

/// One file, immutable: a file that changes becomes another document.
#[derive(Debug)]
pub struct Document {
    /// Its place on every core's shelf.
    pub(crate) number: u32,
    pub(crate) content: Content,
    pub(crate) len: u64,
    pub(crate) media_type: Box<str>,
    etag: Box<[u8]>,
    modified: Option<u64>,
    modified_text: Box<[u8]>,
    /// The fields of a 200 behind its Date, with the empty line.
    pub(crate) head: Box<[u8]>,
    /// The fields that a 206, a 304 and a 416 have too, without it.
    pub(crate) common: Box<[u8]>,
    /// `head` and the bytes, or nothing when they are too many.
    pub(crate) whole: Box<[u8]>,
}

/// What a document is made of.
pub(crate) struct Parts {
    pub(crate) number: u32,
    pub(crate) content: Content,
    pub(crate) len: u64,
    pub(crate) media_type: Box<str>,
    pub(crate) coding: Coding,
    /// There are several codings of it: caches must tell them apart.
    pub(crate) varies: bool,
    /// When the file changed last, since 1970.
    pub(crate) modified: Option<Duration>,
    /// What tells this file from others of its name, for an entity tag of what is not in memory.
    pub(crate) file_id: u64,
}

impl Document {
    pub(crate) fn new(parts: Parts) -> Self {
        let Parts { number, content, len, media_type, coding, varies, modified, file_id } = parts;
        let seconds = modified.map(|modified| modified.as_secs());
        let modified_text: Box<[u8]> = match seconds {
            Some(seconds) => {
                httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(seconds)).into_bytes().into()
            }
            None => Box::default(),
        };
        let tag = match &content {
            Content::Memory(bytes) => hash(bytes),
            Content::Disk(_) => {
                let nanos = modified.map_or(0, |modified| modified.as_nanos() as u64);
                hash(&[file_id.to_ne_bytes(), nanos.to_ne_bytes()].concat())
            }
        };
        let etag: Box<[u8]> = format!("\"{tag:016x}-{len:x}\"").into_bytes().into();

        let mut common = Head::fields();
        common.field("ETag", &etag);
        if !modified_text.is_empty() {
            common.field("Last-Modified", &modified_text);
        }
        if varies {
            common.field("Vary", b"Accept-Encoding");
        }
        // Each of these fields is short, so all of them fit.
        let common = common.finish().unwrap_or_default();
        let common: Box<[u8]> = common.strip_suffix(b"\r\n").unwrap_or_default().into();

        let mut head = Head::fields();
        head.field("Content-Type", media_type.as_bytes());
        head.field("Content-Length", Decimal::new(len).as_bytes());
        head.field("Accept-Ranges", b"bytes");
        if coding != Coding::Identity {
            head.field("Content-Encoding", coding.name().as_bytes());
        }
        let head: Box<[u8]> = head.lines(&common).finish().unwrap_or_default().into();
        let whole = match &content {
            Content::Memory(bytes) if head.len() + bytes.len() <= WHOLE_MAX => {
                [&head[..], bytes].concat().into()
            }
            _ => Box::default(),
        };
        Self { number, content, len, media_type, etag, modified: seconds, modified_text, head, common, whole }
    }

    /// What conditional requests are weighed against.
    pub(crate) fn validators(&self) -> Validators<'_> {
        Validators { etag: &self.etag, modified: self.modified, modified_text: &self.modified_text }
    }

    /// Its bytes, if they are in memory.
    pub(crate) fn bytes(&self) -> Option<&Arc<[u8]>> {
        match &self.content {
            Content::Memory(bytes) => Some(bytes),
            Content::Disk(_) => None,
        }
    }
}

/// A hash of `bytes` that is the same in every process, so that entity tags outlive a restart.
fn hash(bytes: &[u8]) -> u64 {
    let mut hasher = foldhash::quality::FixedState::with_seed(0).build_hasher();
    hasher.write(bytes);
    hasher.finish()
}

/// The media type of a file by its name's ending (RFC 9110, section 8.3); text is said to be UTF-8.
pub(crate) fn media_type(name: &str) -> Box<str> {
    let guess = mime_guess::from_path(name).first_or_octet_stream();
    let essence = guess.essence_str();
    let is_text = guess.type_() == "text" || matches!(essence, "application/javascript" | "application/json");
    if is_text { format!("{essence}; charset=utf-8").into() } else { essence.into() }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn document(bytes: &[u8], coding: Coding, varies: bool) -> Document {
        Document::new(Parts {
            number: 0,
            content: Content::Memory(bytes.into()),
            len: bytes.len() as u64,
            media_type: media_type("a.html"),
            coding,
            varies,
            modified: Some(Duration::from_secs(784_111_777)),
            file_id: 1,
        })
    }

    #[test]
    fn the_fields_of_an_answer_are_written_once() {
        let plain = document(b"hello", Coding::Identity, false);
        let head = String::from_utf8(plain.head.to_vec()).unwrap();
        let etag = String::from_utf8(plain.etag.to_vec()).unwrap();
        assert_eq!(
            head,
            format!(
                "Content-Type: text/html; charset=utf-8\r\nContent-Length: 5\r\nAccept-Ranges: bytes\r\nETag: {etag}\r\n\
                 Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n\r\n"
            )
        );
        assert_eq!(*plain.whole, *[head.as_bytes(), b"hello"].concat());
        let coded = document(b"hello", Coding::Brotli, true);
        let head = String::from_utf8(coded.head.to_vec()).unwrap();
        assert!(
            head.contains("Content-Encoding: br\r\n") && head.contains("Vary: Accept-Encoding\r\n"),
            "{head}"
        );
    }

    #[test]
    fn tags_follow_the_bytes() {
        let tag = |bytes: &[u8]| document(bytes, Coding::Identity, false).etag;
        assert_eq!(tag(b"one"), tag(b"one"));
        assert_ne!(tag(b"one"), tag(b"two"));
        assert!(document(&[0; 2_000], Coding::Identity, false).whole.is_empty());
    }

    #[test]
    fn endings_tell_the_type() {
        for (name, expected) in [
            ("a.html", "text/html; charset=utf-8"),
            ("a.css", "text/css; charset=utf-8"),
            ("a.svg", "image/svg+xml"),
            ("a.woff2", "font/woff2"),
            ("a.wasm", "application/wasm"),
            ("a.tar.gz", "application/gzip"),
            ("a", "application/octet-stream"),
        ] {
            assert_eq!(&*media_type(name), expected, "{name}");
        }
    }
}

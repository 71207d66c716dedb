//! What can be asked for: sites by the name of their host, documents by their path.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::FixedState;
use freeway_http1::target::without_port;
use freeway_http1::{Coding, DecodedPath, PathError};

use crate::document::Document;

/// No document.
const NONE: u32 = u32::MAX;

/// Letters of a host's name at most (RFC 1035, section 2.3.4).
const NAME_MAX: usize = 253;

/// The documents of one path, by coding.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Variants([u32; 4]);

impl Variants {
    pub(crate) const EMPTY: Self = Self([NONE; 4]);

    pub(crate) fn set(&mut self, coding: Coding, number: u32) {
        self.0[coding as usize] = number;
    }

    /// The number of the document so coded.
    pub(crate) fn get(&self, coding: Coding) -> Option<u32> {
        Some(self.0[coding as usize]).filter(|&number| number != NONE)
    }

    /// Whether there is but one.
    pub(crate) fn is_single(&self) -> bool {
        self.0[1..].iter().all(|&number| number == NONE)
    }
}

/// What stands at a path.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Entry {
    /// A file.
    Document(Variants),
    /// A folder asked for without its slash: the answer is where it is.
    Folder,
    /// Something that cannot be read.
    Forbidden,
}

/// The documents of one host.
#[derive(Debug, Default)]
pub(crate) struct Site {
    // Only paths of files are ever inserted, so nobody outside chooses what collides.
    pub(crate) entries: HashMap<Box<[u8]>, Entry, FixedState>,
    /// Documents that go with errors: a status code and a document's number.
    pub(crate) errors: Vec<(u16, u32)>,
}

/// Everything that can be asked for at one moment.
#[derive(Debug, Default)]
pub struct Tree {
    /// The first is for names that no other has.
    pub(crate) sites: Vec<Site>,
    pub(crate) hosts: HashMap<Box<[u8]>, u16, FixedState>,
    pub(crate) documents: Vec<Option<Arc<Document>>>,
}

impl Tree {
    /// The place of a host's site. Upper and lower case, a port and a final dot make no difference.
    pub(crate) fn site_of(&self, host: &str) -> u16 {
        if self.hosts.is_empty() { 0 } else { self.place_of(host) }
    }

    /// The site at a place.
    pub(crate) fn site(&self, place: u16) -> Option<&Site> {
        self.sites.get(usize::from(place))
    }

    fn place_of(&self, host: &str) -> u16 {
        let name = without_port(host).as_bytes();
        let mut lower = [0; NAME_MAX];
        let Some(lower) = lower.get_mut(..name.len()) else { return 0 };
        lower.copy_from_slice(name);
        lower.make_ascii_lowercase();
        self.hosts.get(&*lower).copied().unwrap_or(0)
    }

    /// The document of that number.
    pub(crate) fn document(&self, number: u32) -> Option<&Arc<Document>> {
        self.documents.get(number as usize)?.as_ref()
    }

    /// How many documents there are.
    pub fn len(&self) -> usize {
        self.documents.iter().flatten().count()
    }

    /// Whether there is nothing to serve.
    pub fn is_empty(&self) -> bool {
        self.documents.iter().all(Option::is_none)
    }

    /// Bytes of all documents in memory.
    pub fn bytes_in_memory(&self) -> u64 {
        self.documents
            .iter()
            .flatten()
            .filter(|document| document.bytes().is_some())
            .map(|document| document.len)
            .sum()
    }
}

impl Site {
    /// What stands at the path of a target.
    ///
    /// # Errors
    ///
    /// A path that names nothing, whatever there is.
    pub(crate) fn find(&self, path: &str) -> Result<Option<Entry>, PathError> {
        // Most paths are written as they are kept. One with an escape is not: `%41` is the name `A`.
        if memchr::memchr(b'%', path.as_bytes()).is_none()
            && let Some(&entry) = self.entries.get(path.as_bytes())
        {
            return Ok(Some(entry));
        }
        let path = DecodedPath::decode(path)?;
        Ok(self.entries.get(path.as_bytes()).copied())
    }

    /// The document that goes with a status.
    pub(crate) fn error(&self, status: u16) -> Option<u32> {
        self.errors.iter().find(|(code, _)| *code == status).map(|&(_, number)| number)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn hosts_are_known_in_any_spelling() {
        let mut tree = Tree { sites: vec![Site::default(), Site::default()], ..Tree::default() };
        tree.sites[1].errors.push((404, 7));
        tree.hosts.insert((*b"a.example").into(), 1);
        let is_second = |host| tree.site(tree.site_of(host)).unwrap().error(404) == Some(7);
        assert!(["a.example", "A.Example:8080", "a.example."].into_iter().all(is_second));
        assert!(!["", "b.example", "a.example.evil", &"a".repeat(300)].into_iter().any(is_second));
    }

    #[test]
    fn a_path_is_found_in_any_spelling_but_an_escape_is_no_name() {
        let mut site = Site::default();
        site.entries.insert((*b"/a b/c").into(), Entry::Folder);
        site.entries.insert((*b"/%41").into(), Entry::Forbidden);
        for path in ["/a%20b/c", "/a%20b//c", "/x/../a%20b/./c"] {
            assert_eq!(site.find(path), Ok(Some(Entry::Folder)), "{path}");
        }
        assert_eq!(site.find("/%41"), Ok(None));
        assert_eq!(site.find("/%2541"), Ok(Some(Entry::Forbidden)));
        assert_eq!(site.find("/../a"), Err(PathError::Malformed));
    }
}

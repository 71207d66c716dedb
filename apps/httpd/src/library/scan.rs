//! From folders to a tree.
//!
//! A scan looks at every file's metadata and reads those that are new or have changed; the others' documents are used
//! again. Numbers of documents are given anew only when no core has the old one any more.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use freeway_http1::Coding;
use rustix::fs::OFlags;
use tracing::warn;

use super::{LibraryConfig, LibraryError, Symlinks};
use crate::document::{Content, Document, Parts, media_type};
use crate::tree::{Entry, Site, Tree, Variants};

/// Folders within folders at most: more is a loop of links, or nobody's site.
const DEPTH_MAX: usize = 64;

/// What tells whether a file is still the one that was read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Stamp {
    device: u64,
    inode: u64,
    modified: i128,
    len: u64,
    varies: bool,
}

impl Stamp {
    fn of(metadata: &Metadata, varies: bool) -> Self {
        let modified = i128::from(metadata.mtime()) * 1_000_000_000 + i128::from(metadata.mtime_nsec());
        Self { device: metadata.dev(), inode: metadata.ino(), modified, len: metadata.len(), varies }
    }
}

/// What was read, by site and path.
type Known = HashMap<(usize, Vec<u8>), (Stamp, Arc<Document>)>;

/// A file that was found.
struct Found {
    path: PathBuf,
    stamp: Stamp,
    modified: Option<Duration>,
}

/// The reader of all sites.
pub(super) struct Scanner {
    config: LibraryConfig,
    known: Known,
    /// Documents and trees that cores may still have.
    old_documents: Vec<Arc<Document>>,
    old_trees: Vec<Arc<Tree>>,
    current: Option<Arc<Tree>>,
    free: Vec<u32>,
    next: u32,
}

impl Scanner {
    pub(super) fn new(config: LibraryConfig) -> Self {
        Self {
            config,
            known: HashMap::new(),
            old_documents: Vec::new(),
            old_trees: Vec::new(),
            current: None,
            free: Vec::new(),
            next: 0,
        }
    }

    pub(super) const fn config(&self) -> &LibraryConfig {
        &self.config
    }

    /// Takes other settings for the next scan, and returns those before. How many documents there may be stays.
    pub(super) fn configure(&mut self, config: LibraryConfig) -> LibraryConfig {
        let documents_max = self.config.documents_max;
        std::mem::replace(&mut self.config, LibraryConfig { documents_max, ..config })
    }

    /// Frees what no core has any more.
    pub(super) fn tidy(&mut self) {
        // A tree holds its documents, so trees go first.
        self.old_trees.retain(|tree| Arc::strong_count(tree) > 1);
        let free = &mut self.free;
        self.old_documents.retain(|document| {
            let is_used = Arc::strong_count(document) > 1;
            if !is_used {
                free.push(document.number);
            }
            is_used
        });
    }

    /// Whether cores may still have what is old.
    pub(super) fn has_old(&self) -> bool {
        !self.old_documents.is_empty() || !self.old_trees.is_empty()
    }

    /// Looks at all files, and reads those that are not known.
    pub(super) fn scan(&mut self) -> Result<Arc<Tree>, LibraryError> {
        self.tidy();
        let mut known = Known::new();
        let mut tree = Tree::default();
        let mut budget = self.config.memory_max;
        let roots: Vec<PathBuf> = self.config.sites.iter().map(|site| site.root.clone()).collect();
        for (place, root) in roots.iter().enumerate() {
            let site = self.site(place, root, &mut known, &mut budget)?;
            tree.sites.push(site);
        }
        for (place, site) in self.config.sites.iter().enumerate() {
            for host in &site.hosts {
                tree.hosts.insert(
                    host.trim_end_matches('.').to_ascii_lowercase().into_bytes().into(),
                    place as u16,
                );
            }
        }
        for (_, document) in known.values() {
            let number = document.number as usize;
            if tree.documents.len() <= number {
                tree.documents.resize(number + 1, None);
            }
            tree.documents[number] = Some(Arc::clone(document));
        }
        let before = std::mem::replace(&mut self.known, known);
        for (key, (_, document)) in before {
            if !self.known.get(&key).is_some_and(|(_, now)| Arc::ptr_eq(now, &document)) {
                self.old_documents.push(document);
            }
        }
        let tree = Arc::new(tree);
        self.old_trees.extend(self.current.replace(Arc::clone(&tree)));
        Ok(tree)
    }

    /// Whether `tree` serves the same documents as the one before it.
    #[allow(clippy::unused_self)]
    pub(super) fn is_same(&self, before: &Tree, tree: &Tree) -> bool {
        let same =
            |(left, right): (&Site, &Site)| left.entries == right.entries && left.errors == right.errors;
        before.documents.len() == tree.documents.len()
            && before.documents.iter().zip(&tree.documents).all(|pair| match pair {
                (Some(left), Some(right)) => Arc::ptr_eq(left, right),
                (left, right) => left.is_none() && right.is_none(),
            })
            && before.sites.iter().zip(&tree.sites).all(same)
    }

    fn site(
        &mut self,
        place: usize,
        root: &Path,
        known: &mut Known,
        budget: &mut u64,
    ) -> Result<Site, LibraryError> {
        let (files, folders, forbidden) = self.walk(root)?;
        let mut site = Site::default();
        for path in folders {
            site.entries.insert(path.into(), Entry::Folder);
        }
        for path in forbidden {
            site.entries.insert(path.into(), Entry::Forbidden);
        }
        for (path, found) in &files {
            let mut variants = Variants::EMPTY;
            let codings = if self.config.precompressed { &Coding::ALL[..] } else { &[Coding::Identity] };
            for &coding in codings {
                let coded = [path.as_slice(), coding.ending().as_bytes()].concat();
                // A coded file that is older than what it codes is stale.
                let Some(file) = files.get(&coded).filter(|file| file.modified >= found.modified) else {
                    continue;
                };
                let varies = codings.iter().any(|other| {
                    *other != Coding::Identity
                        && files
                            .get(&[path.as_slice(), other.ending().as_bytes()].concat())
                            .is_some_and(|other| other.modified >= found.modified)
                });
                let key = (place, [path.as_slice(), b"\0", coding.name().as_bytes()].concat());
                let stamp = Stamp { varies, ..file.stamp };
                let name = String::from_utf8_lossy(path);
                match self.document(&key, stamp, file, &name, coding, budget)? {
                    Some(document) => {
                        variants.set(coding, document.number);
                        known.insert(key, (stamp, document));
                    }
                    // It is gone, or cannot be read: the path stays forbidden unless another coding is there.
                    None if coding == Coding::Identity => variants = Variants::EMPTY,
                    None => {}
                }
            }
            let entry = match variants.get(Coding::Identity) {
                Some(_) => Entry::Document(variants),
                None => Entry::Forbidden,
            };
            site.entries.insert(path.as_slice().into(), entry);
        }
        for index in self.config.index.iter().rev() {
            for path in files.keys() {
                if let Some(folder) = path.strip_suffix(index.as_bytes())
                    && folder.ends_with(b"/")
                    && let Some(&entry) = site.entries.get(path.as_slice())
                {
                    site.entries.insert(folder.into(), entry);
                }
            }
        }
        for (status, name) in &self.config.error_pages {
            if let Some(Entry::Document(variants)) = site.entries.get(format!("/{name}").as_bytes())
                && let Some(number) = variants.get(Coding::Identity)
            {
                site.errors.push((*status, number));
            }
        }
        Ok(site)
    }

    /// The document of a file: the one that was read before if the file is the same.
    fn document(
        &mut self,
        key: &(usize, Vec<u8>),
        stamp: Stamp,
        found: &Found,
        name: &str,
        coding: Coding,
        budget: &mut u64,
    ) -> Result<Option<Arc<Document>>, LibraryError> {
        if let Some((before, document)) = self.known.get(key)
            && *before == stamp
        {
            if document.bytes().is_some() {
                *budget = budget.saturating_sub(document.len);
            }
            return Ok(Some(Arc::clone(document)));
        }
        let in_memory = stamp.len <= self.config.document_max && stamp.len <= *budget;
        let content = match self.read(found, in_memory) {
            Ok(content) => content,
            Err(error) => {
                warn!(path = %found.path.display(), %error, "a file cannot be read");
                return Ok(None);
            }
        };
        let len = match &content {
            Content::Memory(bytes) => bytes.len() as u64,
            Content::Disk(_) => stamp.len,
        };
        if in_memory {
            *budget = budget.saturating_sub(len);
        }
        let number = match self.free.pop() {
            Some(number) => number,
            None if self.next < self.config.documents_max => {
                self.next += 1;
                self.next - 1
            }
            None => return Err(LibraryError::TooMany { limit: self.config.documents_max }),
        };
        Ok(Some(Arc::new(Document::new(Parts {
            number,
            content,
            len,
            media_type: media_type(name),
            coding,
            varies: stamp.varies,
            modified: found.modified,
            file_id: stamp.inode,
        }))))
    }

    fn read(&self, found: &Found, in_memory: bool) -> io::Result<Content> {
        // What was no link a moment ago must not be one now.
        let flags = if self.config.symlinks == Symlinks::Never { OFlags::NOFOLLOW } else { OFlags::empty() };
        let flags = (flags | OFlags::NONBLOCK).bits() as i32;
        let mut file = OpenOptions::new().read(true).custom_flags(flags).open(&found.path)?;
        if !in_memory {
            return Ok(Content::Disk(file));
        }
        let mut bytes = Vec::with_capacity(found.stamp.len as usize);
        Read::by_ref(&mut file).take(self.config.document_max).read_to_end(&mut bytes)?;
        Ok(Content::Memory(bytes.into()))
    }

    /// All files, folders and unreadable places below `root`, by path.
    #[allow(clippy::type_complexity)]
    fn walk(
        &self,
        root: &Path,
    ) -> Result<(HashMap<Vec<u8>, Found>, Vec<Vec<u8>>, Vec<Vec<u8>>), LibraryError> {
        let root_error = |source| LibraryError::Root { path: root.to_path_buf(), source };
        let real_root = fs::canonicalize(root).map_err(root_error)?;
        let (mut files, mut folders, mut forbidden) = (HashMap::new(), Vec::new(), Vec::new());
        let mut seen = HashSet::new();
        let mut waiting = vec![(real_root.clone(), Vec::from(*b"/"), 0)];
        while let Some((folder, prefix, depth)) = waiting.pop() {
            let entries = match fs::read_dir(&folder) {
                Ok(entries) => entries,
                Err(source) if prefix == b"/" => return Err(root_error(source)),
                Err(error) => {
                    warn!(path = %folder.display(), %error, "a folder cannot be read");
                    forbidden.push(prefix);
                    continue;
                }
            };
            for entry in entries.filter_map(Result::ok) {
                let name = entry.file_name();
                let name = name.as_encoded_bytes();
                if name.starts_with(b".") && !self.config.hidden {
                    continue;
                }
                let path = [prefix.as_slice(), name].concat();
                let Some(metadata) = self.metadata(&entry.path(), &real_root) else { continue };
                if metadata.is_dir() && depth < DEPTH_MAX && seen.insert((metadata.dev(), metadata.ino())) {
                    waiting.push((entry.path(), [path.as_slice(), b"/"].concat(), depth + 1));
                    folders.push(path);
                } else if metadata.is_file() {
                    let modified = metadata.modified().ok();
                    let modified = modified.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
                    let stamp = Stamp::of(&metadata, false);
                    files.insert(path, Found { path: entry.path(), stamp, modified });
                }
            }
        }
        Ok((files, folders, forbidden))
    }

    /// What a path is, if it may be served: a link by the rule for links.
    fn metadata(&self, path: &Path, root: &Path) -> Option<Metadata> {
        let metadata = fs::symlink_metadata(path).ok()?;
        if !metadata.is_symlink() {
            return Some(metadata);
        }
        match self.config.symlinks {
            Symlinks::Never => None,
            Symlinks::Inside => fs::canonicalize(path)
                .ok()
                .filter(|real| real.starts_with(root))
                .and_then(|real| fs::metadata(real).ok()),
            Symlinks::Always => fs::metadata(path).ok(),
        }
    }
}

/// A file that is read by place, from any thread.
pub(crate) fn read_at(file: &File, into: &mut [u8], offset: u64) -> io::Result<usize> {
    use std::os::unix::fs::FileExt as _;
    loop {
        match file.read_at(into, offset) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::symlink;

    use super::*;

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = root.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        root
    }

    fn text(tree: &Tree, path: &str) -> Option<String> {
        match tree.sites[0].find(path).unwrap()? {
            Entry::Document(variants) => {
                let document = tree.document(variants.get(Coding::Identity)?)?;
                Some(String::from_utf8(document.bytes()?.to_vec()).unwrap())
            }
            other => Some(format!("{other:?}")),
        }
    }

    #[test]
    fn files_folders_and_indices_are_found_and_hidden_names_are_not() {
        let root = folder(&[("a.txt", "a"), ("sub/index.html", "i"), (".secret", "s"), (".git/config", "s")]);
        let tree = Scanner::new(LibraryConfig::new(root.path())).scan().unwrap();
        for (path, expected) in [
            ("/a.txt", Some("a")),
            ("/sub/", Some("i")),
            ("/sub/index.html", Some("i")),
            ("/sub", Some("Folder")),
            ("/.secret", None),
            ("/.git/config", None),
            ("/", None),
        ] {
            assert_eq!(text(&tree, path).as_deref(), expected, "{path}");
        }
    }

    #[test]
    fn links_are_followed_as_far_as_allowed() {
        let outside = folder(&[("secret", "s")]);
        let root = folder(&[("a", "a")]);
        symlink(root.path().join("a"), root.path().join("in")).unwrap();
        symlink(outside.path().join("secret"), root.path().join("out")).unwrap();
        symlink(root.path(), root.path().join("loop")).unwrap();
        for (symlinks, inside, out) in [
            (Symlinks::Never, None, None),
            (Symlinks::Inside, Some("a"), None),
            (Symlinks::Always, Some("a"), Some("s")),
        ] {
            let config = LibraryConfig { symlinks, ..LibraryConfig::new(root.path()) };
            let tree = Scanner::new(config).scan().unwrap();
            assert_eq!(text(&tree, "/in").as_deref(), inside, "{symlinks:?}");
            assert_eq!(text(&tree, "/out").as_deref(), out, "{symlinks:?}");
        }
    }

    #[test]
    fn coded_files_stand_beside_what_they_code() {
        let root = folder(&[("a.txt", "a"), ("a.txt.br", "b"), ("only.gz", "g")]);
        let tree = Scanner::new(LibraryConfig::new(root.path())).scan().unwrap();
        let Some(Entry::Document(variants)) = tree.sites[0].find("/a.txt").unwrap() else {
            panic!("no document")
        };
        let coded = tree.document(variants.get(Coding::Brotli).unwrap()).unwrap();
        assert_eq!(
            (&coded.bytes().unwrap()[..], &*coded.media_type),
            (&b"b"[..], "text/plain; charset=utf-8")
        );
        assert!(variants.get(Coding::Gzip).is_none() && !variants.is_single());
        assert_eq!(text(&tree, "/only.gz").as_deref(), Some("g"));
        assert_eq!(text(&tree, "/only"), None);
    }

    #[test]
    fn what_is_too_large_stays_on_disk() {
        let root = folder(&[("a", "12345"), ("b", "123456")]);
        let config = LibraryConfig { document_max: 5, ..LibraryConfig::new(root.path()) };
        let tree = Scanner::new(config).scan().unwrap();
        assert_eq!((tree.len(), tree.bytes_in_memory()), (2, 5));
        let config = LibraryConfig { documents_max: 1, ..LibraryConfig::new(root.path()) };
        assert!(matches!(Scanner::new(config).scan(), Err(LibraryError::TooMany { limit: 1 })));
    }

    #[test]
    fn a_changed_file_is_a_new_document_and_its_old_number_waits_for_the_cores() {
        let root = folder(&[("a", "one"), ("b", "b")]);
        let mut scanner = Scanner::new(LibraryConfig::new(root.path()));
        let first = scanner.scan().unwrap();
        let again = scanner.scan().unwrap();
        assert!(scanner.is_same(&first, &again));
        drop(again);
        fs::write(root.path().join("a"), "two!").unwrap();
        let second = scanner.scan().unwrap();
        assert!(!scanner.is_same(&first, &second));
        assert_eq!(
            (text(&first, "/a").as_deref(), text(&second, "/a").as_deref()),
            (Some("one"), Some("two!"))
        );
        assert_eq!(second.documents.len(), 3, "the old number is taken while a tree has it");
        drop(first);
        scanner.tidy();
        fs::write(root.path().join("a"), "three").unwrap();
        let third = scanner.scan().unwrap();
        assert_eq!(text(&third, "/a").as_deref(), Some("three"));
        assert!(third.documents.len() <= 3, "a number that nobody has is given again");
        fs::remove_file(root.path().join("a")).unwrap();
        assert_eq!(text(&scanner.scan().unwrap(), "/a"), None);
    }
}

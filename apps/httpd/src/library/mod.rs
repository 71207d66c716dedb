//! The documents of all sites, read by a thread of their own.
//!
//! ```text
//!   disk ─► scan ─► tree ─► ring of each core ─► shelf (lent to its stack)
//!             ▲                                     │ let go when the last byte is acknowledged
//!         inotify, or a look now and then           ▼
//!                                             the library frees it
//! ```
//!
//! A core never waits for a disk and never frees a document: whoever drops the last handle on a document is this
//! library, which keeps one until the cores have let go of theirs.

mod scan;
mod watch;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use freeway::ring::{Consumer, Producer, spsc};
use thiserror::Error;

pub(crate) use scan::read_at;
pub use watch::Watching;

use crate::document::{Content, Document, Parts, media_type};
use crate::tree::{Entry, Site, Tree, Variants};
use freeway_http1::Coding;
use scan::Scanner;

/// How documents change while they are served.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Changes {
    /// They do not: they are read once.
    Never,
    /// The kernel says so (inotify); where it cannot, as `Poll` every two seconds.
    Told,
    /// Somebody looks at all files after so long.
    Poll(Duration),
}

/// Which symbolic links are followed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Symlinks {
    /// None: what they lead to is not served.
    Never,
    /// Those that lead to what is below the root.
    Inside,
    /// All. Whoever may write below the root may publish any file that the server can read.
    Always,
}

/// One site.
#[derive(Clone, Debug)]
pub struct SiteConfig {
    /// The names of its host; the first site answers to all others too.
    pub hosts: Vec<String>,
    /// Its folder.
    pub root: PathBuf,
}

/// What is served, and how much memory it may take.
#[derive(Clone, Debug)]
pub struct LibraryConfig {
    /// The sites, the default one first.
    pub sites: Vec<SiteConfig>,
    /// Bytes of all documents in memory. What comes after is read from disk each time. Default 4 GiB.
    pub memory_max: u64,
    /// Bytes of a document in memory; a larger one is read from disk each time. Default 16 MiB.
    pub document_max: u64,
    /// Documents. Default 100,000; each costs every core a place of 40 bytes, used or not.
    pub documents_max: u32,
    /// Names that answer for their folder, the first that is there. Default `index.html`; costs a look-up at a scan.
    pub index: Vec<String>,
    /// Names in a site's root that go with errors of that status. Default `404.html` and `50x.html` as usual.
    pub error_pages: Vec<(u16, String)>,
    /// Whether names that begin with a dot are served. Default no.
    pub hidden: bool,
    /// Default [`Symlinks::Never`].
    pub symlinks: Symlinks,
    /// Whether `x.br`, `x.zst` and `x.gz` beside `x` are sent in its place to who accepts them. Default yes.
    pub precompressed: bool,
    /// Default [`Changes::Told`]; costs a descriptor and a thread that sleeps.
    pub changes: Changes,
}

impl LibraryConfig {
    /// The defaults, for one site with any name.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self {
            sites: vec![SiteConfig { hosts: Vec::new(), root: root.into() }],
            memory_max: 4 << 30,
            document_max: 16 << 20,
            documents_max: 100_000,
            index: vec!["index.html".into()],
            error_pages: vec![(404, "404.html".into()), (403, "403.html".into()), (503, "50x.html".into())],
            hidden: false,
            symlinks: Symlinks::Never,
            precompressed: true,
            changes: Changes::Told,
        }
    }
}

/// Documents that cannot be served.
#[derive(Debug, Error)]
pub enum LibraryError {
    /// A root that is no folder or cannot be read.
    #[error("{path} cannot be read: name a folder that this user may read", path = .path.display())]
    Root {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// More files than allowed.
    #[error("there are more than {limit} files: serve less, or raise the limit")]
    TooMany {
        /// The limit.
        limit: u32,
    },
    /// A thread that cannot be started.
    #[error("no thread for the documents: {0}")]
    Thread(io::Error),
}

/// What one core learns of the documents.
pub struct Feed {
    /// The documents at the start.
    pub(crate) tree: Arc<Tree>,
    /// Those that came later.
    pub(crate) updates: Consumer<Arc<Tree>>,
    /// How many there may ever be.
    pub(crate) documents_max: u32,
}

/// All documents, and the cores that serve them.
pub struct Library {
    scanner: Option<Scanner>,
    tree: Arc<Tree>,
    documents_max: u32,
    cores: Vec<Producer<Arc<Tree>>>,
}

impl Library {
    /// Reads all documents for the first time.
    ///
    /// # Errors
    ///
    /// See [`LibraryError`].
    pub fn open(config: LibraryConfig) -> Result<Self, LibraryError> {
        let documents_max = config.documents_max;
        let mut scanner = Scanner::new(config);
        let tree = scanner.scan()?;
        Ok(Self { scanner: Some(scanner), tree, documents_max, cores: Vec::new() })
    }

    /// A library of documents that are in memory already: a path and its bytes each.
    pub fn of(documents: impl IntoIterator<Item = (String, Arc<[u8]>)>) -> Self {
        let mut tree = Tree { sites: vec![Site::default()], ..Tree::default() };
        for (path, bytes) in documents {
            let number = tree.documents.len() as u32;
            let name = if path.ends_with('/') { "index.html" } else { path.as_str() };
            let document = Document::new(Parts {
                number,
                len: bytes.len() as u64,
                media_type: media_type(name),
                content: Content::Memory(bytes),
                coding: Coding::Identity,
                varies: false,
                modified: None,
                file_id: 0,
            });
            tree.documents.push(Some(Arc::new(document)));
            let mut variants = Variants::EMPTY;
            variants.set(Coding::Identity, number);
            tree.sites[0].entries.insert(path.into_bytes().into(), Entry::Document(variants));
        }
        let documents_max = tree.documents.len() as u32;
        Self { scanner: None, tree: Arc::new(tree), documents_max, cores: Vec::new() }
    }

    /// A library of one page, for a server that was given no root.
    pub fn welcome() -> Self {
        Self::of([("/".to_owned(), (*include_bytes!("../welcome.html")).into())])
    }

    /// The documents as they were read last.
    pub fn tree(&self) -> &Tree {
        &self.tree
    }

    /// What one core needs; all cores ask before [`Library::watch`].
    pub fn feed(&mut self) -> Feed {
        // Two: one that the core is at, one that waits.
        let (producer, updates) = spsc(2);
        self.cores.push(producer);
        Feed { tree: Arc::clone(&self.tree), updates, documents_max: self.documents_max }
    }

    /// Looks after changes from now on, on a thread of its own, until the returned handle is dropped.
    ///
    /// # Errors
    ///
    /// No thread.
    pub fn watch(self) -> Result<Watching, LibraryError> {
        watch::start(self).map_err(LibraryError::Thread)
    }
}

//! The document tree, in memory.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use thiserror::Error;

/// One file.
#[derive(Clone, Debug)]
pub struct Document {
    /// Its bytes, shared by all cores.
    pub body: Arc<[u8]>,
    /// Its media type (RFC 9110, section 8.3), by its name's ending.
    pub media_type: &'static str,
}

/// All files below a root, by the path under which they are asked for.
#[derive(Clone, Debug, Default)]
pub struct Documents {
    by_path: HashMap<Vec<u8>, Document>,
    bytes: u64,
}

/// How much a document tree may take.
#[derive(Clone, Copy, Debug)]
pub struct LoadLimits {
    /// Bytes of all files together. Default 4 GiB.
    pub bytes: u64,
    /// Files. Default 1,000,000.
    pub files: usize,
}

impl Default for LoadLimits {
    fn default() -> Self {
        Self { bytes: 4 << 30, files: 1_000_000 }
    }
}

/// A document tree that cannot be served.
#[derive(Debug, Error)]
pub enum LoadError {
    /// A folder or file cannot be read.
    #[error("{path} cannot be read: make it readable for this user, or choose another --root", path = .path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// More bytes than allowed.
    #[error("{path} brings the documents over {limit} bytes: serve a smaller tree, or raise the limit", path = .path.display())]
    TooLarge {
        /// The file that was one too many.
        path: PathBuf,
        /// The limit.
        limit: u64,
    },
    /// More files than allowed.
    #[error("{path} brings the documents over {limit} files: serve a smaller tree, or raise the limit", path = .path.display())]
    TooMany {
        /// The file that was one too many.
        path: PathBuf,
        /// The limit.
        limit: usize,
    },
}

impl Documents {
    /// Reads all regular files below `root`; symbolic links and hidden names (which begin with a dot) are left
    /// out. A folder's `index.html` answers for the folder.
    ///
    /// # Errors
    ///
    /// See [`LoadError`].
    pub fn load(root: &Path, limits: LoadLimits) -> Result<Self, LoadError> {
        let mut documents = Self::default();
        let mut folders = vec![(root.to_path_buf(), Vec::from(*b"/"))];
        while let Some((folder, prefix)) = folders.pop() {
            let io_error = |source| LoadError::Io { path: folder.clone(), source };
            for entry in fs::read_dir(&folder).map_err(io_error)? {
                let entry = entry.map_err(io_error)?;
                let kind = entry.file_type().map_err(io_error)?;
                let name = entry.file_name();
                let name = name.as_encoded_bytes();
                if name.starts_with(b".") {
                    continue;
                }
                let path = [prefix.as_slice(), name].concat();
                if kind.is_dir() {
                    folders.push((entry.path(), [path.as_slice(), b"/"].concat()));
                } else if kind.is_file() {
                    documents.add(&entry.path(), path, limits)?;
                }
            }
        }
        Ok(documents)
    }

    fn add(&mut self, file: &Path, path: Vec<u8>, limits: LoadLimits) -> Result<(), LoadError> {
        if self.by_path.len() >= limits.files {
            return Err(LoadError::TooMany { path: file.to_path_buf(), limit: limits.files });
        }
        let bytes = fs::read(file).map_err(|source| LoadError::Io { path: file.to_path_buf(), source })?;
        self.bytes += bytes.len() as u64;
        // A stack takes lent memory of at most 4 GiB in one piece.
        if self.bytes > limits.bytes || u32::try_from(bytes.len()).is_err() {
            return Err(LoadError::TooLarge { path: file.to_path_buf(), limit: limits.bytes });
        }
        let document = Document { body: bytes.into(), media_type: media_type(file) };
        if let Some(folder) = path.strip_suffix(b"index.html")
            && folder.ends_with(b"/")
        {
            self.by_path.insert(folder.to_vec(), document.clone());
        }
        self.by_path.insert(path, document);
        Ok(())
    }

    /// A tree of one page, for a server that was given no root.
    pub fn welcome() -> Self {
        let body: Arc<[u8]> = (*include_bytes!("welcome.html")).into();
        let bytes = body.len() as u64;
        let document = Document { body, media_type: "text/html; charset=utf-8" };
        Self { by_path: HashMap::from([(b"/".to_vec(), document)]), bytes }
    }

    /// Adds a document, in place of one that had its path.
    pub fn insert(&mut self, path: &str, document: Document) {
        self.bytes += document.body.len() as u64;
        if let Some(replaced) = self.by_path.insert(path.as_bytes().to_vec(), document) {
            self.bytes -= replaced.body.len() as u64;
        }
    }

    /// All documents with their paths.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &Document)> {
        self.by_path.iter().map(|(path, document)| (path.as_slice(), document))
    }

    /// How many paths are answered.
    pub fn len(&self) -> usize {
        self.by_path.len()
    }

    /// Whether there is nothing to serve.
    pub fn is_empty(&self) -> bool {
        self.by_path.is_empty()
    }

    /// Bytes of all files together.
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }
}

/// A file's media type by its ending; what is unknown is bytes.
fn media_type(file: &Path) -> &'static str {
    match file.extension().and_then(|ending| ending.to_str()).unwrap_or("") {
        "html" | "htm" => "text/html; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "json" => "application/json",
        "txt" | "md" => "text/plain; charset=utf-8",
        "xml" => "application/xml",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "gif" => "image/gif",
        "webp" => "image/webp",
        "ico" => "image/x-icon",
        "wasm" => "application/wasm",
        "pdf" => "application/pdf",
        "woff2" => "font/woff2",
        _ => "application/octet-stream",
    }
}

//! The folders that stay open to the threads beside the cores, by landlock(7).

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;
use freeway_httpd::Symlinks;
use landlock::{
    ABI, Access as _, AccessFs, CompatLevel, Compatible as _, Ruleset, RulesetAttr as _,
    RulesetCreatedAttr as _, path_beneath_rules,
};

use crate::settings::Settings;
use crate::settings::value::Auto;

/// The newest rights that this was written for; an older kernel keeps what it knows of them.
const NEWEST: ABI = ABI::V5;

/// Folders, by what may be done below them.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Folders {
    /// Files are read.
    pub(crate) read: BTreeSet<PathBuf>,
    /// Files are appended to, and made.
    pub(crate) append: BTreeSet<PathBuf>,
    /// Sockets are made, and removed.
    pub(crate) sockets: BTreeSet<PathBuf>,
    /// Files are removed.
    pub(crate) remove: BTreeSet<PathBuf>,
}

impl Folders {
    /// What these settings need while a server runs and when it reads them anew. Files are known by their folders, so that
    /// one may take another's place.
    pub(crate) fn of(settings: &Settings, config: Option<&Path>, admin: Option<&Path>) -> Self {
        let http = &settings.http;
        let mut folders = Self::default();
        folders.read.extend(config.into_iter().flat_map(around));
        folders.read.extend(http.root.clone());
        folders.read.extend(http.sites.iter().map(|site| site.root.clone()));
        let files = http.certificates.iter().flat_map(|certificate| [&certificate.chain, &certificate.key]);
        folders.read.extend(files.flat_map(|file| around(file)));
        folders.append.extend(http.access_log.iter().flat_map(|file| around(file)));
        if http.library.symlinks == Symlinks::Always {
            // Whoever follows every link serves what it leads to.
            folders.read.insert(PathBuf::from("/"));
        }
        folders.sockets.extend(admin.map(parent));
        for interface in &settings.interfaces {
            if let crate::device::Device::Memif(spec) = &interface.device.device
                && let freeway_memif::SocketName::Path(path) = &spec.socket
            {
                folders.sockets.insert(parent(path));
            }
        }
        folders
    }

    /// What of `other` is not open here.
    pub(crate) fn lacks(&self, other: &Self) -> Vec<PathBuf> {
        let covers =
            |open: &BTreeSet<PathBuf>, path: &PathBuf| open.iter().any(|open| path.starts_with(open));
        let missing = |open: &BTreeSet<PathBuf>, wanted: &BTreeSet<PathBuf>| -> Vec<PathBuf> {
            wanted.iter().filter(|path| !covers(open, path)).cloned().collect()
        };
        let mut all = missing(&self.read, &other.read);
        all.extend(missing(&self.append, &other.append));
        all
    }

    /// Shuts everything else for this thread and those that it starts.
    ///
    /// # Errors
    ///
    /// The kernel refuses. One that does not know landlock does not.
    pub(super) fn restrict(&self) -> Result<()> {
        let append = AccessFs::WriteFile | AccessFs::MakeReg | AccessFs::ReadFile;
        let sockets = AccessFs::MakeSock | AccessFs::RemoveFile | AccessFs::WriteFile | AccessFs::ReadDir;
        let ruleset = Ruleset::default()
            .set_compatibility(CompatLevel::BestEffort)
            .handle_access(AccessFs::from_all(NEWEST))?
            .create()?
            .add_rules(path_beneath_rules(&self.read, AccessFs::ReadFile | AccessFs::ReadDir))?
            .add_rules(path_beneath_rules(&self.append, append))?
            .add_rules(path_beneath_rules(&self.sockets, sockets))?
            .add_rules(path_beneath_rules(&self.remove, AccessFs::RemoveFile))?;
        ruleset.restrict_self()?;
        Ok(())
    }
}

/// Where the admin socket is, if there is one.
pub(crate) fn admin_socket(settings: &Settings) -> Option<PathBuf> {
    match &settings.admin {
        Auto::Set(path) => path.clone(),
        Auto::Auto => Some(freeway_control::admin::default_path()),
    }
}

/// The folder that a file is in, and the one where it really is, if links lead to it.
fn around(path: &Path) -> impl Iterator<Item = PathBuf> {
    [Some(parent(path)), fs::canonicalize(path).ok().map(parent)].into_iter().flatten()
}

/// The folder that a file is in.
pub(crate) fn parent(path: impl AsRef<Path>) -> PathBuf {
    match path.as_ref().parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_to_a_certificate_opens_the_folder_that_it_leads_to() {
        let folder = tempfile::tempdir().unwrap_or_else(|error| panic!("{error}"));
        let path = |name: &str| folder.path().join(name);
        let made = [
            fs::create_dir(path("live")),
            fs::create_dir(path("archive")),
            fs::write(path("archive/1.pem"), ""),
        ];
        let linked = std::os::unix::fs::symlink("../archive/1.pem", path("live/chain.pem"));
        assert!(made.iter().all(Result::is_ok) && linked.is_ok());
        let found: BTreeSet<PathBuf> = around(&path("live/chain.pem")).collect();
        let real = fs::canonicalize(path("archive")).unwrap_or_default();
        assert_eq!(found, BTreeSet::from([path("live"), real]));
    }

    #[test]
    fn settings_need_their_files_folders_and_what_is_below_is_open_too() {
        let mut settings = Settings::default();
        settings.http.root = Some("/srv/www".into());
        settings.http.access_log = Some("/var/log/freeway/access".into());
        let open = Folders::of(&settings, Some(Path::new("freeway.toml")), Some(Path::new("/run/f/s")));
        let paths = |paths: &[&str]| paths.iter().map(PathBuf::from).collect::<BTreeSet<_>>();
        assert_eq!(open.read, paths(&[".", "/srv/www"]));
        assert_eq!(open.append, paths(&["/var/log/freeway"]));
        assert_eq!(open.sockets, paths(&["/run/f"]));
        settings.http.root = Some("/srv/www/new".into());
        assert!(open.lacks(&Folders::of(&settings, None, None)).is_empty());
        settings.http.root = Some("/srv/www2".into());
        assert_eq!(open.lacks(&Folders::of(&settings, None, None)), [PathBuf::from("/srv/www2")]);
    }
}

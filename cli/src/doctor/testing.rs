//! Machines made of a few files.
#![allow(clippy::unwrap_used)]

use std::fs;

use tempfile::TempDir;

use super::finding::{Finding, State};
use super::machine::Machine;

/// A folder with the files of a machine.
pub(crate) struct Fixture(TempDir);

impl Fixture {
    /// One with these files and what is in them.
    pub(crate) fn new(files: &[(&str, &str)]) -> Self {
        let fixture = Self(TempDir::new().unwrap());
        files.iter().for_each(|(path, text)| fixture.put(path, text));
        fixture
    }

    /// Writes or replaces a file.
    pub(crate) fn put(&self, path: &str, text: &str) {
        let path = self.0.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    pub(crate) fn machine(&self) -> Machine {
        Machine::at(self.0.path())
    }
}

/// The finding called `name`.
pub(crate) fn found<'a>(findings: &'a [Finding], name: &str) -> &'a Finding {
    findings.iter().find(|finding| finding.name == name).unwrap_or_else(|| panic!("no {name}: {findings:?}"))
}

/// How the finding called `name` stands.
pub(crate) fn state(findings: &[Finding], name: &str) -> State {
    found(findings, name).state
}

//! The files that a machine describes itself by.

use std::fs;
use std::path::PathBuf;

/// A machine: `/`, or a folder that has the same files.
#[derive(Clone, Debug)]
pub(crate) struct Machine {
    root: PathBuf,
}

impl Machine {
    /// This one.
    pub(crate) fn this() -> Self {
        Self { root: PathBuf::from("/") }
    }

    #[cfg(test)]
    pub(crate) fn at(root: &std::path::Path) -> Self {
        Self { root: root.to_owned() }
    }

    fn path(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    /// A file's text, without white space around it.
    pub(crate) fn text(&self, path: &str) -> Option<String> {
        // Not every file of the kernel's is text; none that is asked for here is not.
        fs::read_to_string(self.path(path)).ok().map(|text| text.trim().to_owned())
    }

    /// A file that holds a number.
    pub(crate) fn number<T: std::str::FromStr>(&self, path: &str) -> Option<T> {
        self.text(path)?.parse().ok()
    }

    /// A file that holds a list of processors.
    pub(crate) fn cpus(&self, path: &str) -> Option<Vec<usize>> {
        cpu_list(&self.text(path)?)
    }

    /// The value behind `key:` in a file of such lines.
    pub(crate) fn field(&self, path: &str, key: &str) -> Option<String> {
        field(&self.text(path)?, key)
    }

    pub(crate) fn has(&self, path: &str) -> bool {
        self.path(path).exists()
    }

    /// The names in a folder, in order; none if there is no such folder.
    pub(crate) fn names(&self, path: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path(path)).into_iter().flatten().flatten();
        let mut names: Vec<String> =
            entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.sort_unstable();
        names
    }

    /// The last part of what a link points to.
    pub(crate) fn link(&self, path: &str) -> Option<String> {
        fs::read_link(self.path(path)).ok()?.file_name()?.to_str().map(str::to_owned)
    }
}

/// The value behind `key:` among lines of such.
pub(crate) fn field(text: &str, key: &str) -> Option<String> {
    text.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        (name.trim() == key).then(|| value.trim().to_owned())
    })
}

/// `0-3,8` and the like; an empty list is one too.
pub(crate) fn cpu_list(text: &str) -> Option<Vec<usize>> {
    /// More processors than any machine has: a damaged file shall not fill the memory.
    const MOST: usize = 1 << 16;
    let mut cpus = Vec::new();
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
        if first > last || last >= MOST {
            return None;
        }
        cpus.extend(first..=last);
    }
    Some(cpus)
}

/// Processors as the kernel writes them: `0-3,8`.
pub(crate) fn show(cpus: &[usize]) -> String {
    let mut parts: Vec<(usize, usize)> = Vec::new();
    for &cpu in cpus {
        match parts.last_mut() {
            Some((_, last)) if *last + 1 == cpu => *last = cpu,
            _ => parts.push((cpu, cpu)),
        }
    }
    let part = |(first, last)| if first == last { format!("{first}") } else { format!("{first}-{last}") };
    parts.into_iter().map(part).collect::<Vec<_>>().join(",")
}

/// The word in brackets of `always [madvise] never`.
pub(crate) fn chosen(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once('[')?;
    rest.split_once(']').map(|(word, _)| word)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::testing::Fixture;

    #[test]
    fn lists_of_processors_are_read_and_written() {
        assert_eq!(cpu_list("0-3,8"), Some(vec![0, 1, 2, 3, 8]));
        assert_eq!(cpu_list(""), Some(vec![]));
        for bad in ["3-1", "a", "1-", "0-99999999999", "0-4294967295"] {
            assert_eq!(cpu_list(bad), None, "{bad}");
        }
        assert_eq!(show(&[0, 1, 2, 5, 7, 8]), "0-2,5,7-8");
        assert_eq!(show(&[]), "");
    }

    #[test]
    fn files_are_read_below_the_root() {
        let fixture = Fixture::new(&[("proc/status", "Name:\tx\nCapEff:\t00ff\n"), ("sys/number", "12\n")]);
        let machine = fixture.machine();
        assert_eq!(machine.number::<u64>("/sys/number"), Some(12));
        assert_eq!(machine.field("/proc/status", "CapEff").as_deref(), Some("00ff"));
        assert_eq!(machine.names("/sys"), ["number"]);
        assert_eq!((machine.text("/none"), machine.has("/none")), (None, false));
        assert_eq!(chosen("always [madvise] never"), Some("madvise"));
        assert_eq!(chosen("never"), None);
    }
}

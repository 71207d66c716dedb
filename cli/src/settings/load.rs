//! From file and flags to [`Settings`], and where each one was said.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::de::DeValue;

use super::file::{self, INTERFACE, Places, unknown};
use super::keys::{INTERFACE_KEYS, KEYS, Key, find};
use super::value::Wrong;
use super::{InterfaceSettings, Settings};

/// A flag that was given: its name, the setting it stands for, and all that stood behind it.
#[derive(Clone, Debug)]
pub(crate) struct Flag {
    pub(crate) name: String,
    pub(crate) key: String,
    pub(crate) texts: Vec<String>,
}

/// Where a setting was said.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Origin {
    /// Nowhere.
    Default,
    /// In the file: line and column, from 1.
    File { line: usize, column: usize },
    /// By this flag.
    Flag(String),
}

/// All settings, and where they were said.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) settings: Settings,
    pub(crate) problems: Problems,
}

/// Everything that is wrong, a line each, and what places of lines are found by.
#[derive(Debug, Default)]
pub(crate) struct Problems {
    file: Option<(PathBuf, String)>,
    places: Places,
    flags: BTreeMap<String, String>,
    /// With places in the file, by which they are put into order.
    lines: Vec<(usize, String)>,
}

/// Reads the file, and puts the flags over it.
pub(crate) fn load(path: Option<&Path>, flags: &[Flag]) -> Loaded {
    let mut settings = Settings::default();
    let mut problems = Problems::default();
    if let Some(path) = path {
        match fs::read_to_string(path) {
            Ok(text) => {
                let mut wrong = Wrong::default();
                problems.places = file::read(&text, &mut settings, &mut wrong);
                problems.file = Some((path.to_owned(), text));
                for (place, text) in wrong.0 {
                    problems.in_file(&place, &text);
                }
            }
            Err(error) => {
                problems.lines.push((0, format!("--config {}: {error}", path.display())));
            }
        }
    }
    for flag in flags {
        if flag.key.is_empty() {
            problems.set_any(&mut settings, &flag.texts);
        } else {
            problems.flag(&mut settings, flag);
        }
    }
    Loaded { settings, problems }
}

impl Problems {
    /// Notes what is wrong with a setting, by its name.
    pub(crate) fn note(&mut self, key: &str, text: impl fmt::Display) {
        let text = text.to_string();
        match self.origin(key) {
            Origin::Flag(name) => self.lines.push((usize::MAX, format!("{name}: {text}"))),
            Origin::File { .. } => {
                let place = self.places.get(key).cloned().unwrap_or_default();
                self.in_file(&place, &format!("{key}: {text}"));
            }
            Origin::Default => self.lines.push((usize::MAX, format!("{key}: {text}"))),
        }
    }

    /// Where a setting was said.
    pub(crate) fn origin(&self, key: &str) -> Origin {
        if let Some(name) = self.flags.get(key) {
            return Origin::Flag(name.clone());
        }
        match (self.places.get(key), &self.file) {
            (Some(place), Some((_, text))) => {
                let (line, column) = line_and_column(text, place.start);
                Origin::File { line, column }
            }
            _ => Origin::Default,
        }
    }

    /// What a setting is called where it was said: its flag, or its name in the file.
    pub(crate) fn name(&self, key: &str) -> String {
        match self.origin(key) {
            Origin::Flag(name) => name,
            Origin::File { .. } | Origin::Default => key.to_owned(),
        }
    }

    /// Where a setting was said, in brackets, for who reads a list of them.
    pub(crate) fn told(&self, key: &str) -> String {
        match self.origin(key) {
            Origin::Default => String::new(),
            Origin::File { line, .. } => format!("   (line {line})"),
            Origin::Flag(name) => format!("   ({name})"),
        }
    }

    /// Whether nothing is wrong.
    pub(crate) fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// How much is wrong.
    pub(crate) fn count(&self) -> usize {
        self.lines.len()
    }

    /// All of it, a line each, in the file's order.
    pub(crate) fn lines(&self) -> Vec<String> {
        let mut lines = self.lines.clone();
        lines.sort_by_key(|(place, _)| *place);
        lines.into_iter().map(|(_, line)| line).collect()
    }

    fn in_file(&mut self, place: &Range<usize>, text: &str) {
        let (path, line, column) = match &self.file {
            Some((path, file)) => {
                let (line, column) = line_and_column(file, place.start);
                (path.display().to_string(), line, column)
            }
            None => (String::new(), 1, 1),
        };
        // A parser's message may have lines of its own.
        let text = text.lines().map(str::trim).collect::<Vec<_>>().join(", ");
        self.lines.push((place.start, format!("{path}:{line}:{column}: {text}")));
    }

    fn flag(&mut self, settings: &mut Settings, flag: &Flag) {
        let set = match interface_key(&flag.key) {
            Some(key) => match self.the_interface(settings, &flag.name) {
                Some(interface) => with(INTERFACE_KEYS, key, |key| (key.set_text)(interface, &flag.texts)),
                None => return,
            },
            None => with(KEYS, &flag.key, |key| (key.set_text)(settings, &flag.texts)),
        };
        match set {
            Ok(()) => self.said_by(&flag.key, &flag.name),
            Err(errors) => {
                let named = |error| (usize::MAX, format!("{}: {error}", flag.name));
                self.lines.extend(errors.into_iter().map(named));
            }
        }
    }

    /// `--set KEY=VALUE`, any number of times: the value as the file has it, or text without quotes.
    fn set_any(&mut self, settings: &mut Settings, texts: &[String]) {
        for text in texts {
            let Some((key, value)) = text.split_once('=') else {
                self.lines.push((usize::MAX, format!("--set {text}: it should be KEY=VALUE")));
                continue;
            };
            let (key, value, name) = (key.trim(), value.trim(), format!("--set {}", key.trim()));
            let set = match interface_key(key) {
                Some(inner) => match self.the_interface(settings, &name) {
                    Some(interface) => with(INTERFACE_KEYS, inner, |key| set_either(key, interface, value)),
                    None => continue,
                },
                None => with(KEYS, key, |key| set_either(key, settings, value)),
            };
            match set {
                Ok(()) => self.said_by(key, &name),
                Err(errors) => {
                    self.lines
                        .extend(errors.into_iter().map(|error| (usize::MAX, format!("{name}: {error}"))));
                }
            }
        }
    }

    fn said_by(&mut self, key: &str, name: &str) {
        let key = match interface_key(key) {
            Some(inner) => format!("{INTERFACE}[0].{inner}"),
            None => key.to_owned(),
        };
        self.flags.insert(key, name.to_owned());
    }

    /// The one interface that a flag means.
    fn the_interface<'a>(
        &mut self,
        settings: &'a mut Settings,
        name: &str,
    ) -> Option<&'a mut InterfaceSettings> {
        let count = settings.interfaces.len();
        if count > 1 {
            let line = format!("{name}: the file has {count} interfaces, so this has to be said there");
            self.lines.push((usize::MAX, line));
            return None;
        }
        if count == 0 {
            settings.interfaces.push(InterfaceSettings::default());
        }
        settings.interfaces.first_mut()
    }
}

fn interface_key(key: &str) -> Option<&str> {
    key.strip_prefix(INTERFACE)?.strip_prefix('.')
}

fn with<T>(
    keys: &'static [Key<T>],
    path: &str,
    set: impl FnOnce(&Key<T>) -> Result<(), Vec<String>>,
) -> Result<(), Vec<String>> {
    find(keys, path).map_or_else(|| Err(vec![unknown(keys, path)]), set)
}

fn set_either<T>(key: &Key<T>, into: &mut T, text: &str) -> Result<(), Vec<String>> {
    let Ok(value) = DeValue::parse(text) else { return (key.set_text)(into, &[text.to_owned()]) };
    let mut wrong = Wrong::default();
    (key.set)(into, &value, &mut wrong);
    if wrong.0.is_empty() { Ok(()) } else { Err(wrong.0.into_iter().map(|(_, text)| text).collect()) }
}

/// Line and column of a place, from 1; a column is a letter.
fn line_and_column(text: &str, place: usize) -> (usize, usize) {
    let before = text.get(..place.min(text.len())).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    (line, column)
}

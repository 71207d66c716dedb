//! Reading the file: a walk over its tables by the table of keys, which notes everything that is wrong.

use std::collections::BTreeMap;
use std::ops::Range;

use toml::de::{DeTable, DeValue};

use super::keys::{INTERFACE_KEYS, KEYS, Key};
use super::value::{Value, Wrong, kind};
use super::{InterfaceSettings, Settings};

/// The list of interfaces.
pub(crate) const INTERFACE: &str = "interface";

/// Where each setting of a file stands: its name, with `interface[0].` before an interface's.
pub(crate) type Places = BTreeMap<String, Range<usize>>;

/// Reads a file's text into `settings`. What is wrong with it is noted, and the rest is read all the same.
pub(crate) fn read(text: &str, settings: &mut Settings, wrong: &mut Wrong) -> Places {
    let (root, errors) = DeTable::parse_recoverable(text);
    for error in errors {
        wrong.note(error.span().unwrap_or(0..0), error.message().trim_end());
    }
    let mut places = Places::new();
    let mut interfaces = None;
    let mut walk = Walk { places: &mut places, wrong };
    for (name, value) in root.get_ref() {
        if name.get_ref() == INTERFACE {
            interfaces = Some(value);
        }
    }
    walk.table(KEYS, root.get_ref(), "", "", settings);
    if let Some(value) = interfaces {
        settings.interfaces = walk.interfaces(value);
    }
    places
}

struct Walk<'a> {
    places: &'a mut Places,
    wrong: &'a mut Wrong,
}

impl Walk<'_> {
    /// Reads a table; `prefix` is its name with a dot behind it, `owner` what stands before that in a place's name.
    fn table<T>(&mut self, keys: &[Key<T>], table: &DeTable<'_>, prefix: &str, owner: &str, into: &mut T) {
        for (name, value) in table {
            let path = format!("{prefix}{}", name.get_ref());
            let inner = format!("{path}.");
            if let Some(key) = keys.iter().find(|key| key.path == path) {
                self.places.insert(format!("{owner}{path}"), value.span());
                (key.set)(into, value, self.wrong);
            } else if owner.is_empty() && path == INTERFACE {
                // Read by whoever called.
            } else if keys.iter().any(|key| key.path.starts_with(&inner)) {
                match value.get_ref() {
                    DeValue::Table(table) => self.table(keys, table, &inner, owner, into),
                    _ => self.wrong.note(
                        value.span(),
                        format!("{path} is {}: it should be a table, [{path}]", kind(value)),
                    ),
                }
            } else {
                self.wrong.note(name.span(), unknown(keys, &path));
            }
        }
    }

    /// The interfaces, of which there may be one without brackets twice.
    fn interfaces(&mut self, value: &Value<'_>) -> Vec<InterfaceSettings> {
        let mut one = |place: usize, value: &Value<'_>| {
            let mut interface = InterfaceSettings::default();
            match value.get_ref() {
                DeValue::Table(table) => {
                    let owner = format!("{INTERFACE}[{place}].");
                    self.table(INTERFACE_KEYS, table, "", &owner, &mut interface);
                }
                _ => self.wrong.note(
                    value.span(),
                    format!("this is {}: an interface is a table, [[interface]]", kind(value)),
                ),
            }
            interface
        };
        match value.get_ref() {
            DeValue::Array(items) => items.iter().enumerate().map(|(place, item)| one(place, item)).collect(),
            _ => vec![one(0, value)],
        }
    }
}

/// Says that there is no such setting, and which it may have meant.
pub(crate) fn unknown<T>(keys: &[Key<T>], path: &str) -> String {
    let last = |path: &str| path.rsplit('.').next().unwrap_or_default().to_owned();
    // The right name in the wrong table is as likely as a wrong letter.
    let misplaced = || keys.iter().map(|key| key.path).find(|known| last(known) == last(path));
    let of_interface = || INTERFACE_KEYS.iter().any(|key| key.path == last(path));
    let hint = match misplaced().or_else(|| nearest(path, keys.iter().map(|key| key.path))) {
        Some(known) => format!("did you mean {known}?"),
        None if of_interface() => format!("did you mean {} in [[interface]]?", last(path)),
        None => "examples/freeway.toml has all of them".to_owned(),
    };
    format!("there is no setting {path}: {hint}")
}

/// The known name that looks most like `name`, if one does.
pub(crate) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    /// Of 1: a letter in five may be wrong.
    const ALIKE: f64 = 0.75;
    let scored = known.map(|known| (strsim::normalized_damerau_levenshtein(name, known), known));
    let best = scored.max_by(|(a, _), (b, _)| a.total_cmp(b));
    best.filter(|(score, _)| *score >= ALIKE).map(|(_, known)| known)
}

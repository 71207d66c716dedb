//! Settings of single connections, without a byte in their records.
//!
//! A connection names its settings by a number (its profile), which it shares with all that a listener accepted. One
//! that is set up differently gets the number of a class: a profile that equal connections share, made when the first
//! of them asks and free again when the last has gone.
//!
//! ```text
//!   connection ──► profiles │ listener 80 │ listener 443 │ class: 80 + nagle │ class: 443 + dscp 10 │
//!                                 ▲              ▲                │ base                 │ base
//!                                 └──────────────┼────────────────┘                      │
//!                                                └───────────────────────────────────────┘
//! ```
//!
//! There are few classes, so a scan over their hashes finds one.

use alloc::vec::Vec;
use core::hash::{Hash, Hasher};

use freeway_tcp::Config;
use thiserror::Error;

use super::listener::{Listeners, Profile};

/// Why a connection's settings cannot be changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum ConfigureError {
    /// Too many connections have settings of their own, all different.
    #[error(
        "{0} different sets of connection settings are in use: raise max_classes, or set fewer connections up alike"
    )]
    Full(u16),
    /// The connection is over.
    #[error("the connection is over")]
    Over,
}

/// One class.
#[derive(Clone, Copy, Debug)]
struct Class {
    /// Of its settings.
    hash: u64,
    /// Connections that have it.
    connections: u32,
    /// Where its settings lie.
    profile: u16,
    /// The profile that it was made from.
    base: u16,
}

/// The classes of a core.
#[derive(Debug)]
pub(crate) struct Classes {
    classes: Vec<Class>,
    limit: u16,
    /// Which class a profile is, by its number; profiles beyond the end are none.
    of_profile: Vec<u16>,
}

/// No class.
const NONE: u16 = u16::MAX;

impl Classes {
    pub(crate) fn new(limit: u16) -> Self {
        let limit = limit.min(NONE - 1);
        Self { classes: Vec::with_capacity(usize::from(limit)), limit, of_profile: Vec::new() }
    }

    fn find(&self, profile: u16) -> Option<usize> {
        let class = *self.of_profile.get(usize::from(profile))?;
        (class != NONE).then_some(usize::from(class))
    }

    /// How many are in use.
    pub(crate) fn len(&self) -> usize {
        self.classes.iter().filter(|class| class.connections > 0).count()
    }
}

impl Listeners {
    /// The profile that a connection's settings were made from: its listener's or its open's.
    pub(crate) fn base(&self, profile: u16) -> u16 {
        let class = self.classes.find(profile).and_then(|at| self.classes.classes.get(at));
        class.map_or(profile, |class| class.base)
    }

    /// Keeps places for all classes that there may be, so that making one never allocates; called when listeners and
    /// opens have made profiles of theirs.
    pub(crate) fn reserve_classes(&mut self) {
        let missing = usize::from(self.classes.limit) - self.classes.classes.len();
        self.profiles.reserve(missing);
        let profiles = self.profiles.len() + missing;
        self.classes.of_profile.reserve(profiles.saturating_sub(self.classes.of_profile.len()));
    }

    /// The profile of a connection that has `profile` and wants `tcp`: it counts as one of the new one's connections,
    /// and no longer as one of the old one's.
    pub(crate) fn reclass(&mut self, profile: u16, tcp: &Config) -> Result<u16, ConfigureError> {
        let base = self.base(profile);
        let new = self.class(base, tcp)?;
        self.let_go(profile);
        Ok(new)
    }

    /// A profile with the settings `tcp` and everything else from `base`: `base` itself, or a class.
    fn class(&mut self, base: u16, tcp: &Config) -> Result<u16, ConfigureError> {
        let limit = self.classes.limit;
        let full = ConfigureError::Full(limit);
        let origin = *self.profiles.get(usize::from(base)).ok_or(full)?;
        if origin.tcp == *tcp {
            return Ok(base);
        }
        let hash = hash_of(tcp);
        let profiles = &self.profiles;
        let is_it = |class: &&mut Class| {
            let same = || profiles.get(usize::from(class.profile)).is_some_and(|it| it.tcp == *tcp);
            class.connections > 0 && class.hash == hash && class.base == base && same()
        };
        if let Some(class) = self.classes.classes.iter_mut().find(is_it) {
            class.connections = class.connections.saturating_add(1);
            return Ok(class.profile);
        }
        let settings = Profile { tcp: *tcp, ..origin };
        let vacant = self.classes.classes.iter_mut().find(|class| class.connections == 0);
        if let Some(class) = vacant {
            *class = Class { hash, connections: 1, base, ..*class };
            if let Some(profile) = self.profiles.get_mut(usize::from(class.profile)) {
                *profile = settings;
            }
            return Ok(class.profile);
        }
        let at = self.classes.classes.len();
        let profile = u16::try_from(self.profiles.len()).map_err(|_| full)?;
        if at >= usize::from(limit) {
            return Err(full);
        }
        self.profiles.push(settings);
        self.classes.classes.push(Class { hash, connections: 1, profile, base });
        let places = usize::from(profile) + 1;
        self.classes.of_profile.resize(places, NONE);
        if let Some(place) = self.classes.of_profile.get_mut(usize::from(profile)) {
            *place = at as u16;
        }
        Ok(profile)
    }

    /// A connection of this profile is no more.
    #[inline]
    pub(crate) fn let_go(&mut self, profile: u16) {
        if let Some(at) = self.classes.find(profile)
            && let Some(class) = self.classes.classes.get_mut(at)
        {
            class.connections = class.connections.saturating_sub(1);
        }
    }
}

/// FNV-1a: settings come from the application, not from strangers.
struct Fnv(u64);

impl Hasher for Fnv {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
}

fn hash_of(tcp: &Config) -> u64 {
    let mut hasher = Fnv(0xcbf2_9ce4_8422_2325);
    tcp.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::super::listener::ListenConfig;
    use super::*;

    fn table(limit: u16) -> Listeners {
        let mut table = Listeners::with_classes(limit);
        table.add(&ListenConfig { service: 7, ..ListenConfig::new(80) }).unwrap();
        table.add(&ListenConfig { service: 8, ..ListenConfig::new(81) }).unwrap();
        table
    }

    fn with_dscp(dscp: u8) -> Config {
        Config { dscp, ..Config::default() }
    }

    #[test]
    fn equal_settings_share_a_class_and_everything_else_comes_from_the_listener() {
        let mut table = table(4);
        let a = table.reclass(0, &with_dscp(10)).unwrap();
        let b = table.reclass(0, &with_dscp(10)).unwrap();
        let other_listener = table.reclass(1, &with_dscp(10)).unwrap();
        assert_eq!(a, b);
        assert_ne!(a, other_listener);
        let of = |profile: u16| table.profiles.get(usize::from(profile)).unwrap();
        assert_eq!((of(a).service, of(a).tcp.dscp), (7, 10));
        assert_eq!((of(other_listener).service, table.base(other_listener), table.base(a)), (8, 1, 0));
        assert_eq!((of(0).tcp, table.base(0)), (Config::default(), 0));
    }

    #[test]
    fn settings_as_they_were_need_no_class() {
        let mut table = table(4);
        let a = table.reclass(0, &with_dscp(10)).unwrap();
        assert_eq!((table.reclass(a, &Config::default()), table.classes.len()), (Ok(0), 0));
    }

    #[test]
    fn classes_are_bounded_and_the_last_connection_gives_one_back() {
        let mut table = table(2);
        table.reserve_classes();
        let room = table.profiles.capacity();
        let a = table.reclass(0, &with_dscp(1)).unwrap();
        let also_a = table.reclass(0, &with_dscp(1)).unwrap();
        let b = table.reclass(0, &with_dscp(2)).unwrap();
        assert_eq!(table.reclass(0, &with_dscp(3)), Err(ConfigureError::Full(2)));
        // A failed change leaves the connection where it was.
        assert_eq!(table.reclass(b, &with_dscp(3)), Err(ConfigureError::Full(2)));
        table.let_go(a);
        assert_eq!(table.reclass(0, &with_dscp(3)), Err(ConfigureError::Full(2)));
        table.let_go(also_a);
        let c = table.reclass(0, &with_dscp(3)).unwrap();
        assert_eq!((c, table.profiles[usize::from(c)].tcp.dscp), (a, 3));
        assert_eq!((table.profiles.len(), table.profiles.capacity()), (4, room));
        // A listener's own profile is never given back.
        table.let_go(0);
        assert_eq!(table.base(0), 0);
    }
}

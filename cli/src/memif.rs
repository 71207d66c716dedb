//! What `--dev memif:…` means.

use anyhow::{Result, bail};
use freeway_memif::{Config, MemifQueue, Role, SocketName, Trust, open};

/// What follows `memif:`, for error messages.
pub(crate) const SHAPE: &str = "memif:SOCKET[,role=server|client][,id=N][,queues=N][,secret=TEXT]\
                                [,peer=untrusted|trusted][,slots=N]";

/// A memif as `--dev` names it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct MemifSpec {
    pub(crate) socket: SocketName,
    pub(crate) role: Role,
    id: u32,
    /// As many as a peer surely has, if it is not said: a core whose queue has no peer reaches nobody.
    queues: usize,
    secret: String,
    pub(crate) trust: Trust,
    ring_log2: u8,
}

impl MemifSpec {
    /// Reads what follows `memif:`.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut parts = text.split(',');
        let socket = parts.next().unwrap_or_default().parse().map_err(|error| format!("{error}; {SHAPE}"))?;
        let Config { role, id, trust, ring_log2, queues, .. } = Config::default();
        let mut spec = Self { socket, role, id, queues, secret: String::new(), trust, ring_log2 };
        for part in parts {
            let wrong = || format!("'{part}' is no setting of a memif: {SHAPE}");
            let (key, value) = part.split_once('=').ok_or_else(wrong)?;
            match (key, value) {
                ("role", "server") => spec.role = Role::Server,
                ("role", "client") => spec.role = Role::Client,
                ("peer", "untrusted") => spec.trust = Trust::None,
                ("peer", "trusted") => spec.trust = Trust::Full,
                ("id", number) => spec.id = number.parse().map_err(|_| wrong())?,
                ("queues", number) => spec.queues = number.parse().map_err(|_| wrong())?,
                ("secret", secret) => secret.clone_into(&mut spec.secret),
                ("slots", number) => {
                    let slots: u32 = number.parse().map_err(|_| wrong())?;
                    if !slots.is_power_of_two() {
                        return Err(format!("a memif ring has a power of two of slots, not {slots}"));
                    }
                    spec.ring_log2 = slots.trailing_zeros() as u8;
                }
                _ => return Err(wrong()),
            }
        }
        spec.config(1_500).check().map_err(|error| error.to_string())?;
        Ok(spec)
    }

    fn config(&self, mtu: u16) -> Config {
        let Self { socket, role, id, queues, secret, trust, ring_log2 } = self.clone();
        // A port's address is made of its name: the two ends of one memif must not have the same.
        let end = if role == Role::Server { "s" } else { "c" };
        let name = format!("memif{id}{end}");
        Config { name, socket, role, id, secret, trust, queues, ring_log2, mtu, ..Config::default() }
    }

    /// Whether the packet pool is to lie in a file of its own, to be lent.
    pub(crate) fn lends(&self) -> bool {
        self.role == Role::Client && self.trust == Trust::Full
    }

    /// Opens the interface; each of its queues goes to a core.
    pub(crate) fn open(&self, cores: usize, mtu: u16) -> Result<Vec<MemifQueue>> {
        if self.queues > cores {
            bail!(
                "{} queues need as many cores, not {cores}: give --cores more, or queues= less",
                self.queues
            );
        }
        Ok(open(&[self.config(mtu)])?.pop().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn settings_are_read_or_refused() {
        let plain = MemifSpec::parse("/run/a.sock").unwrap();
        assert_eq!((plain.role, plain.id, plain.trust, plain.lends()), (Role::Server, 0, Trust::None, false));
        assert_eq!(plain.queues, 1);
        let all = MemifSpec::parse("@fw,role=client,id=7,queues=2,secret=s,peer=trusted,slots=256").unwrap();
        assert_eq!((all.role, all.id, all.queues, all.ring_log2), (Role::Client, 7, 2, 8));
        assert!(all.lends() && all.socket == SocketName::Abstract("fw".into()));
        for bad in [
            "",
            "@",
            "a,role=master",
            "a,id=x",
            "a,queues=0",
            "a,slots=100",
            "a,slots=4",
            "a,queues",
            "a,peer=friend",
            "a,x=1",
        ] {
            assert!(MemifSpec::parse(bad).is_err(), "{bad}");
        }
    }
}

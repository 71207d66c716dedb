//! What `PROTO://HOST:PORT` means.

use std::net::{SocketAddr, ToSocketAddrs as _};
use std::str::FromStr;

/// What is asked of a server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Proto {
    /// memcached's text protocol over TCP.
    Cache,
    /// The same over UDP.
    CacheUdp,
    Http,
    /// Server-Sent Events: connections that hear, and one at a time that publishes.
    Events,
    /// The same by WebSockets.
    Socket,
    Echo,
    /// Echo over UDP.
    Udp,
    /// Open, one echoed request, close.
    Connect,
    /// Send as fast as the server reads.
    Bulk,
    /// Read as fast as the server sends.
    Source,
}

impl Proto {
    const ALL: [(&'static str, Self); 10] = [
        ("cache", Self::Cache),
        ("cacheu", Self::CacheUdp),
        ("http", Self::Http),
        ("events", Self::Events),
        ("ws", Self::Socket),
        ("echo", Self::Echo),
        ("udp", Self::Udp),
        ("connect", Self::Connect),
        ("bulk", Self::Bulk),
        ("source", Self::Source),
    ];

    /// Its name in a target.
    pub(super) fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, proto)| *proto == self).map_or("", |&(name, _)| name)
    }

    /// Whether it goes by datagrams.
    pub(super) const fn is_udp(self) -> bool {
        matches!(self, Self::CacheUdp | Self::Udp)
    }

    /// Whether connections are opened first and stay.
    pub(super) const fn holds(self) -> bool {
        matches!(self, Self::Cache | Self::Http | Self::Events | Self::Socket | Self::Echo)
    }

    /// Whether connections only hear.
    pub(super) const fn hears(self) -> bool {
        matches!(self, Self::Events | Self::Socket)
    }

    /// Whether a target has a path.
    const fn has_path(self) -> bool {
        matches!(self, Self::Http | Self::Events | Self::Socket)
    }
}

/// Where the load goes, and what it asks there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Target {
    pub(super) proto: Proto,
    pub(super) server: SocketAddr,
    /// The HTTP Host header.
    pub(super) host: String,
    /// The HTTP request target; what subscribers ask for.
    pub(super) path: String,
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = || Proto::ALL.map(|(name, _)| name).join(", ");
        let (proto, rest) = text
            .split_once("://")
            .ok_or_else(|| format!("'{text}' is not PROTO://HOST:PORT, such as echo://198.18.0.2:7"))?;
        let proto = Proto::ALL.iter().find(|(name, _)| *name == proto).map(|&(_, proto)| proto);
        let proto = proto.ok_or_else(|| format!("'{text}' names no protocol: it is one of {}", known()))?;
        let (host, path) = match rest.find('/') {
            Some(place) if proto.has_path() => rest.split_at(place),
            Some(_) => return Err(format!("'{text}': only http, events and ws have a path")),
            None => (rest, "/"),
        };
        let mut found =
            host.to_socket_addrs().map_err(|error| format!("'{host}' is no HOST:PORT: {error}"))?;
        let server = found.next().ok_or_else(|| format!("'{host}' has no address"))?;
        if path.contains([' ', '\r', '\n']) {
            return Err(format!("'{path}' cannot be asked for: spaces are written %20"));
        }
        Ok(Self { proto, server, host: host.to_owned(), path: path.to_owned() })
    }
}

/// A span of time as people write it: 10s, 500ms, 2m.
pub(super) fn span(text: &str) -> Result<std::time::Duration, String> {
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let unit = match text.get(digits.len()..) {
        Some("s" | "") => 1.0,
        Some("ms") => 1e-3,
        Some("m") => 60.0,
        Some("h") => 3_600.0,
        _ => return Err(format!("'{text}' is no span of time, such as 10s, 500ms or 2m")),
    };
    match digits.parse::<f64>() {
        Ok(count) if count > 0.0 && count * unit < 1e7 => {
            Ok(std::time::Duration::from_secs_f64(count * unit))
        }
        _ => Err(format!("'{text}' is no span of time, such as 10s, 500ms or 2m")),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn targets_are_read_or_refused() {
        let target: Target = "http://198.18.0.2:80/a/b".parse().unwrap();
        assert_eq!((target.proto, target.path.as_str()), (Proto::Http, "/a/b"));
        assert_eq!(target.server, "198.18.0.2:80".parse().unwrap());
        let target: Target = "cacheu://[2001:db8::2]:11211".parse().unwrap();
        assert!(target.proto.is_udp() && target.server.is_ipv6());
        assert_eq!("http://198.18.0.2:80".parse::<Target>().unwrap().path, "/");
        for bad in [
            "198.18.0.2:7",
            "ftp://198.18.0.2:7",
            "echo://198.18.0.2",
            "echo://198.18.0.2:7/x",
            "http://198.18.0.2:80/a b",
        ] {
            assert!(bad.parse::<Target>().is_err(), "{bad}");
        }
    }

    #[test]
    fn spans_are_read_or_refused() {
        for (text, millis) in
            [("10s", 10_000), ("1.5s", 1_500), ("250ms", 250), ("2m", 120_000), ("3", 3_000)]
        {
            assert_eq!(span(text).unwrap().as_millis(), millis, "{text}");
        }
        for bad in ["", "s", "-1s", "0s", "5d", "1e99s"] {
            assert!(span(bad).is_err(), "{bad}");
        }
    }
}

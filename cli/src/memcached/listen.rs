//! `-l`: where to listen.

use std::net::{IpAddr, SocketAddr};

use anyhow::{Context as _, Result, ensure};

/// Addresses, each with its prefix, and a port if one was said.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Listen {
    pub(super) addresses: Vec<String>,
    pub(super) port: Option<u16>,
}

/// Reads `ADDR`, `ADDR/PREFIX`, `ADDR:PORT`, `[ADDR]:PORT`; any address is all of them, and needs no flag.
pub(super) fn parse(listen: &[String]) -> Result<Listen> {
    let mut all = Listen::default();
    for text in listen {
        let place = || format!("-l {text}");
        let text = text.strip_prefix("notls:").unwrap_or(text);
        let (text, prefix) = match text.split_once('/') {
            Some((addr, prefix)) => (addr, Some(prefix)),
            None => (text, None),
        };
        let (addr, port) = match text.parse::<SocketAddr>() {
            Ok(both) => (both.ip(), Some(both.port())),
            Err(_) => {
                let bare = text.trim_start_matches('[').trim_end_matches(']');
                (
                    bare.parse::<IpAddr>().with_context(|| format!("{}: names are not resolved", place()))?,
                    None,
                )
            }
        };
        if let Some(port) = port {
            ensure!(
                all.port.is_none_or(|other| other == port),
                "{}: the cache has one port, on all addresses",
                place()
            );
            all.port = Some(port);
        }
        if addr.is_unspecified() {
            continue;
        }
        let prefix = prefix.unwrap_or(if addr.is_ipv4() { "24" } else { "64" });
        all.addresses.push(format!("{addr}/{prefix}"));
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn listen(texts: &[&str]) -> Result<Listen> {
        parse(&texts.iter().map(|&text| text.to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn addresses_have_a_prefix() {
        let found = listen(&["198.18.0.2", "2001:db8::2", "198.18.1.2/16", "[2001:db8::3]"]).unwrap();
        assert_eq!(found.addresses, ["198.18.0.2/24", "2001:db8::2/64", "198.18.1.2/16", "2001:db8::3/64"]);
        assert_eq!(found.port, None);
    }

    #[test]
    fn a_port_is_one() {
        assert_eq!(listen(&["198.18.0.2:11212", "[2001:db8::2]:11212"]).unwrap().port, Some(11212));
        assert!(listen(&["198.18.0.2:1", "198.18.0.3:2"]).is_err());
    }

    #[test]
    fn any_address_is_all() {
        assert_eq!(listen(&["0.0.0.0", "::"]).unwrap(), Listen::default());
    }

    #[test]
    fn names_are_refused() {
        assert!(listen(&["localhost"]).unwrap_err().to_string().contains("names are not resolved"));
        assert!(listen(&["eth0"]).is_err());
    }
}

//! A request's target and the host it is for (RFC 9112, section 3.2; RFC 3986, section 3.2.2).

/// The form that a target is written in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Form {
    /// `/path?query`, sent to the server itself.
    Origin,
    /// `http://host/path?query`, as sent to a proxy.
    Absolute,
    /// `host:port`, for CONNECT only.
    Authority,
    /// `*`: the server as a whole, for OPTIONS only.
    Asterisk,
}

/// What a request is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Target<'b> {
    /// How it was written.
    pub form: Form,
    /// The path as sent: it begins with a slash, and is not decoded. Of an asterisk or an authority the whole.
    pub path: &'b str,
    /// What follows the question mark.
    pub query: Option<&'b str>,
    /// The authority of an absolute form, which takes the place of Host (section 3.2.2).
    pub authority: Option<&'b str>,
}

impl<'b> Target<'b> {
    /// Reads a target; `None` for what is none of the four forms, or holds a character that no URI has.
    pub fn parse(text: &'b str) -> Option<Self> {
        // A fragment never leaves the client; letters beyond ASCII are sent encoded.
        if !text.bytes().all(|byte| (0x21..0x7f).contains(&byte) && byte != b'#') {
            return None;
        }
        if text.starts_with('/') {
            return Some(Self::split(Form::Origin, text, None));
        }
        if text == "*" {
            return Some(Self { form: Form::Asterisk, path: text, query: None, authority: None });
        }
        let Some((scheme, rest)) = text.split_once("://") else {
            return Some(Self { form: Form::Authority, path: text, query: None, authority: None });
        };
        if !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https") {
            return None;
        }
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        if authority.is_empty() || !is_host(authority.as_bytes()) {
            return None;
        }
        Some(Self::split(Form::Absolute, path, Some(authority)))
    }

    fn split(form: Form, text: &'b str, authority: Option<&'b str>) -> Self {
        let (path, query) = match memchr::memchr(b'?', text.as_bytes()) {
            Some(at) => (&text[..at], Some(&text[at + 1..])),
            None => (text, None),
        };
        Self { form, path: if path.is_empty() { "/" } else { path }, query, authority }
    }
}

/// Whether `text` is a host and perhaps a port: a name, an IPv4 address, or an IPv6 address in brackets. An empty one
/// is allowed, for targets without an authority.
pub fn is_host(text: &[u8]) -> bool {
    let (host_is_good, port) = match text.strip_prefix(b"[") {
        Some(rest) => {
            let Some(end) = rest.iter().position(|&byte| byte == b']') else { return false };
            let (address, port) = rest.split_at(end);
            let address_is_good = core::str::from_utf8(address)
                .is_ok_and(|address| address.parse::<core::net::Ipv6Addr>().is_ok());
            (address_is_good, &port[1..])
        }
        None => {
            let end = text.iter().position(|&byte| byte == b':').unwrap_or(text.len());
            (text[..end].iter().all(|&byte| is_name(byte)), &text[end..])
        }
    };
    let port_is_good = match port {
        [] => true,
        [b':', digits @ ..] => digits.len() <= 5 && digits.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    host_is_good && port_is_good
}

/// Letters of a registered name: unreserved, sub-delimiters, and the percent sign of an escape.
const fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'-' | b'.'
                | b'_'
                | b'~'
                | b'%'
                | b'!'
                | b'$'
                | b'&'
                | b'\''
                | b'('
                | b')'
                | b'*'
                | b'+'
                | b','
                | b';'
                | b'='
        )
}

/// The host without its port, and without the final dot of a fully qualified name.
pub fn without_port(host: &str) -> &str {
    let name = match host.starts_with('[') {
        true => host.find(']').map_or(host, |end| &host[..=end]),
        false => host.split(':').next().unwrap_or(host),
    };
    name.strip_suffix('.').unwrap_or(name)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn targets_come_in_four_forms() {
        for (text, form, path, query, authority) in [
            ("/a?b?c", Form::Origin, "/a", Some("b?c"), None),
            ("/", Form::Origin, "/", None, None),
            ("//a/b", Form::Origin, "//a/b", None, None),
            ("http://a:80/b?c", Form::Absolute, "/b", Some("c"), Some("a:80")),
            ("HTTPS://a", Form::Absolute, "/", None, Some("a")),
            ("http://a?b", Form::Absolute, "/", Some("b"), Some("a")),
            ("http://[2001:db8::1]:8/x", Form::Absolute, "/x", None, Some("[2001:db8::1]:8")),
            ("*", Form::Asterisk, "*", None, None),
            ("a:443", Form::Authority, "a:443", None, None),
        ] {
            assert_eq!(Target::parse(text), Some(Target { form, path, query, authority }), "{text}");
        }
    }

    #[test]
    fn what_no_uri_has_is_refused() {
        for text in
            ["/a#b", "/\u{e4}", "http://", "http:///a", "http://user@a/", "ftp://a/", "/a b", "http://a b/"]
        {
            assert_eq!(Target::parse(text), None, "{text}");
        }
    }

    #[test]
    fn hosts_are_names_or_addresses() {
        for host in [
            "a",
            "a.example",
            "a:80",
            "198.18.0.2",
            "[2001:db8::1]",
            "[::1]:80",
            "",
            "a:",
            "xn--bcher-kva.example",
        ] {
            assert!(is_host(host.as_bytes()), "{host}");
        }
        for host in [
            "a/b", "a@b", "a b", "a:b", "a:123456", "[::1", "[x]", "[::1]x", "a\"", "a,b/c", "a:80:80",
            "\u{e4}",
        ] {
            assert!(!is_host(host.as_bytes()), "{host}");
        }
    }

    #[test]
    fn a_name_is_known_without_port_and_dot() {
        for (host, name) in [("a.b:80", "a.b"), ("a.b.", "a.b"), ("[::1]:80", "[::1]"), ("", "")] {
            assert_eq!(without_port(host), name);
        }
    }
}

//! The opening handshake, a server's side (RFC 6455, section 4.2).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest as _, Sha1};

use crate::fields::{Seen, list};
use crate::method::Method;
use crate::request::Request;

/// What is hashed with a client's key, so that nobody answers who does not know of WebSocket.
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Characters of an accepting key: 20 bytes in base64.
pub const ACCEPT_LEN: usize = 28;

/// A request that opens no WebSocket.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HandshakeError {
    /// It does not ask for one: 426 says that it should.
    NotAsked,
    /// It asks, but wrongly: 400.
    Malformed,
    /// It asks for another version than 13: 426 with the version.
    Version,
}

/// Checks a request that is to open a WebSocket, and returns the key that accepts it.
///
/// # Errors
///
/// See [`HandshakeError`].
pub fn check(request: &Request<'_, '_>) -> Result<[u8; ACCEPT_LEN], HandshakeError> {
    let asked = request.seen.contains(Seen::UPGRADE | Seen::CONNECTION_UPGRADE)
        && request.values("upgrade").flat_map(list).any(|name| name.eq_ignore_ascii_case(b"websocket"));
    if !asked {
        return Err(HandshakeError::NotAsked);
    }
    if request.method != Method::Get || request.minor != 1 {
        return Err(HandshakeError::Malformed);
    }
    if request.single("sec-websocket-version") != Some(b"13") {
        return Err(HandshakeError::Version);
    }
    let key = request.single("sec-websocket-key").ok_or(HandshakeError::Malformed)?;
    let mut nonce = [0; 18];
    match STANDARD.decode_slice(key, &mut nonce) {
        Ok(16) => Ok(accept_key(key)),
        _ => Err(HandshakeError::Malformed),
    }
}

/// The key that accepts `key`.
pub fn accept_key(key: &[u8]) -> [u8; ACCEPT_LEN] {
    let hash = Sha1::new().chain_update(key).chain_update(GUID).finalize();
    let mut accept = [b'='; ACCEPT_LEN];
    // 20 bytes are 28 characters.
    let _ = STANDARD.encode_slice(hash, &mut accept);
    accept
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::request::{Limits, Parsed, parse, space};

    const GOOD: &str = "Upgrade: websocket\r\nConnection: keep-alive, Upgrade\r\nSec-WebSocket-Version: 13\r\n\
                        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";

    fn checked(method: &str, fields: &str) -> Result<String, HandshakeError> {
        let text = format!("{method} /chat HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n");
        let mut space = space();
        match parse(text.as_bytes(), &mut space, &Limits::default()).unwrap() {
            Parsed::Complete(request) => check(&request).map(|key| String::from_utf8(key.to_vec()).unwrap()),
            Parsed::Partial => panic!("partial"),
        }
    }

    #[test]
    fn the_key_of_the_standard_is_accepted_as_it_says() {
        assert_eq!(checked("GET", GOOD).unwrap(), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn what_opens_nothing_is_told_why() {
        for (method, fields, error) in [
            ("GET", "X: y".to_owned(), HandshakeError::NotAsked),
            ("GET", GOOD.replace("keep-alive, Upgrade", "keep-alive"), HandshakeError::NotAsked),
            ("GET", GOOD.replace("websocket\r", "h2c\r"), HandshakeError::NotAsked),
            ("GET", GOOD.replace("13", "8"), HandshakeError::Version),
            ("GET", GOOD.replace("==", ""), HandshakeError::Malformed),
            ("GET", GOOD.replace("dGhl", ""), HandshakeError::Malformed),
            ("POST", GOOD.to_owned(), HandshakeError::Malformed),
        ] {
            assert_eq!(checked(method, &fields), Err(error), "{fields}");
        }
    }
}

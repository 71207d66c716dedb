//! Messages to subscribers, by POST, from those who may.

use std::fmt;
use std::net::IpAddr;

use freeway_http1::{Method, Request, Status};

use super::{Context, Handler, Reply, Step};

/// Bytes of a published message at most.
const MESSAGE_MAX: usize = 16 << 10;

/// Messages being received at once.
const MESSAGES_MAX: usize = 16;

/// Who may publish: whoever fits all that is asked for.
#[derive(Clone, Default)]
pub struct Rights {
    /// Networks to publish from, each an address and how many of its first bits count; any when there is none.
    pub from: Vec<(IpAddr, u8)>,
    /// What a publisher sends as `Authorization: Bearer TOKEN` (RFC 6750, section 2.1); nothing when there is none. It goes
    /// over the wire as it is: use TLS.
    pub token: Option<Box<[u8]>>,
}

impl fmt::Debug for Rights {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let token = self.token.as_ref().map(|_| "(kept back)");
        formatter.debug_struct("Rights").field("from", &self.from).field("token", &token).finish()
    }
}

impl Rights {
    /// Why a request may not publish: 403 from the wrong place, 401 without the right token.
    fn refuse(&self, request: &Request<'_, '_>, peer: IpAddr) -> Option<Status> {
        if !self.from.is_empty() && !self.from.iter().any(|&network| is_in(peer, network)) {
            return Some(Status::FORBIDDEN);
        }
        let token = self.token.as_deref()?;
        let given = request.single("authorization").and_then(|value| value.split_first_chunk());
        let is_right = given.is_some_and(|(scheme, given): (&[u8; 7], _)| {
            scheme.eq_ignore_ascii_case(b"Bearer ") && is_same(given, token)
        });
        (!is_right).then_some(Status::UNAUTHORIZED)
    }
}

/// Whether `peer` is in a network. An IPv4 address within IPv6 is itself.
fn is_in(peer: IpAddr, (network, prefix_len): (IpAddr, u8)) -> bool {
    let differ = match (peer.to_canonical(), network) {
        (IpAddr::V4(peer), IpAddr::V4(network)) => u128::from(u32::from(peer) ^ u32::from(network)) << 96,
        (IpAddr::V6(peer), IpAddr::V6(network)) => u128::from(peer) ^ u128::from(network),
        _ => return false,
    };
    differ.leading_zeros() >= u32::from(prefix_len)
}

/// Compares in a time that tells nothing of where two texts differ.
fn is_same(left: &[u8], right: &[u8]) -> bool {
    let differ = left.iter().zip(right).fold(0, |sum, (left, right)| sum | (left ^ right));
    left.len() == right.len() && std::hint::black_box(differ) == 0
}

/// Sends the body that it is posted to all subscribers of a topic.
#[derive(Debug)]
pub struct Publish {
    topic: u8,
    rights: Rights,
    /// Messages that are being received.
    drafts: Vec<(bool, Vec<u8>)>,
}

impl Publish {
    /// A handler that publishes to `topic`, for whoever reaches its path.
    pub fn new(topic: u8) -> Self {
        let rights = Rights::default();
        Self {
            topic,
            rights,
            drafts: (0..MESSAGES_MAX).map(|_| (false, Vec::with_capacity(MESSAGE_MAX))).collect(),
        }
    }

    /// The same for those with these rights only.
    #[must_use]
    pub fn only(mut self, rights: Rights) -> Self {
        self.rights = rights;
        self
    }
}

impl Handler for Publish {
    fn allow(&self) -> &'static str {
        "POST, OPTIONS"
    }

    fn request(
        &mut self,
        request: &Request<'_, '_>,
        state: &mut u64,
        _reply: &mut Reply<'_>,
        context: &mut Context<'_>,
    ) -> Step {
        if request.method != Method::Post {
            return Step::Refuse(Status::METHOD_NOT_ALLOWED);
        }
        if let Some(status) = self.rights.refuse(request, context.peer.ip()) {
            return Step::Refuse(status);
        }
        let Some(place) = self.drafts.iter().position(|(used, _)| !used) else {
            return Step::Refuse(Status::SERVICE_UNAVAILABLE);
        };
        self.drafts[place].0 = true;
        *state = place as u64;
        Step::Body(MESSAGE_MAX as u64)
    }

    fn body(&mut self, state: &mut u64, piece: &[u8], _reply: &mut Reply<'_>) -> usize {
        if let Some((_, draft)) = self.drafts.get_mut(*state as usize) {
            draft.extend_from_slice(piece);
        }
        piece.len()
    }

    fn end(&mut self, state: &mut u64, reply: &mut Reply<'_>, context: &mut Context<'_>) -> Step {
        let Some((used, draft)) = self.drafts.get_mut(*state as usize) else { return Step::Done };
        let is_taken = context.outbox.send(self.topic, draft);
        *used = false;
        draft.clear();
        if is_taken {
            reply.whole(Status::ACCEPTED, "", b"", b"");
            Step::Done
        } else {
            Step::Refuse(Status::SERVICE_UNAVAILABLE)
        }
    }

    fn abandoned(&mut self, state: u64) {
        if let Some((used, draft)) = self.drafts.get_mut(state as usize) {
            *used = false;
            draft.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn networks_hold_their_addresses() {
        for (peer, network, prefix_len, expected) in [
            ("198.18.0.7", "198.18.0.0", 24, true),
            ("198.18.1.7", "198.18.0.0", 24, false),
            ("::ffff:198.18.0.7", "198.18.0.0", 24, true),
            ("198.18.0.7", "198.18.0.7", 32, true),
            ("198.18.0.6", "198.18.0.7", 32, false),
            ("2001:db8::7", "0.0.0.0", 0, false),
            ("2001:db8::7", "::", 0, true),
            ("2001:db8::7", "2001:db8::", 64, true),
            ("2001:db8:0:1::7", "2001:db8::", 64, false),
        ] {
            let found = is_in(peer.parse().unwrap(), (network.parse().unwrap(), prefix_len));
            assert_eq!(found, expected, "{peer} in {network}/{prefix_len}");
        }
    }

    #[test]
    fn tokens_are_the_same_or_not() {
        assert!(is_same(b"secret", b"secret"));
        for other in [&b"secreT"[..], b"secre", b"secrets", b""] {
            assert!(!is_same(other, b"secret"));
        }
    }
}

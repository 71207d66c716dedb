//! Which of TCP's settings apply to a connection: its profile's, and while it opens a copy fitted to the way.

use core::net::IpAddr;

use freeway_tcp::Config;

use super::item::Store;
use super::listener::Listeners;
use super::path::headers;
use super::record::{Connection, Socket};
use crate::net::{Hop, Net};

impl Listeners {
    /// The settings of a connection. Those of one that still opens are made for the call and lie in `place`.
    ///
    /// It borrows tables one by one, so that the connection can be changed while its settings are looked at.
    #[inline]
    pub(crate) fn settings<'a, S>(
        &'a self,
        net: &Net,
        store: &Store,
        connection: &Connection<S>,
        place: &'a mut Option<Config>,
    ) -> Option<&'a Config> {
        if connection.tcb.state().is_synchronized() {
            return self.profiles.get(usize::from(connection.socket.profile)).map(|profile| &profile.tcp);
        }
        let Socket { key, profile, hop, .. } = connection.socket;
        Some(place.insert(self.opening(net, store, profile, hop, key.remote())?))
    }

    /// TCP's settings while a connection opens: those of its profile, with the MSS that the way to the peer and
    /// this host's buffers carry (RFC 9293, SHLD-6, MUST-15, MUST-67).
    pub(crate) fn opening(
        &self,
        net: &Net,
        store: &Store,
        profile: u16,
        hop: Hop,
        peer: IpAddr,
    ) -> Option<Config> {
        const DEFAULT_MSS_V6: u16 = 1220;
        let mut config = self.profiles.get(usize::from(profile))?.tcp;
        let buffer = store.pool.buffer_size() - u32::from(store.pool.headroom());
        let carried =
            net.mtu(hop).saturating_sub(headers(peer)).min(u16::try_from(buffer).unwrap_or(u16::MAX));
        config.mss = config.mss.min(carried);
        if peer.is_ipv6() {
            config.default_mss = config.default_mss.max(DEFAULT_MSS_V6);
        }
        Some(config)
    }
}

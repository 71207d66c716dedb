//! The table of all settings: each one's name in the file, its place in [`Settings`], its bounds, and whether a running
//! server takes a new value.

use std::fmt;
use std::ops::RangeBounds;

use toml::de::DeValue;

use super::value::{Setting, Size, Value, Wrong};
use super::{InterfaceSettings, Settings};

/// Whether a running server takes a new value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum When {
    /// At a reload.
    Reload,
    /// At the next start.
    Restart,
}

/// One setting of a `T`.
pub(crate) struct Key<T> {
    /// Its name, tables with dots: `tcp.congestion`.
    pub(crate) path: &'static str,
    pub(crate) when: When,
    /// Reads a value of the file.
    pub(crate) set: fn(&mut T, &Value<'_>, &mut Wrong),
    /// Reads what stands behind a flag.
    pub(crate) set_text: fn(&mut T, &[String]) -> Result<(), Vec<String>>,
    /// The value, as the file has it.
    pub(crate) get: fn(&T) -> String,
}

impl<T> fmt::Debug for Key<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key").field("path", &self.path).field("when", &self.when).finish_non_exhaustive()
    }
}

/// Says what is wrong with a value outside its bounds.
fn outside<V: PartialOrd + fmt::Display>(value: &V, bounds: &impl RangeBounds<V>) -> Option<String> {
    use std::ops::Bound::{Excluded, Included, Unbounded};
    if bounds.contains(value) {
        return None;
    }
    Some(match (bounds.start_bound(), bounds.end_bound()) {
        (Included(least), Included(most)) => format!("{value} is not between {least} and {most}"),
        (Included(least), Unbounded | Excluded(_)) => format!("{value} is too small: at least {least}"),
        (_, Included(most)) => format!("{value} is too large: at most {most}"),
        _ => format!("{value} is out of bounds"),
    })
}

/// A table of settings. A line is `"path" => place, when`, with `in BOUNDS` behind the place where not every value of
/// the type makes sense, and `as size` where it is a number of bytes.
macro_rules! keys {
    ($of:ty; $($path:literal => $($field:ident).+ $(in $bounds:expr)? $(, as $form:ident)?; $when:ident)*) => {
        &[$( Key::<$of> {
            path: $path,
            when: When::$when,
            set: |settings, value, wrong| {
                let place = value.span();
                let Some(read) = keys!(@read value, wrong, $($form)?) else { return };
                $( if let Some(error) = outside(&read, &$bounds) {
                    return wrong.note(place, error);
                } )?
                let _ = place;
                settings.$($field).+ = keys!(@into read, $($form)?);
            },
            set_text: |settings, texts| {
                let read = keys!(@texts texts, $($form)?)?;
                $( if let Some(error) = outside(&read, &$bounds) {
                    return Err(vec![error]);
                } )?
                settings.$($field).+ = keys!(@into read, $($form)?);
                Ok(())
            },
            get: |settings| keys!(@get settings.$($field).+, $($form)?),
        } ),*]
    };
    (@read $value:ident, $wrong:ident,) => { Setting::of_value($value, $wrong) };
    (@read $value:ident, $wrong:ident, size) => { Size::of_value($value, $wrong) };
    (@texts $texts:ident,) => { Setting::of_texts($texts) };
    (@texts $texts:ident, size) => { Size::of_texts($texts) };
    (@into $read:ident,) => { $read };
    (@into $read:ident, size) => { $read.into() };
    (@get $place:expr,) => { Setting::to_toml(&$place) };
    (@get $place:expr, size) => { Size::from($place).to_toml() };
}

/// Bytes that 32 bits count.
const KIB_TO_4G: std::ops::RangeInclusive<Size> = Size(1 << 10)..=Size(u32::MAX as u64);
/// Bytes that any field of memory can have.
const UP_TO_64T: std::ops::RangeInclusive<Size> = Size(0)..=Size(1 << 46);

/// Every setting outside of interfaces.
#[rustfmt::skip]
pub(crate) const KEYS: &[Key<Settings>] = keys! { Settings;
    "cores" => cores; Restart
    "idle" => idle; Restart
    "drain" => drain; Reload
    "admin" => admin; Restart
    "metrics" => metrics; Restart
    "protect" => protect; Restart

    "stack.max_connections" => max_connections in 1..=100_000_000; Restart
    "stack.buffers" => buffers in 256..=8_000_000; Restart
    "stack.buffer_size" => stack.pool.buffer_size in 2_048..=131_072; Restart
    "stack.large_buffers" => stack.large_pool.buffers in 1..=65_536; Restart
    "stack.mail_slots" => mail_slots in 64..=65_536; Restart
    "stack.max_syn_received" => max_syn_received; Restart
    "stack.max_time_wait" => max_time_wait; Restart
    "stack.max_used_cookies" => stack.max_used_cookies in 1..=1 << 24; Restart
    "stack.max_fast_open_servers" => stack.max_fast_open_servers in 4..=1 << 20; Restart
    "stack.max_flights" => stack.max_flights in 1..=1 << 22; Restart
    "stack.max_wide_flights" => stack.max_wide_flights in 1..=1 << 18; Restart
    "stack.max_out_of_order" => stack.max_out_of_order in 1..; Restart
    "stack.max_classes" => stack.max_classes in 1..; Restart
    "stack.tuned_connections" => stack.tuned_connections in 1..; Restart
    "stack.shut_out_expiries" => stack.shut_out_expiries; Restart
    "stack.receive_budget" => receive_budget; Restart
    "stack.send_buffer" => stack.send_buffer in KIB_TO_4G, as size; Restart
    "stack.send_buffer_max" => stack.send_buffer_max in KIB_TO_4G, as size; Restart
    "stack.replies_per_second" => stack.replies_per_second; Restart
    "stack.reply_burst" => stack.reply_burst; Restart
    "stack.challenges_per_second" => stack.challenges_per_second; Restart
    "stack.ephemeral_ports" => ephemeral_ports; Restart

    "net.neighbors" => stack.net.neighbors in 1..; Restart
    "net.pending_per_neighbor" => stack.net.pending_per_neighbor; Restart
    "net.pending" => stack.net.pending; Restart
    "net.paths" => stack.net.paths in 1..; Restart
    "net.path_expiry" => stack.net.path_expiry; Restart
    "net.path_mtu_min_v4" => stack.net.path_mtu_min_v4 in 68..=1_500; Restart
    "net.routes" => stack.net.routes in 8..=10_000; Restart
    "net.addresses" => stack.net.addresses in 8..=10_000; Restart
    "net.reassemblies" => stack.net.reassemblies in 1..; Restart
    "net.reassemblies_per_source" => stack.net.reassemblies_per_source in 1..; Restart
    "net.reassembly_timeout" => stack.net.reassembly_timeout; Restart
    "net.errors_per_second" => stack.net.errors_per_second; Restart
    "net.error_burst" => stack.net.error_burst; Restart
    "net.echoes_per_second" => stack.net.echoes_per_second; Restart
    "net.echo_burst" => stack.net.echo_burst; Restart
    "net.hop_limit" => stack.net.hop_limit in 1..; Restart
    "net.announce" => stack.net.announce; Restart
    "net.probe" => stack.net.probe; Restart
    "net.autoconfigure" => stack.net.autoconfigure; Restart

    "tcp.mss" => mss; Reload
    "tcp.default_mss" => tcp.default_mss in 88..; Reload
    "tcp.receive_window" => tcp.receive_window in Size(1 << 10)..=Size(1 << 30), as size; Reload
    "tcp.receive_window_max" => tcp.receive_window_max in Size(1 << 10)..=Size(1 << 30), as size; Reload
    "tcp.window_scale" => tcp.window_scale; Reload
    "tcp.timestamps" => tcp.timestamps; Reload
    "tcp.sack" => tcp.sack; Reload
    "tcp.tail_loss_probe" => tcp.tail_loss_probe; Reload
    "tcp.probe_ack_delay" => tcp.probe_ack_delay; Reload
    "tcp.congestion" => tcp.congestion; Reload
    "tcp.hystart" => tcp.hystart; Reload
    "tcp.pacing" => tcp.pacing; Reload
    "tcp.ecn" => tcp.ecn; Reload
    "tcp.initial_window" => tcp.initial_window in 1..; Reload
    "tcp.rto_initial" => tcp.rto_initial; Reload
    "tcp.rto_min" => tcp.rto_min; Reload
    "tcp.rto_max" => tcp.rto_max; Reload
    "tcp.delayed_ack" => tcp.delayed_ack; Reload
    "tcp.quick_acks" => tcp.quick_acks; Reload
    "tcp.delayed_fin_ack" => tcp.delayed_fin_ack; Reload
    "tcp.require_timestamps" => tcp.require_timestamps; Reload
    "tcp.slow_start_step" => tcp.slow_start_step; Reload
    "tcp.nagle" => tcp.nagle; Reload
    "tcp.path_probing" => tcp.path_probing; Reload
    "tcp.path_base_mss" => tcp.path_base_mss in 88..; Reload
    "tcp.path_floor_mss" => tcp.path_floor_mss in 88..; Reload
    "tcp.keepalive" => keepalive; Reload
    "tcp.keepalive_interval" => keepalive_rest.interval; Reload
    "tcp.keepalive_probes" => keepalive_rest.probes in 1..; Reload
    "tcp.keepalive_spread" => keepalive_rest.spread; Reload
    "tcp.syn_ack_retries" => tcp.syn_ack_retries; Reload
    "tcp.stall_retries" => tcp.stall_retries in 1..; Reload
    "tcp.user_timeout" => tcp.user_timeout; Reload
    "tcp.time_wait" => tcp.time_wait; Reload
    "tcp.fin_wait_2" => tcp.fin_wait_2; Reload
    "tcp.send_buffer" => tcp.send_buffer; Reload
    "tcp.not_sent_low_water" => not_sent_low_water; Reload
    "tcp.linger" => tcp.linger; Reload
    "tcp.dscp" => tcp.dscp in 0..=63; Reload
    "tcp.hop_limit" => tcp.hop_limit; Reload

    "accept.half_open" => half_open; Reload
    "accept.backlog" => accept.backlog in 1..; Reload
    "accept.overflow" => accept.overflow; Reload
    "accept.cookies" => cookies; Reload

    "echo.ports" => echo.ports; Reload
    "echo.connections" => echo.connections; Reload
    "echo.connections_per_address" => echo.connections_per_address; Reload
    "discard.ports" => discard.ports; Reload
    "discard.connections" => discard.connections; Reload
    "discard.connections_per_address" => discard.connections_per_address; Reload
    "chargen.ports" => chargen.ports; Reload
    "chargen.connections" => chargen.connections; Reload
    "chargen.connections_per_address" => chargen.connections_per_address; Reload

    "http.ports" => http.service.ports; Reload
    "http.tls_ports" => http.tls_ports; Reload
    "http.connections" => http.service.connections; Reload
    "http.connections_per_address" => http.service.connections_per_address; Reload
    "http.certificate" => http.certificates; Reload
    "http.root" => http.root; Reload
    "http.site" => http.sites; Reload
    "http.index" => http.library.index; Reload
    "http.hidden" => http.library.hidden; Reload
    "http.precompressed" => http.library.precompressed; Reload
    "http.symlinks" => http.library.symlinks; Reload
    "http.changes" => http.library.changes; Reload
    "http.document_max" => http.library.document_max in UP_TO_64T, as size; Reload
    "http.documents_memory" => http.library.memory_max in UP_TO_64T, as size; Reload
    "http.documents_max" => http.library.documents_max in 1..=100_000_000; Restart
    "http.handlers" => http.handlers; Restart
    "http.publish_from" => http.publish_from; Restart
    "http.publish_token" => http.publish_token; Restart
    "http.access_log" => http.access_log; Reload
    "http.log_format" => http.log_format; Reload
    "http.log_waiting" => http.log_waiting in 1..=1 << 20; Restart
    "http.header_timeout" => http.config.header_timeout; Reload
    "http.keep_alive_timeout" => http.config.keep_alive_timeout; Reload
    "http.linger_timeout" => http.config.linger_timeout; Reload
    "http.requests_per_connection" => http.config.requests_per_connection; Reload
    "http.rate_min" => http.rate_min; Reload
    "http.rate_interval" => http.config.rate_interval; Reload
    "http.requests_per_second" => http.config.requests_per_second; Reload
    "http.requests_burst" => http.config.requests_burst; Reload
    "http.addresses_max" => http.config.addresses_max in 1..=1 << 26; Restart
    "http.body_max" => http.config.body_max in UP_TO_64T, as size; Reload
    "http.head_max" => http.config.limits.head in Size(1 << 10)..=Size(1 << 20), as size; Restart
    "http.line_max" => http.config.limits.line in Size(64)..=Size(1 << 20), as size; Reload
    "http.fields_max" => http.config.limits.fields in 1..=100; Reload
    "http.heads_kept" => http.config.heads_kept in 0..=1 << 20; Restart
    "http.exchanges_max" => http.config.exchanges_max in 1..=1 << 24; Restart
    "http.disk_buffers" => http.config.disk_buffers in 2..=1 << 16; Restart
    "http.disk_buffer" => http.config.disk_buffer in Size(4 << 10)..=Size(16 << 20), as size; Restart
    "http.tls_max" => http.config.tls_max in 1..=1 << 24; Restart
    "http.tls_buffers" => http.config.tls_buffers in 8..=1 << 20; Restart
    "http.subscribers" => http.config.subscribers_max in 1..=100_000_000; Restart
    "http.broadcast_step" => http.config.broadcast_step in 1..=1 << 20; Reload
    "http.broadcast_queue" => http.config.broadcast_queue in 1..=1 << 20; Restart
    "http.broadcast_patience" => http.config.broadcast_patience; Reload
    "http.subscriber_backlog" => http.config.subscriber_backlog in KIB_TO_4G, as size; Reload
    "http.subscriber_check" => http.config.subscriber_check; Reload

    "cache.ports" => cache.service.ports; Reload
    "cache.udp_ports" => cache.udp_ports; Reload
    "cache.connections" => cache.service.connections; Reload
    "cache.connections_per_address" => cache.service.connections_per_address; Reload
    "cache.memory" => cache.config.store.memory in UP_TO_64T, as size; Restart
    "cache.item_max" => cache.config.store.item_max in Size(1 << 10)..=Size(1 << 30), as size; Restart
    "cache.item" => cache.config.store.item_bytes in Size(16)..=Size(1 << 20), as size; Restart
    "cache.protocol" => cache.config.protocol; Restart
    "cache.users" => cache.config.users; Restart
    "cache.flush" => cache.config.flush; Restart
    "cache.dump" => cache.config.dump; Restart
    "cache.watch" => cache.watch; Restart
    "cache.shutdown" => cache.config.shutdown; Restart
    "cache.idle_timeout" => cache.config.idle_timeout; Restart
    "cache.track_sizes" => cache.config.track_sizes; Restart
    "cache.asks_max" => cache.config.asks_max in 16..=65_534; Restart
    "cache.held_max" => cache.config.held_max in 4..; Restart
    "cache.tasks_max" => cache.config.tasks_max in 1..=65_534; Restart
    "cache.spills_max" => cache.config.spills_max in 1..; Restart
    "cache.udp_datagrams_max" => cache.config.udp_datagrams_max in 1..; Restart
};

/// Every setting of an interface.
#[rustfmt::skip]
pub(crate) const INTERFACE_KEYS: &[Key<InterfaceSettings>] = keys! { InterfaceSettings;
    "device" => device; Restart
    "addresses" => addresses; Reload
    "host_addresses" => host_addresses; Restart
    "shared_address" => shared_address; Restart
    "gateways" => gateways; Reload
    "routes" => routes; Reload
    "mtu" => mtu in 1_280..=9_000; Restart
};

/// What two servers' settings differ in: each setting's name, whether a running server takes a new value, the old value
/// and the new one. Interfaces are compared one by one, in their order; those that the other has not are not compared.
pub(crate) fn differences(old: &Settings, new: &Settings) -> Vec<(String, When, String, String)> {
    fn compare<T>(
        keys: &[Key<T>],
        owner: &str,
        old: &T,
        new: &T,
        into: &mut Vec<(String, When, String, String)>,
    ) {
        for key in keys {
            let (before, after) = ((key.get)(old), (key.get)(new));
            if before != after {
                into.push((format!("{owner}{}", key.path), key.when, before, after));
            }
        }
    }
    let mut all = Vec::new();
    for (place, (old, new)) in old.interfaces.iter().zip(&new.interfaces).enumerate() {
        compare(INTERFACE_KEYS, &format!("interface[{place}]."), old, new, &mut all);
    }
    compare(KEYS, "", old, new, &mut all);
    all
}

/// Sets a setting, by its name in [`differences`], back to a value that [`Key::get`] wrote; false if that cannot be read.
pub(crate) fn keep(key: &str, value: &str, settings: &mut Settings) -> bool {
    fn set<T>(key: Option<&Key<T>>, value: &str, into: Option<&mut T>) -> bool {
        let (Some(key), Some(into), Ok(value)) = (key, into, DeValue::parse(value)) else { return false };
        let mut wrong = Wrong::default();
        (key.set)(into, &value, &mut wrong);
        wrong.0.is_empty()
    }
    let of_interface = key.strip_prefix("interface[").and_then(|rest| rest.split_once("]."));
    match of_interface {
        Some((place, inner)) => {
            let place: usize = place.parse().unwrap_or(usize::MAX);
            set(find(INTERFACE_KEYS, inner), value, settings.interfaces.get_mut(place))
        }
        None => set(find(KEYS, key), value, Some(settings)),
    }
}

/// The setting of that name.
pub(crate) fn find<T>(keys: &'static [Key<T>], path: &str) -> Option<&'static Key<T>> {
    keys.iter().find(|key| key.path == path)
}

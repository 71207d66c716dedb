//! Socket options of the level TCP.

use freeway::{Duration, TcpConfig};

use crate::errno::{Errno, Result, fail};
use crate::flags;
use crate::options::{bytes, number};
use crate::socket::{Key, State};
use crate::world::World;

/// Options that the C library does not name.
const TCP_INQ: i32 = 36;
const TCP_CC_INFO: i32 = 26;
/// The longest keepalive time, in seconds, and the most probes and SYNs.
const KEEPALIVE_MAX: i32 = 32_767;
const COUNT_MAX: i32 = 127;
/// Segments acknowledged at once after `TCP_QUICKACK`.
const QUICK_ACKS: u8 = 16;
/// What Linux answers for a connection whose MSS is not known yet.
const MSS_DEFAULT: i32 = 536;
/// The longest FIN-WAIT-2 of `TCP_LINGER2`, in seconds.
const LINGER_MAX: i32 = 120;
/// Linux's name of an algorithm has at most this many bytes.
const NAME_LEN: usize = 16;

impl World {
    pub(crate) fn set_tcp_option(&mut self, key: Key, name: i32, value: &[u8]) -> Result<()> {
        if name == libc::TCP_CONGESTION {
            return self.set_congestion(key, value);
        }
        let value = number(value)?;
        let within = |most: i32| if (1..=most).contains(&value) { Ok(value) } else { Err(Errno::INVALID) };
        let on = value != 0;
        let socket = self.socket(key)?;
        match name {
            libc::TCP_NODELAY => {
                socket.tcp.nagle = !on;
                if on {
                    // Whoever wants no delay gets none for what waits either, corked or not.
                    self.flush_held_back(key);
                    self.uncork_once(key)?;
                }
            }
            libc::TCP_CORK => {
                socket.tcp.cork = on;
                if !on {
                    self.flush_held_back(key);
                }
            }
            libc::TCP_MAXSEG => {
                if value != 0 && !(88..=32_767).contains(&value) {
                    return Err(Errno::INVALID);
                }
                let mss = u16::try_from(value).ok().filter(|&mss| mss > 0);
                socket.settings.max_segment = mss;
                socket.tcp.mss = mss.unwrap_or(TcpConfig::default().mss);
            }
            libc::TCP_KEEPIDLE => {
                socket.settings.keepalive_times.idle = Duration::from_secs(within(KEEPALIVE_MAX)? as u64);
            }
            libc::TCP_KEEPINTVL => {
                socket.settings.keepalive_times.interval = Duration::from_secs(within(KEEPALIVE_MAX)? as u64);
            }
            libc::TCP_KEEPCNT => socket.settings.keepalive_times.probes = within(COUNT_MAX)? as u8,
            libc::TCP_SYNCNT => socket.tcp.syn_retries = within(COUNT_MAX)? as u8,
            libc::TCP_USER_TIMEOUT => {
                let millis = u32::try_from(value).map_err(|_| Errno::INVALID)?;
                socket.settings.user_timeout_ms = millis;
                socket.tcp.user_timeout = match millis {
                    0 => TcpConfig::default().user_timeout,
                    _ => Duration::from_millis(u64::from(millis)),
                };
            }
            libc::TCP_LINGER2 => {
                let patience = match value {
                    ..0 => Duration::ZERO,
                    0 => TcpConfig::default().fin_wait_2.unwrap_or(Duration::from_secs(60)),
                    _ => Duration::from_secs(value.min(LINGER_MAX) as u64),
                };
                socket.tcp.fin_wait_2 = Some(patience);
            }
            libc::TCP_DEFER_ACCEPT => socket.settings.defer_accept = value > 0,
            libc::TCP_WINDOW_CLAMP => {
                if value == 0 && !matches!(socket.state, State::Idle | State::Ended) {
                    return Err(Errno::INVALID);
                }
                let clamp = u32::try_from(value).map_err(|_| Errno::INVALID)?;
                let flags = &self.flags.tcp;
                let open = if clamp == 0 {
                    (flags.receive_window, flags.receive_window_max)
                } else {
                    (clamp, clamp)
                };
                let socket = self.socket(key)?;
                (socket.tcp.receive_window, socket.tcp.receive_window_max) = open;
            }
            libc::TCP_NOTSENT_LOWAT => socket.settings.not_sent_low = value as u32,
            libc::TCP_QUICKACK => {
                socket.settings.quick_ack = on;
                return self.set_quick_ack(key, on);
            }
            libc::TCP_FASTOPEN => {
                let allowed = matches!(socket.state, State::Idle | State::Listening { .. });
                socket.settings.fast_open =
                    u32::try_from(value).ok().filter(|_| allowed).ok_or(Errno::INVALID)?;
            }
            libc::TCP_FASTOPEN_CONNECT => match (value, &socket.state) {
                (0..=1, State::Idle) => socket.settings.fast_open_connect = on,
                _ => return Err(Errno::INVALID),
            },
            TCP_INQ if (0..=1).contains(&value) => {
                socket.settings.tell_unread = on;
                return Ok(());
            }
            TCP_INQ => return Err(Errno::INVALID),
            _ => return fail(libc::ENOPROTOOPT),
        }
        let socket = self.socket(key)?;
        if socket.settings.keepalive {
            socket.tcp.keepalive = Some(socket.settings.keepalive_times);
        }
        self.apply_settings(key)
    }

    /// Lets out what a cork holds back, and keeps it.
    fn uncork_once(&mut self, key: Key) -> Result<()> {
        let socket = self.socket(key)?;
        if !std::mem::replace(&mut socket.tcp.cork, false) {
            return Ok(());
        }
        self.apply_settings(key)?;
        self.run();
        self.socket(key)?.tcp.cork = true;
        self.apply_settings(key)
    }

    fn set_quick_ack(&mut self, key: Key, on: bool) -> Result<()> {
        let segments = if on { QUICK_ACKS } else { 0 };
        let socket = self.socket(key)?;
        socket.tcp.quick_acks = segments;
        if let Some(mut conn) = socket.conn().and_then(|id| self.host.conn(id)) {
            conn.quick_ack(on);
        }
        self.apply_settings(key)
    }

    pub(crate) fn tcp_option(&mut self, key: Key, name: i32) -> Result<Vec<u8>> {
        let socket = self.socket(key)?;
        let (settings, tcp) = (&socket.settings, &socket.tcp);
        let seconds = |span: Duration| i32::try_from(span.as_millis() / 1_000).unwrap_or(i32::MAX);
        Ok(bytes(match name {
            libc::TCP_INFO => return Ok(self.tcp_info(key)),
            // Figures of an algorithm's own: none of these has any, as Linux says it by no bytes.
            TCP_CC_INFO => return Ok(Vec::new()),
            libc::TCP_CONGESTION => {
                let mut name = flags::algorithm_name(tcp.congestion).as_bytes().to_vec();
                name.resize(NAME_LEN, 0);
                return Ok(name);
            }
            libc::TCP_NODELAY => i32::from(!tcp.nagle),
            libc::TCP_CORK => i32::from(tcp.cork),
            libc::TCP_MAXSEG => {
                let wanted = settings.max_segment.map(i32::from);
                let info = socket.conn().and_then(|id| self.host.conn(id)).and_then(|conn| conn.info());
                info.map_or(wanted.unwrap_or(MSS_DEFAULT), |info| i32::from(info.mss))
            }
            libc::TCP_KEEPIDLE => seconds(settings.keepalive_times.idle),
            libc::TCP_KEEPINTVL => seconds(settings.keepalive_times.interval),
            libc::TCP_KEEPCNT => i32::from(settings.keepalive_times.probes),
            libc::TCP_SYNCNT => i32::from(tcp.syn_retries),
            libc::TCP_USER_TIMEOUT => settings.user_timeout_ms as i32,
            libc::TCP_LINGER2 => match tcp.fin_wait_2 {
                Some(Duration::ZERO) => -1,
                patience => patience.map_or(0, seconds),
            },
            libc::TCP_DEFER_ACCEPT => i32::from(settings.defer_accept),
            libc::TCP_WINDOW_CLAMP => i32::try_from(tcp.receive_window).unwrap_or(i32::MAX),
            libc::TCP_NOTSENT_LOWAT => settings.not_sent_low as i32,
            libc::TCP_QUICKACK => i32::from(settings.quick_ack),
            libc::TCP_FASTOPEN => settings.fast_open as i32,
            libc::TCP_FASTOPEN_CONNECT => i32::from(settings.fast_open_connect),
            TCP_INQ => i32::from(settings.tell_unread),
            _ => return fail(libc::ENOPROTOOPT),
        }))
    }
}

//! Socket options of the levels SOL_SOCKET, IP and IPv6, and ioctl and fcntl.
//!
//! An option is taken only where it has its effect. Everything else is `ENOPROTOOPT`: a script that relies on it is to
//! fail here, and not somewhere later.

use freeway::Duration;

use crate::address::Family;
use crate::errno::{Errno, Result, fail};
use crate::flags;
use crate::socket::{Key, Kind, State};
use crate::world::{Object, World};

/// The least that a buffer is set to (Linux's SOCK_MIN_RCVBUF and SOCK_MIN_SNDBUF, halved as buffers are).
const BUFFER_MIN: u32 = 1_152;
/// A window that the field expresses with the largest shift.
const BUFFER_MAX: u32 = 1 << 30;
/// `IP_MTU_DISCOVER`: paths are discovered, or packets may be fragmented.
const PMTU_DONT: i32 = 0;
const PMTU_WANT: i32 = 1;
const PMTU_DO: i32 = 2;
/// ioctls that the C library does not name.
const SIOCOUTQNSD: u64 = 0x894b;
const SO_TIMESTAMPING: i32 = 37;
const SO_ZEROCOPY: i32 = 60;
/// `SO_MEMINFO`.
const SO_MEMINFO: i32 = 55;
const SIOCATMARK: u64 = 0x8905;
/// The time to live of sockets that say nothing.
const HOPS: i32 = 64;

/// The number in an option's value.
pub(crate) fn number(value: &[u8]) -> Result<i32> {
    let bytes = value.get(..4).and_then(|bytes| bytes.try_into().ok()).ok_or(Errno::INVALID)?;
    Ok(i32::from_ne_bytes(bytes))
}

/// The number as bytes.
pub(crate) fn bytes(number: i32) -> Vec<u8> {
    number.to_ne_bytes().to_vec()
}

fn span(value: &[u8]) -> Result<Option<Duration>> {
    let word =
        |at: usize| value.get(at..at + 8).and_then(|word| word.try_into().ok()).map(i64::from_ne_bytes);
    let (Some(secs), Some(micros)) = (word(0), word(8)) else { return Err(Errno::INVALID) };
    if !(0..1_000_000).contains(&micros) {
        return fail(libc::EDOM);
    }
    let secs = u64::try_from(secs).unwrap_or(0);
    let span = Duration::from_secs(secs) + Duration::from_micros(micros as u64);
    Ok((span > Duration::ZERO).then_some(span))
}

fn span_bytes(span: Option<Duration>) -> Vec<u8> {
    let micros = span.map_or(0, Duration::as_micros);
    let parts = [micros / 1_000_000, micros % 1_000_000];
    parts.iter().flat_map(|part| part.to_ne_bytes()).collect()
}

impl World {
    /// `setsockopt(2)`.
    pub(crate) fn set_option(&mut self, fd: i32, level: i32, name: i32, value: &[u8]) -> Result<()> {
        let key = self.socket_key(fd)?;
        match level {
            libc::SOL_SOCKET => self.set_socket_option(key, name, value),
            libc::IPPROTO_TCP if self.socket(key)?.kind == Kind::Stream => {
                self.set_tcp_option(key, name, value)
            }
            // Linux takes these as one byte, too.
            libc::IPPROTO_IP if (1..4).contains(&value.len()) => {
                self.set_ip_option(key, name, i32::from(value[0]))
            }
            libc::IPPROTO_IP => self.set_ip_option(key, name, number(value)?),
            libc::IPPROTO_IPV6 if self.socket(key)?.family == Family::V6 => {
                self.set_ipv6_option(key, name, number(value)?)
            }
            _ => fail(libc::ENOPROTOOPT),
        }
    }

    /// `getsockopt(2)`: the value, however much of it the caller has room for.
    pub(crate) fn option(&mut self, fd: i32, level: i32, name: i32) -> Result<Vec<u8>> {
        let key = self.socket_key(fd)?;
        match level {
            libc::SOL_SOCKET => self.socket_option(key, name),
            libc::IPPROTO_TCP if self.socket(key)?.kind == Kind::Stream => self.tcp_option(key, name),
            libc::IPPROTO_IP => self.ip_option(key, name).map(bytes),
            libc::IPPROTO_IPV6 if self.socket(key)?.family == Family::V6 => {
                self.ipv6_option(key, name).map(bytes)
            }
            _ => fail(libc::ENOPROTOOPT),
        }
    }

    fn set_socket_option(&mut self, key: Key, name: i32, value: &[u8]) -> Result<()> {
        let buffer =
            |value: &[u8]| number(value).map(|bytes| (bytes.max(0) as u32).clamp(BUFFER_MIN, BUFFER_MAX));
        let socket = self.socket(key)?;
        let settings = &mut socket.settings;
        match name {
            libc::SO_REUSEADDR => settings.reuse_addr = number(value)? != 0,
            libc::SO_REUSEPORT => settings.reuse_port = number(value)? != 0,
            libc::SO_BROADCAST => settings.broadcast = number(value)? != 0,
            libc::SO_SNDBUF | libc::SO_SNDBUFFORCE => settings.send_buffer = buffer(value)?,
            libc::SO_RCVBUF | libc::SO_RCVBUFFORCE => {
                socket.tcp.receive_window = buffer(value)?;
                // Whoever says how much does not want it to grow.
                socket.tcp.receive_window_max = socket.tcp.receive_window;
                return self.apply_settings(key);
            }
            libc::SO_RCVLOWAT => settings.receive_low = number(value)?.max(1) as u32,
            libc::SO_RCVTIMEO => settings.receive_timeout = span(value)?,
            libc::SO_SNDTIMEO => settings.send_timeout = span(value)?,
            libc::SO_KEEPALIVE => {
                settings.keepalive = number(value)? != 0;
                socket.tcp.keepalive = settings.keepalive.then_some(settings.keepalive_times);
                return self.apply_settings(key);
            }
            libc::SO_LINGER => {
                let seconds = number(value.get(4..).ok_or(Errno::INVALID)?)?;
                let limit = Duration::from_secs(seconds.max(0) as u64);
                settings.linger = (number(value)? != 0).then_some(limit);
            }
            SO_ZEROCOPY => match number(value)? {
                on @ 0..=1 => settings.zero_copy = on == 1,
                _ => return Err(Errno::INVALID),
            },
            // Nothing here routes by marks.
            libc::SO_MARK => {}
            SO_TIMESTAMPING => {
                let flags = number(value)? as u32;
                let (queued, _) = self.queued(key);
                let socket = self.socket(key)?;
                let acked = socket.written - queued as u64;
                return if socket.set_stamping(flags, acked) { Ok(()) } else { Err(Errno::INVALID) };
            }
            libc::SO_TYPE | libc::SO_ERROR | libc::SO_PROTOCOL | libc::SO_DOMAIN | libc::SO_ACCEPTCONN => {
                return fail(libc::ENOPROTOOPT);
            }
            _ => return fail(libc::ENOPROTOOPT),
        }
        Ok(())
    }

    fn socket_option(&mut self, key: Key, name: i32) -> Result<Vec<u8>> {
        if name == SO_MEMINFO {
            return self.memory_info(key);
        }
        let socket = self.socket(key)?;
        let settings = &socket.settings;
        Ok(bytes(match name {
            libc::SO_ERROR => socket.take_error().map_or(0, |errno| errno.0),
            libc::SO_TYPE => match socket.kind {
                Kind::Stream => libc::SOCK_STREAM,
                Kind::Datagram => libc::SOCK_DGRAM,
            },
            libc::SO_PROTOCOL => match socket.kind {
                Kind::Stream => libc::IPPROTO_TCP,
                Kind::Datagram => libc::IPPROTO_UDP,
            },
            libc::SO_DOMAIN => match socket.family {
                Family::V4 => libc::AF_INET,
                Family::V6 => libc::AF_INET6,
            },
            libc::SO_ACCEPTCONN => i32::from(matches!(socket.state, State::Listening { .. })),
            libc::SO_REUSEADDR => i32::from(settings.reuse_addr),
            libc::SO_REUSEPORT => i32::from(settings.reuse_port),
            libc::SO_BROADCAST => i32::from(settings.broadcast),
            libc::SO_KEEPALIVE => i32::from(settings.keepalive),
            // Linux doubles what it is told, for its own overhead, and shows that.
            libc::SO_SNDBUF => doubled(settings.send_buffer),
            libc::SO_RCVBUF => doubled(socket.tcp.receive_window),
            SO_ZEROCOPY => i32::from(settings.zero_copy),
            SO_TIMESTAMPING => socket.stamping() as i32,
            libc::SO_RCVLOWAT => settings.receive_low as i32,
            libc::SO_SNDLOWAT => 1,
            libc::SO_RCVTIMEO => return Ok(span_bytes(settings.receive_timeout)),
            libc::SO_SNDTIMEO => return Ok(span_bytes(settings.send_timeout)),
            libc::SO_LINGER => {
                let seconds = settings.linger.map_or(0, |limit| limit.as_millis() / 1_000);
                let seconds = i32::try_from(seconds).unwrap_or(i32::MAX);
                return Ok([bytes(i32::from(settings.linger.is_some())), bytes(seconds)].concat());
            }
            _ => return fail(libc::ENOPROTOOPT),
        }))
    }

    /// What a socket holds, in payload bytes, and its bounds as `SO_RCVBUF` and `SO_SNDBUF` show them.
    fn memory_info(&mut self, key: Key) -> Result<Vec<u8>> {
        let (queued, _) = self.queued(key);
        let socket = self.socket(key)?;
        let count = |count: usize| i32::try_from(count).unwrap_or(i32::MAX);
        let (unread, queued) = (count(socket.unread.len()), count(queued));
        let bounds = (doubled(socket.tcp.receive_window), doubled(socket.settings.send_buffer));
        // rmem_alloc, rcvbuf, wmem_alloc, sndbuf, fwd_alloc, wmem_queued, optmem, backlog, drops
        let numbers = [unread, bounds.0, queued, bounds.1, 0, queued, 0, 0, 0];
        Ok(numbers.into_iter().flat_map(bytes).collect())
    }

    fn set_ip_option(&mut self, key: Key, name: i32, value: i32) -> Result<()> {
        let marking = &mut self.socket(key)?.settings.marking;
        match (name, value) {
            (libc::IP_TOS, _) => marking.class = Some(value as u8),
            (libc::IP_TTL, -1) => marking.hops = None,
            (libc::IP_TTL, 1..=255) => marking.hops = Some(value as u8),
            (libc::IP_TTL, _) => return Err(Errno::INVALID),
            // Any address may be bound here: the first one is the host's.
            (libc::IP_FREEBIND, _) => {}
            (libc::IP_MTU_DISCOVER, PMTU_DONT) => marking.may_fragment = Some(true),
            (libc::IP_MTU_DISCOVER, PMTU_WANT | PMTU_DO) => marking.may_fragment = Some(false),
            _ => return fail(libc::ENOPROTOOPT),
        }
        Ok(())
    }

    fn ip_option(&mut self, key: Key, name: i32) -> Result<i32> {
        let mtu = i32::from(self.flags.mtu);
        let socket = self.socket(key)?;
        let marking = socket.settings.marking;
        match name {
            libc::IP_TOS => Ok(i32::from(marking.class.unwrap_or(0))),
            libc::IP_TTL => Ok(marking.hops.map_or(HOPS, i32::from)),
            libc::IP_MTU_DISCOVER if marking.may_fragment == Some(true) => Ok(PMTU_DONT),
            libc::IP_MTU_DISCOVER => Ok(PMTU_WANT),
            libc::IP_MTU => self.path_mtu(key, mtu),
            _ => fail(libc::ENOPROTOOPT),
        }
    }

    /// What a connection knows of its path.
    fn path_mtu(&mut self, key: Key, mtu: i32) -> Result<i32> {
        let socket = self.socket(key)?;
        socket.peer.ok_or(Errno(libc::ENOTCONN))?;
        Ok(socket.path_mtu.map_or(mtu, i32::from))
    }

    fn set_ipv6_option(&mut self, key: Key, name: i32, value: i32) -> Result<()> {
        let socket = self.socket(key)?;
        let marking = &mut socket.settings.marking;
        match (name, value) {
            (libc::IPV6_V6ONLY, _) if socket.local.is_some() => return Err(Errno::INVALID),
            (libc::IPV6_V6ONLY, _) => socket.settings.v6_only = value != 0,
            (libc::IPV6_TCLASS, -1) => marking.class = None,
            (libc::IPV6_TCLASS, 0..=255) => marking.class = Some(value as u8),
            (libc::IPV6_UNICAST_HOPS, -1) => marking.hops = None,
            (libc::IPV6_UNICAST_HOPS, 0..=255) => marking.hops = Some(value as u8),
            (libc::IPV6_TCLASS | libc::IPV6_UNICAST_HOPS, _) => return Err(Errno::INVALID),
            // IPv6 is never fragmented on its way.
            (libc::IPV6_MTU_DISCOVER, PMTU_WANT | PMTU_DO) => {}
            _ => return fail(libc::ENOPROTOOPT),
        }
        Ok(())
    }

    fn ipv6_option(&mut self, key: Key, name: i32) -> Result<i32> {
        let mtu = i32::from(self.flags.mtu);
        let settings = &self.socket(key)?.settings;
        match name {
            libc::IPV6_V6ONLY => Ok(i32::from(settings.v6_only)),
            libc::IPV6_TCLASS => Ok(i32::from(settings.marking.class.unwrap_or(0))),
            libc::IPV6_UNICAST_HOPS => Ok(settings.marking.hops.map_or(HOPS, i32::from)),
            libc::IPV6_MTU_DISCOVER => Ok(PMTU_WANT),
            libc::IPV6_MTU => self.path_mtu(key, mtu),
            _ => fail(libc::ENOPROTOOPT),
        }
    }

    /// Gives the connection, or the listener, the settings that its socket has now.
    pub(crate) fn apply_settings(&mut self, key: Key) -> Result<()> {
        let socket = self.sockets.get(&key).ok_or(Errno(libc::EBADF))?;
        let tcp = socket.tcp;
        if matches!(socket.state, State::Listening { .. }) {
            return self.listen_anew(key);
        }
        let applied = socket
            .conn()
            .and_then(|id| self.host.conn(id))
            .is_none_or(|mut conn| conn.configure(|config| *config = tcp).is_ok());
        if applied { Ok(()) } else { fail(libc::ENOBUFS) }
    }

    /// The name of a congestion control, as a value and back.
    pub(crate) fn set_congestion(&mut self, key: Key, value: &[u8]) -> Result<()> {
        let end = value.iter().position(|&byte| byte == 0).unwrap_or(value.len());
        let name = std::str::from_utf8(&value[..end]).map_err(|_| Errno(libc::ENOENT))?;
        self.socket(key)?.tcp.congestion = flags::algorithm(name).map_err(|_| Errno(libc::ENOENT))?;
        self.apply_settings(key)
    }

    /// `ioctl(2)` with a number as its result.
    pub(crate) fn ioctl(&mut self, fd: i32, request: u64) -> Result<i32> {
        let count = |count: usize| i32::try_from(count).unwrap_or(i32::MAX);
        let key = match self.object(fd)? {
            Object::Socket(key) => key,
            Object::Pipe(..) | Object::Epoll(_) => return fail(libc::ENOTTY),
        };
        let (queued, unsent) = self.queued(key);
        let socket = self.socket(key)?;
        let listens = matches!(socket.state, State::Listening { .. });
        match request {
            _ if listens => Err(Errno::INVALID),
            libc::FIONREAD => Ok(count(match socket.kind {
                Kind::Stream => socket.unread.len(),
                Kind::Datagram => socket.datagrams.front().map_or(0, |datagram| datagram.bytes.len()),
            })),
            libc::TIOCOUTQ => Ok(count(queued)),
            SIOCOUTQNSD => Ok(count(unsent)),
            SIOCATMARK => Ok(0),
            _ => fail(libc::ENOTTY),
        }
    }

    /// `FIONBIO`.
    pub(crate) fn set_nonblocking(&mut self, fd: i32, on: bool) -> Result<()> {
        let key = self.socket_key(fd)?;
        self.socket(key)?.nonblocking = on;
        Ok(())
    }

    /// `fcntl(2)`.
    pub(crate) fn fcntl(&mut self, fd: i32, command: i32, argument: i32) -> Result<i32> {
        let object = self.object(fd)?;
        let nonblocking = match object {
            Object::Socket(key) => Some(self.socket(key)?),
            _ => None,
        };
        match (command, nonblocking) {
            (libc::F_GETFL, Some(socket)) => {
                Ok(libc::O_RDWR | if socket.nonblocking { libc::O_NONBLOCK } else { 0 })
            }
            (libc::F_SETFL, Some(socket)) => {
                socket.nonblocking = argument & libc::O_NONBLOCK != 0;
                Ok(0)
            }
            (libc::F_GETFL, None) => Ok(libc::O_RDWR),
            (libc::F_GETFD, _) => Ok(libc::FD_CLOEXEC),
            (libc::F_SETFD, _) => Ok(0),
            _ => Err(Errno::INVALID),
        }
    }
}

fn doubled(bytes: u32) -> i32 {
    i32::try_from(bytes.saturating_mul(2)).unwrap_or(i32::MAX)
}

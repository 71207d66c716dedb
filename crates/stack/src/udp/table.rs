//! Which socket a port belongs to.
//!
//! There are few sockets, bound and released seldom, and looked up for each datagram: an array in the order of
//! port and address is searched by halves, the socket of the very address before the one of all addresses.

use alloc::vec::Vec;
use core::net::IpAddr;

use thiserror::Error;

use crate::net::{Addr, Hop};

/// A bound socket: its place in the table and that place's serial number.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct UdpId(u32);

impl UdpId {
    const fn new(place: u16, serial: u16) -> Self {
        Self((serial as u32) << 16 | place as u32)
    }

    const fn place(self) -> usize {
        (self.0 & 0xffff) as usize
    }

    const fn serial(self) -> u16 {
        (self.0 >> 16) as u16
    }
}

/// Why a socket cannot be bound.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum BindError {
    /// Somebody has it.
    #[error("port {0} is bound already: choose another")]
    InUse(u16),
    /// Zero is no port.
    #[error("port 0 cannot be bound")]
    NoPort,
    /// No place for another socket.
    #[error("there are {0} sockets already, which is the most")]
    Full(usize),
}

/// What is known of a socket.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bound {
    pub(super) addr: Option<Addr>,
    pub(super) port: u16,
    pub(super) service: u16,
    /// Where it sent last: replies and streams of datagrams go to one place for a while.
    pub(super) last: Option<(Addr, Hop)>,
}

struct Place {
    serial: u16,
    bound: Option<Bound>,
}

/// Every address: no address is the number zero, which would be `::`.
const ALL: u128 = 0;

fn number(addr: Option<Addr>) -> u128 {
    addr.map_or(ALL, |addr| addr.0)
}

pub(super) struct Table {
    places: Vec<Place>,
    /// In the order of port and address, all addresses ([`ALL`]) first; with the socket's place.
    order: Vec<(u16, u128, u16)>,
    limit: usize,
}

impl Table {
    pub(super) fn new(limit: usize) -> Self {
        let limit = limit.min(usize::from(u16::MAX));
        Self { places: Vec::with_capacity(limit), order: Vec::with_capacity(limit), limit }
    }

    pub(super) fn bind(&mut self, addr: Option<IpAddr>, port: u16, service: u16) -> Result<UdpId, BindError> {
        if port == 0 {
            return Err(BindError::NoPort);
        }
        let addr = addr.map(Addr::from);
        let Err(at) = self.search(port, number(addr)) else { return Err(BindError::InUse(port)) };
        let bound = Some(Bound { addr, port, service, last: None });
        let used = self.places.len();
        let id = match self.places.iter_mut().enumerate().find(|(_, place)| place.bound.is_none()) {
            Some((index, place)) => {
                place.bound = bound;
                UdpId::new(index as u16, place.serial)
            }
            None if used < self.limit => {
                self.places.push(Place { serial: 0, bound });
                UdpId::new(used as u16, 0)
            }
            None => return Err(BindError::Full(self.limit)),
        };
        self.order.insert(at, (port, number(addr), id.place() as u16));
        Ok(id)
    }

    pub(super) fn unbind(&mut self, id: UdpId) -> bool {
        let Some(&mut Bound { addr, port, .. }) = self.get_mut(id) else { return false };
        if let Ok(at) = self.search(port, number(addr)) {
            self.order.remove(at);
        }
        if let Some(place) = self.places.get_mut(id.place()) {
            *place = Place { serial: place.serial.wrapping_add(1), bound: None };
        }
        true
    }

    /// The socket at `place` of the table: its address, port and service. `Err` beyond the last.
    pub(super) fn at(&self, place: usize) -> Result<Option<(Option<IpAddr>, u16, u16)>, ()> {
        let place = self.places.get(place).ok_or(())?;
        Ok(place.bound.map(|bound| (bound.addr.map(IpAddr::from), bound.port, bound.service)))
    }

    #[inline]
    fn search(&self, port: u16, addr: u128) -> Result<usize, usize> {
        self.order.binary_search_by(|entry| (entry.0, entry.1).cmp(&(port, addr)))
    }

    /// The socket for a datagram, and its service.
    #[inline]
    pub(super) fn find(&self, dst: Addr, port: u16) -> Option<(UdpId, u16)> {
        let at = self.search(port, dst.0).or_else(|_| self.search(port, ALL)).ok()?;
        let &(_, _, index) = self.order.get(at)?;
        let place = self.places.get(usize::from(index))?;
        Some((UdpId::new(index, place.serial), place.bound?.service))
    }

    #[inline]
    pub(super) fn get_mut(&mut self, id: UdpId) -> Option<&mut Bound> {
        let place = self.places.get_mut(id.place())?;
        if place.serial == id.serial() { place.bound.as_mut() } else { None }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn addr(text: &str) -> Addr {
        ip(text).into()
    }

    #[test]
    fn the_very_address_comes_before_all_addresses() {
        let mut table = Table::new(8);
        let all = table.bind(None, 53, 1).unwrap();
        let one = table.bind(Some(ip("198.18.0.1")), 53, 2).unwrap();
        let other = table.bind(Some(ip("2001:db8::1")), 54, 3).unwrap();
        assert_eq!(table.find(addr("198.18.0.1"), 53), Some((one, 2)));
        assert_eq!(table.find(addr("198.18.0.2"), 53), Some((all, 1)));
        assert_eq!(table.find(addr("2001:db8::1"), 53), Some((all, 1)));
        assert_eq!(table.find(addr("2001:db8::1"), 54), Some((other, 3)));
        assert_eq!(table.find(addr("2001:db8::2"), 54), None);
        assert!(table.unbind(one));
        assert_eq!(table.find(addr("198.18.0.1"), 53), Some((all, 1)));
    }

    #[test]
    fn a_port_is_bound_once_and_an_id_lives_once() {
        let mut table = Table::new(2);
        let first = table.bind(None, 7, 0).unwrap();
        assert_eq!(table.bind(None, 7, 0), Err(BindError::InUse(7)));
        assert_eq!(table.bind(None, 0, 0), Err(BindError::NoPort));
        table.bind(None, 8, 0).unwrap();
        assert_eq!(table.bind(None, 9, 0), Err(BindError::Full(2)));
        assert!(table.unbind(first));
        assert!(!table.unbind(first));
        let second = table.bind(None, 9, 0).unwrap();
        assert_ne!(first, second);
        assert!(table.get_mut(first).is_none());
    }
}

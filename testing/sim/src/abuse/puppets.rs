//! Many connections that a stranger opens in all form, and then uses as no stack would.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;

use freeway_wire::tcp::{Flags, Options, Repr, SeqNumber};

use crate::lab::{Lab, SERVER, address, forge};

/// One of them: its own address, and the numbers of both sides.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Puppet {
    pub(crate) own: SocketAddr,
    pub(crate) server: SocketAddr,
    /// The next of its own numbers.
    pub(crate) next: u32,
    /// The next of the server's.
    pub(crate) expects: u32,
    pub(crate) window: u16,
    /// Whether the server has reset it.
    pub(crate) reset: bool,
    /// The longest payload that the server has sent it.
    pub(crate) longest: usize,
}

/// All of them, by address and port.
#[derive(Clone, Default)]
pub(crate) struct Puppets(pub(crate) Rc<RefCell<BTreeMap<SocketAddr, Puppet>>>);

impl Puppet {
    /// A segment of its own, `ahead` of where it stands.
    pub(crate) fn segment(&self, flags: Flags, ahead: u32, payload: &[u8]) -> Vec<u8> {
        let repr = forge::fields(flags, self.next.wrapping_add(ahead), self.expects, self.window);
        forge::segment(self.own, self.server, &repr, payload)
    }

    /// The same with options.
    pub(crate) fn segment_with(&self, flags: Flags, options: Options) -> Vec<u8> {
        let repr = Repr { options, ..forge::fields(flags, self.next, self.expects, self.window) };
        forge::segment(self.own, self.server, &repr, &[])
    }
}

impl Puppets {
    /// Takes over what the server sends to the stranger's addresses: ARP is answered, segments are booked, and answered by an
    /// acknowledgment with the puppet's window if `answers`.
    pub(crate) fn take_over(lab: &mut Lab, answers: bool) -> Self {
        let all = Self::default();
        let puppets = all.0.clone();
        lab.stranger = Box::new(move |frame| {
            if let Some(reply) = forge::arp_reply(frame) {
                return Some(vec![reply]);
            }
            let (to, repr, len) = forge::segment_of(frame)?;
            let mut puppets = puppets.borrow_mut();
            let puppet = puppets.get_mut(&to)?;
            puppet.reset |= repr.flags.contains(Flags::RST);
            puppet.longest = puppet.longest.max(len);
            if repr.flags.contains(Flags::SYN) {
                puppet.expects = (repr.seq + 1).0;
                return Some(vec![puppet.segment(Flags::ACK, 0, &[])]);
            }
            // A closed window takes nothing.
            if puppet.window > 0 && repr.seq == SeqNumber(puppet.expects) {
                puppet.expects = puppet.expects.wrapping_add(len as u32);
            }
            let answer = answers && len > 0;
            Some(if answer { vec![puppet.segment(Flags::ACK, 0, &[])] } else { Vec::new() })
        });
        all
    }

    /// Opens one more connection to a port of the server.
    pub(crate) fn open(
        &self,
        lab: &mut Lab,
        number: u32,
        port: u16,
        window: u16,
        options: Options,
    ) -> SocketAddr {
        if number & 0xff == 0 {
            lab.hit(&forge::arp_hello(number >> 8));
        }
        let own = SocketAddr::new(forge::stranger(number >> 8), 1_024 + (number & 0xff) as u16);
        let server = SocketAddr::new(address(SERVER, false), port);
        let puppet = Puppet { own, server, next: 1_000, expects: 0, window, reset: false, longest: 0 };
        let repr = Repr { options, ..forge::fields(Flags::SYN, 999, 0, window) };
        self.0.borrow_mut().insert(own, puppet);
        lab.hit(&forge::segment(own, server, &repr, &[]));
        own
    }

    pub(crate) fn get(&self, own: SocketAddr) -> Puppet {
        self.0.borrow()[&own]
    }

    pub(crate) fn change(&self, own: SocketAddr, change: impl FnOnce(&mut Puppet)) {
        if let Some(puppet) = self.0.borrow_mut().get_mut(&own) {
            change(puppet);
        }
    }

    /// How many the server has reset.
    pub(crate) fn reset(&self) -> usize {
        self.0.borrow().values().filter(|puppet| puppet.reset).count()
    }
}

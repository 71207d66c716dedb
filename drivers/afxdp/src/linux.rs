//! What Linux has on an interface whose addresses Freeway shares, and how it changes.
//!
//! Routes are read at start, and again whenever Linux says that some have changed: a thread waits for that.

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use rustix::io::write;

use crate::AfxdpError;
use crate::netlink::{Netlink, Watch};

/// What changes at once, such as all routes of a daemon that starts, is read once.
const SETTLING: Duration = Duration::from_millis(20);

/// What Linux has on an interface.
pub struct LinuxSide {
    /// Its addresses, but for those of the link alone, each with the length of its network's prefix in bits.
    pub addresses: Vec<(IpAddr, u8)>,
    /// Its routes through routers behind this interface, default ones included.
    pub routes: Routes,
}

/// A network that Linux reaches through a router.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LinuxRoute {
    /// The network.
    pub network: IpAddr,
    /// The length of its prefix, in bits; 0 for everything.
    pub prefix_len: u8,
    /// The router, of the same IP version.
    pub gateway: IpAddr,
}

/// Asks Linux about the interface `name`.
///
/// # Errors
///
/// There is no such interface, or the kernel does not say.
pub fn linux_side(name: &str) -> Result<LinuxSide, AfxdpError> {
    let failed = |error| AfxdpError::system("ask about", name, error);
    // Before anything is asked, so that no change goes by unheard.
    let watch = Watch::routes().map_err(failed)?;
    let mut netlink = Netlink::open().map_err(failed)?;
    let link = netlink.link(name).map_err(failed)?.ok_or_else(|| AfxdpError::NoInterface(name.to_owned()))?;
    let addresses = netlink.addresses(link.index).map_err(failed)?;
    let now = netlink.routes(link.index).map_err(failed)?;
    Ok(LinuxSide { addresses, routes: Routes { index: link.index, netlink, watch, now } })
}

/// Linux's routes by an interface.
pub struct Routes {
    index: u32,
    netlink: Netlink,
    watch: Watch,
    now: Vec<LinuxRoute>,
}

impl Routes {
    /// What they were when last asked for.
    pub fn now(&self) -> &[LinuxRoute] {
        &self.now
    }

    /// Has a thread tell `changed` of all routes whenever there are others than before. It needs no rights.
    ///
    /// # Errors
    ///
    /// There is no thread to be had.
    pub fn follow(self, changed: impl FnMut(&[LinuxRoute]) + Send + 'static) -> io::Result<Following> {
        let bell = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
        let is_over = Arc::new(AtomicBool::new(false));
        let (own_bell, own_end) = (Arc::clone(&bell), Arc::clone(&is_over));
        let work = move || self.run(&own_bell, &own_end, changed);
        let thread = thread::Builder::new().name("routes".into()).spawn(work)?;
        Ok(Following { bell, is_over, thread: Some(thread) })
    }

    fn run(mut self, bell: &OwnedFd, is_over: &AtomicBool, mut changed: impl FnMut(&[LinuxRoute])) {
        loop {
            let mut sources = [
                PollFd::new(bell, PollFlags::IN),
                PollFd::from_borrowed_fd(self.watch.as_fd(), PollFlags::IN),
            ];
            if poll(&mut sources, None).is_err() {
                continue;
            }
            if is_over.load(Ordering::Acquire) {
                return;
            }
            thread::sleep(SETTLING);
            self.watch.skip();
            // If Linux does not say, it may the next time; until then all stays as it was.
            let Ok(routes) = self.netlink.routes(self.index) else { continue };
            if routes != self.now {
                changed(&routes);
                self.now = routes;
            }
        }
    }
}

/// The thread that follows Linux's routes. Dropping it ends it.
pub struct Following {
    bell: Arc<OwnedFd>,
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Following {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Release);
        // It fails only when the counter is full, and then the descriptor is readable already.
        let _ = write(&*self.bell, &1_u64.to_ne_bytes());
        if let Some(thread) = self.thread.take() {
            // Whoever is told may have panicked, which it has said itself.
            let _ = thread.join();
        }
    }
}

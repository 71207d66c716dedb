//! The thread that asks Linux for neighbours, for cores that share an address with it.
//!
//! ```text
//!   core: question ──► ring, eventfd ──► thread ──► netlink: find it, as if Linux itself had something to send
//!   core: answer   ◄── ring, eventfd ◄──        ◄── netlink: what Linux has learnt
//! ```
//!
//! Neighbours are asked for when one is first spoken to and once in a while after, never for each packet.

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use freeway_mem::ring::{Consumer, Producer, spsc};
use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use rustix::io::{read, write};
use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities};

use crate::netlink::{Netlink, Watch};

/// Questions and answers that a core may have under way; more questions are asked again by the stack.
const UNDER_WAY: usize = 256;

/// A neighbour that a core wants to know, for one of its addresses.
pub(crate) type Question = (IpAddr, IpAddr);

/// Where it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answer {
    pub(crate) asker: IpAddr,
    pub(crate) neighbour: IpAddr,
    pub(crate) mac: [u8; 6],
}

/// The thread. Dropping it ends it.
pub(crate) struct Resolver {
    shared: Arc<Common>,
    thread: Option<JoinHandle<()>>,
}

struct Common {
    /// Wakes the thread: a question, or the end.
    bell: OwnedFd,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    is_over: bool,
    clients: Vec<Client>,
}

/// A core, as the thread sees it.
struct Client {
    questions: Consumer<Question>,
    answers: Producer<Answer>,
    wake: Arc<OwnedFd>,
    waiting: Vec<Question>,
}

/// The thread, as a core sees it.
pub(crate) struct Asking {
    questions: Producer<Question>,
    answers: Consumer<Answer>,
    /// Readable when there are answers.
    wake: Arc<OwnedFd>,
    shared: Arc<Common>,
}

impl Resolver {
    /// Starts the thread for interface `index` of this thread's namespace.
    pub(crate) fn start(index: u32) -> io::Result<Self> {
        let bell = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let shared = Arc::new(Common { bell, state: Mutex::default() });
        // Opened here, so that a lack of rights shows before anything runs.
        let (netlink, watch) = (Netlink::open()?, Watch::neighbours()?);
        let theirs = Arc::clone(&shared);
        let work = move || run(&theirs, netlink, &watch, index);
        let thread = std::thread::Builder::new().name("neighbours".into()).spawn(work)?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Another core that will ask.
    pub(crate) fn join(&self) -> io::Result<Asking> {
        let (ask, questions) = spsc(UNDER_WAY);
        let (answers, hear) = spsc(UNDER_WAY);
        let wake = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
        let client = Client { questions, answers, wake: Arc::clone(&wake), waiting: Vec::new() };
        self.shared.lock().clients.push(client);
        Ok(Asking { questions: ask, answers: hear, wake, shared: Arc::clone(&self.shared) })
    }
}

impl Drop for Resolver {
    fn drop(&mut self) {
        self.shared.lock().is_over = true;
        ring(&self.shared.bell);
        if let Some(thread) = self.thread.take() {
            // It cannot panic, and there is nobody to tell.
            let _ = thread.join();
        }
    }
}

impl Common {
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Asking {
    /// Asks. A question too many is forgotten: the stack asks again.
    #[cold]
    pub(crate) fn ask(&mut self, question: Question) {
        if self.questions.push(question).is_ok() {
            ring(&self.shared.bell);
        }
    }

    /// The next answer.
    #[inline]
    pub(crate) fn next(&mut self) -> Option<Answer> {
        self.answers.pop()
    }

    /// Whether there are answers; if not, `wake` becomes readable when there are.
    pub(crate) fn has_answers(&mut self) -> bool {
        let _ = read(&*self.wake, &mut [0_u8; 8]);
        !self.answers.is_empty()
    }

    pub(crate) fn wake(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }
}

fn ring(bell: &OwnedFd) {
    // It fails only when the counter is full, and then the descriptor is readable already.
    let _ = write(bell, &1_u64.to_ne_bytes());
}

/// Gives up what capabilities this thread does not need: it outlives the moment when the rest of a server has none. Where
/// that fails, it goes on with those it has.
fn keep_only_net_admin() {
    let Ok(has) = rustix::thread::capabilities(None) else { return };
    let needed = has.permitted & CapabilitySet::NET_ADMIN;
    let none = CapabilitySet::empty();
    let _ =
        set_capabilities(None, CapabilitySets { effective: needed, permitted: needed, inheritable: none });
}

fn run(shared: &Common, mut netlink: Netlink, watch: &Watch, index: u32) {
    keep_only_net_admin();
    loop {
        let mut sources = [
            PollFd::new(&shared.bell, PollFlags::IN),
            PollFd::from_borrowed_fd(watch.as_fd(), PollFlags::IN),
        ];
        if poll(&mut sources, None).is_err() {
            continue;
        }
        let _ = read(&shared.bell, &mut [0_u8; 8]);
        let mut state = shared.lock();
        if state.is_over {
            return;
        }
        let mut is_asked = false;
        for client in &mut state.clients {
            while let Some(question) = client.questions.pop() {
                is_asked = true;
                // Linux may not know the way: then nobody answers, and the stack gives up in its time.
                let _ = netlink.probe_neighbour(index, question.1);
                if client.waiting.len() < UNDER_WAY && !client.waiting.contains(&question) {
                    client.waiting.push(question);
                }
            }
        }
        let mut known = watch.heard_neighbours(index);
        if is_asked {
            known.extend(netlink.neighbours(index).unwrap_or_default());
        }
        for client in &mut state.clients {
            client.hear(&known);
        }
    }
}

impl Client {
    /// Passes on what this core has asked for.
    fn hear(&mut self, known: &[(IpAddr, [u8; 6])]) {
        let Self { answers, wake, waiting, .. } = self;
        let mut told = false;
        waiting.retain(|&(asker, neighbour)| {
            let Some(&(_, mac)) = known.iter().find(|(addr, _)| *addr == neighbour) else { return true };
            let pushed = answers.push(Answer { asker, neighbour, mac }).is_ok();
            told |= pushed;
            !pushed
        });
        if told {
            ring(wake);
        }
    }
}

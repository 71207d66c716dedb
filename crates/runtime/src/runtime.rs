//! One thread a core: starting them all or none, running them, and ending them together.
//!
//! ```text
//!  starter                        core 0                core 1
//!  Runtime::start ──spawn──►      pin, build            pin, build
//!      wait for all  ◄──built───  publish               publish
//!      all well?     ──go──►      poll, poll, sleep...  poll, poll, sleep...
//!  Running::stop     ──flag, bell──►  last turn         last turn
//!      join          ◄────────────  end                 end
//! ```
//!
//! Each core builds its own state on its own, pinned thread, so that its memory is local to its CPU. Nothing
//! runs before everything is built: the first error ends all threads and is what [`Runtime::start`] returns.
//! A core that panics ends the others too, and [`Running::join`] says which it was.

use std::error::Error;
use std::io;
use std::sync::{Arc, mpsc};

use freeway_base::Instant;
use freeway_port::PortInfo;
use freeway_stack::Application;
use thiserror::Error;

use crate::clock::{Clock, Monotonic};
use crate::core::Core;
use crate::idle::Idle;
use crate::mailbox::{MailConfig, Mailboxes, mesh};
use crate::post::{Post, PostConfig};
use crate::remote::{Relay, RemotePort, remote};
use crate::running::Running;
use crate::start::Starting;
use crate::stop::StopHandle;

/// What a core's builder may fail with.
pub type BuildError = Box<dyn Error + Send + Sync>;

/// How the cores run.
#[derive(Clone, Debug)]
pub struct RuntimeConfig {
    /// How many cores, each a thread. Default 1.
    pub cores: u32,
    /// The CPU of each core, in order. Default empty: threads are not pinned.
    pub cpus: Vec<usize>,
    /// What a core does when it finds nothing to do.
    pub idle: Idle,
    /// How much the rings between cores hold.
    pub mail: MailConfig,
}

impl Default for RuntimeConfig {
    fn default() -> Self {
        Self { cores: 1, cpus: Vec::new(), idle: Idle::default(), mail: MailConfig::default() }
    }
}

impl RuntimeConfig {
    /// One core on each of `cpus`.
    pub fn pinned(cpus: impl Into<Vec<usize>>) -> Self {
        let cpus = cpus.into();
        Self { cores: cpus.len() as u32, cpus, ..Self::default() }
    }
}

/// Why the cores did not start. None of them runs.
#[derive(Debug, Error)]
pub enum StartError {
    /// The numbers do not fit together.
    #[error("{cores} cores with {given} {what}: there must be one for each core")]
    Count {
        /// Cores of the configuration.
        cores: u32,
        /// Of what there are too many or too few.
        what: &'static str,
        /// How many there are.
        given: usize,
    },
    /// The operating system gave no thread or no descriptor.
    #[error("the system has no thread or descriptor left: {0}")]
    System(#[from] io::Error),
    /// A thread could not be bound to its CPU.
    #[error("core {core} cannot run on CPU {cpu}: {source}")]
    Pin {
        /// The core.
        core: u32,
        /// The CPU of the configuration.
        cpu: usize,
        /// What the kernel says.
        source: io::Error,
    },
    /// A core's builder failed.
    #[error("core {core} cannot start: {source}")]
    Build {
        /// The core.
        core: u32,
        /// What the builder says.
        source: BuildError,
    },
    /// A core's builder panicked.
    #[error("core {core} panicked while it was built")]
    Panicked {
        /// The core.
        core: u32,
    },
}

/// A core's place in the runtime, given to its builder.
pub struct Seat {
    /// The core's ends of the rings to the others, for [`Core::new`].
    pub mailboxes: Mailboxes,
    /// Stops all cores; the application may keep it.
    pub stop: StopHandle,
    /// The clock of all cores.
    pub clock: Monotonic,
}

impl Seat {
    /// The core's number.
    pub fn core(&self) -> u32 {
        self.mailboxes.core()
    }

    /// How many cores there are.
    pub fn cores(&self) -> u32 {
        self.mailboxes.cores()
    }

    /// The time, by the clock of all cores.
    pub fn now(&self) -> Instant {
        { self.clock }.now()
    }
}

/// The cores before they start: what links them exists already.
pub struct Runtime {
    config: RuntimeConfig,
    seats: Vec<Seat>,
    stop: StopHandle,
    clock: Monotonic,
}

impl Runtime {
    /// Lays out the rings between the cores.
    ///
    /// # Errors
    ///
    /// No cores at all, a list of CPUs of another length, or no file descriptors.
    pub fn new(config: RuntimeConfig) -> Result<Self, StartError> {
        let RuntimeConfig { cores, ref cpus, idle: _, ref mail } = config;
        if cores == 0 || !(cpus.is_empty() || cpus.len() == cores as usize) {
            return Err(StartError::Count { cores, what: "CPUs", given: cpus.len() });
        }
        let mailboxes = mesh(cores, mail)?;
        let stop = StopHandle::new(mailboxes.iter().map(|mail| Arc::clone(mail.bell())).collect());
        let clock = Monotonic::new();
        let seats =
            mailboxes.into_iter().map(|mailboxes| Seat { mailboxes, stop: stop.clone(), clock }).collect();
        Ok(Self { config, seats, stop, clock })
    }

    /// What stops the cores, before and after they start.
    pub fn stop_handle(&self) -> StopHandle {
        self.stop.clone()
    }

    /// A port for a core that has no queue of the device `info` describes, and what core `owner`, which has one,
    /// attaches to its own port. `None` if there is no core `owner`.
    pub fn remote_port(&self, owner: u32, info: PortInfo) -> Option<(RemotePort, Relay)> {
        let bell = self.seats.get(owner as usize)?.mailboxes.bell();
        Some(remote(info, &self.config.mail, Arc::clone(bell)))
    }

    /// Rings for what an application writes to itself on other cores: one end for each core, in order.
    pub fn post(&self, config: &PostConfig) -> Vec<Post> {
        Post::mesh(self.seats.iter().map(|seat| &seat.mailboxes), config)
    }

    /// Starts all cores: the builder at place `n` runs on core `n`'s own thread and returns its [`Core`].
    ///
    /// # Errors
    ///
    /// The first thing that went wrong on any core. No thread is left behind.
    pub fn start<A, B>(self, builders: impl IntoIterator<Item = B>) -> Result<Running, StartError>
    where
        A: Application,
        B: FnOnce(Seat) -> Result<Core<A>, BuildError> + Send + 'static,
    {
        let builders: Vec<B> = builders.into_iter().collect();
        if builders.len() != self.seats.len() {
            let (cores, given) = (self.config.cores, builders.len());
            return Err(StartError::Count { cores, what: "builders", given });
        }
        let (report, reports) = mpsc::channel();
        let mut starting = Starting::new(self.stop, self.clock);
        for (seat, builder) in self.seats.into_iter().zip(builders) {
            let cpu = self.config.cpus.get(seat.core() as usize).copied();
            starting.spawn(seat, cpu, self.config.idle, builder, report.clone())?;
        }
        drop(report);
        starting.wait_for_all(&reports)
    }
}

//! Threads that are built but do not run yet: all of them will, or none.

use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;

use freeway_stack::Application;

use crate::affinity;
use crate::board::Board;
use crate::clock::Monotonic;
use crate::core::Core;
use crate::idle::Idle;
use crate::observer::Desk;
use crate::running::{Running, run};
use crate::runtime::{BuildError, Seat, StartError};
use crate::stop::StopHandle;

/// What a thread tells the starter once it is built.
pub(crate) type Report = (u32, Result<(Arc<Board>, Desk), StartError>);

/// Threads that build or wait for the others. Dropping it ends them.
pub(crate) struct Starting {
    /// One for each thread: a message says go, a closed channel says go home.
    gates: Vec<Sender<()>>,
    running: Running,
}

impl Starting {
    pub(crate) fn new(stop: StopHandle, clock: Monotonic) -> Self {
        Self { gates: Vec::new(), running: Running::new(stop, clock) }
    }

    /// Starts a thread that builds its core, reports, and waits.
    pub(crate) fn spawn<A, B>(
        &mut self,
        seat: Seat,
        cpu: Option<usize>,
        idle: Idle,
        builder: B,
        report: Sender<Report>,
    ) -> Result<(), StartError>
    where
        A: Application,
        B: FnOnce(Seat) -> Result<Core<A>, BuildError> + Send + 'static,
    {
        let (gate, go) = mpsc::channel();
        let core = seat.core();
        let spawned = thread::Builder::new().name(format!("freeway-{core}")).spawn(move || {
            let (stop, clock) = (seat.stop.clone(), seat.clock);
            let (result, built) = match build(seat, cpu, builder) {
                Ok((core, board, desk)) => (Ok((Arc::clone(&board), desk)), Some((core, board))),
                Err(error) => (Err(error), None),
            };
            let told = report.send((core, result));
            drop(report);
            if let (Ok(()), Some((core, board)), Ok(())) = (told, built, go.recv()) {
                run(core, clock, idle, &stop, &board);
            }
        });
        self.running.threads.push((core, spawned?));
        self.gates.push(gate);
        Ok(())
    }

    /// Lets all threads go once all have reported that they are built.
    pub(crate) fn wait_for_all(mut self, reports: &Receiver<Report>) -> Result<Running, StartError> {
        let mut boards: Vec<Option<(Arc<Board>, Desk)>> = self.gates.iter().map(|_| None).collect();
        // Ends when every thread has reported or gone.
        for (core, result) in reports {
            let board = result?;
            if let Some(place) = boards.get_mut(core as usize) {
                *place = Some(board);
            }
        }
        for (board, core) in boards.into_iter().zip(0..) {
            let (board, desk) = board.ok_or(StartError::Panicked { core })?;
            self.running.boards.push(board);
            self.running.desks.push(Arc::new(desk));
        }
        for gate in self.gates.drain(..) {
            // A thread that is gone already is found by whoever joins it.
            let _ = gate.send(());
        }
        Ok(self.running)
    }
}

fn build<A, B>(seat: Seat, cpu: Option<usize>, builder: B) -> Result<(Core<A>, Arc<Board>, Desk), StartError>
where
    A: Application,
    B: FnOnce(Seat) -> Result<Core<A>, BuildError>,
{
    let number = seat.core();
    if let Some(cpu) = cpu {
        affinity::pin(cpu).map_err(|source| StartError::Pin { core: number, cpu, source })?;
    }
    let mut core = builder(seat).map_err(|source| StartError::Build { core: number, source })?;
    let board = Arc::new(Board::new(number, &core));
    let desk = core.observed();
    Ok((core, board, desk))
}

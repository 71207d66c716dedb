//! Documents that are too large for memory: read by a thread, part by part, into buffers that go round.
//!
//! A core asks by a ring and looks for answers once a turn; a slow disk makes downloads slow and nothing else.

use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle, Thread};
use std::time::Duration;

use freeway::ring::{Consumer, Producer, spsc};

use crate::config::Config;
use crate::document::{Content, Document};
use crate::library::read_at;

/// How long the thread sleeps at most; a core that asks wakes it before.
const REST: Duration = Duration::from_millis(500);

/// A part of a document that is wanted.
struct Wish {
    place: u32,
    serial: u32,
    document: Arc<Document>,
    offset: u64,
    len: usize,
    buffer: Box<[u8]>,
}

/// A part that was read; `len` is 0 when it could not be.
pub(crate) struct Answer {
    /// The exchange that asked.
    pub(crate) place: u32,
    pub(crate) serial: u32,
    pub(crate) buffer: Box<[u8]>,
    pub(crate) len: usize,
    /// Handed back so that its last handle is never dropped by the thread alone.
    _document: Arc<Document>,
}

/// A core's end of its disk thread: its buffers, and what it has asked for.
pub struct Disk {
    wishes: Producer<Wish>,
    answers: Consumer<Answer>,
    buffers: Vec<Box<[u8]>>,
    buffer_len: usize,
    /// Exchanges that wait for a buffer, first come first served.
    waiting: std::collections::VecDeque<(u32, u32)>,
    waiting_max: usize,
    under_way: u32,
    thread: Thread,
    // Held so that the thread is joined when the core ends.
    _joiner: Joiner,
}

struct Joiner(Option<JoinHandle<()>>);

impl Drop for Joiner {
    fn drop(&mut self) {
        if let Some(thread) = self.0.take() {
            thread.thread().unpark();
            // Its ring is gone or about to go: it notices at its next look, and is not waited for.
            drop(thread);
        }
    }
}

impl Disk {
    /// Buffers and a thread that fills them, as many and as large as `config` says.
    ///
    /// # Errors
    ///
    /// No thread.
    pub fn start(config: &Config) -> io::Result<Self> {
        let (count, len) = (config.disk_buffers.max(2) as usize, config.disk_buffer.max(4_096) as usize);
        let waiting_max = config.exchanges_max;
        let (wishes, wishes_out) = spsc(count);
        let (answers_in, answers) = spsc(count);
        let joiner = thread::Builder::new().name("disk".into()).spawn(move || run(wishes_out, answers_in))?;
        Ok(Self {
            wishes,
            answers,
            buffers: (0..count).map(|_| vec![0; len].into()).collect(),
            buffer_len: len,
            waiting: std::collections::VecDeque::with_capacity(waiting_max as usize),
            waiting_max: waiting_max as usize,
            under_way: 0,
            thread: joiner.thread().clone(),
            _joiner: Joiner(Some(joiner)),
        })
    }

    /// Asks for a part of a document, of at most so many bytes; false when there is no buffer now, and then the exchange
    /// is told by [`Disk::next_waiting`].
    pub(crate) fn read(
        &mut self,
        place: u32,
        serial: u32,
        document: &Arc<Document>,
        offset: u64,
        len: u64,
    ) -> bool {
        let Some(buffer) = self.buffers.pop() else {
            if self.waiting.len() < self.waiting_max && !self.waiting.contains(&(place, serial)) {
                self.waiting.push_back((place, serial));
            }
            return false;
        };
        let len = usize::try_from(len).unwrap_or(usize::MAX).min(self.buffer_len);
        let wish = Wish { place, serial, document: Arc::clone(document), offset, len, buffer };
        match self.wishes.push(wish) {
            Ok(()) => {
                self.under_way += 1;
                // A system call only if it sleeps.
                self.thread.unpark();
                true
            }
            // There are as many places as buffers, so this is the end of the thread.
            Err(wish) => {
                self.buffers.push(wish.buffer);
                false
            }
        }
    }

    /// The next part that was read.
    #[inline]
    pub(crate) fn answer(&mut self) -> Option<Answer> {
        if self.under_way == 0 {
            return None;
        }
        let answer = self.answers.pop()?;
        self.under_way -= 1;
        Some(answer)
    }

    /// Takes a buffer back.
    pub(crate) fn give_back(&mut self, buffer: Box<[u8]>) {
        self.buffers.push(buffer);
    }

    /// An exchange that waited and may ask again, when there is a buffer.
    pub(crate) fn next_waiting(&mut self) -> Option<(u32, u32)> {
        if self.buffers.is_empty() { None } else { self.waiting.pop_front() }
    }

    /// Whether reads are under way, or exchanges wait for a buffer that is there.
    pub(crate) fn is_busy(&self) -> bool {
        self.under_way > 0 || self.is_wanted() && !self.buffers.is_empty()
    }

    /// Whether exchanges wait for buffers: nobody should keep one without need.
    pub(crate) fn is_wanted(&self) -> bool {
        !self.waiting.is_empty()
    }
}

fn run(mut wishes: Consumer<Wish>, mut answers: Producer<Answer>) {
    loop {
        let Some(mut wish) = wishes.pop() else {
            if wishes.is_disconnected() {
                return;
            }
            thread::park_timeout(REST);
            continue;
        };
        let len = match &wish.document.content {
            Content::Disk(file) => {
                let into = wish.buffer.get_mut(..wish.len).unwrap_or_default();
                read_at(file, into, wish.offset).unwrap_or(0)
            }
            Content::Memory(_) => 0,
        };
        let Wish { place, serial, document, buffer, .. } = wish;
        let mut answer = Answer { place, serial, buffer, len, _document: document };
        while let Err(back) = answers.push(answer) {
            if answers.is_disconnected() {
                return;
            }
            answer = back;
            thread::sleep(Duration::from_millis(1));
        }
    }
}

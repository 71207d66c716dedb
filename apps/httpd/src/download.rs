//! Documents on their way, beyond the turn that they were asked for in.

use std::sync::Arc;

use freeway::ConnId;

use crate::answer::{document_bytes, part_end, part_head};
use crate::disk::Answer;
use crate::exchange::{Chunk, Download, Sending};
use crate::io::Io;
use crate::reply::Manner;
use crate::server::{Next, Server};
use crate::state::{HttpState, Phase, Ticks};

/// How a step of a download ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Progress {
    /// All is written.
    Done,
    /// There is no room, or the disk has not answered.
    Waits,
    /// The file is not what it was.
    Failed,
}

impl Server {
    /// Begins to send the spans in [`Server::spans`], whose head is written; of the first `written` bytes have gone.
    pub(crate) fn begin_download<I: Io>(
        &mut self,
        io: &mut I,
        state: &mut HttpState,
        manner: Manner,
        number: u32,
        written: u64,
        is_multipart: bool,
    ) -> Next {
        let Some(document) = self.shelf.share(number) else { return Next::Abort };
        let is_on_disk = document.bytes().is_none();
        let spans = std::mem::take(&mut self.spans);
        let download = Download {
            number,
            read_to: spans.first().map_or(0, |span| span.start),
            spans,
            done: 0,
            is_multipart,
            head_written: !is_multipart,
            chunk: None,
            next: None,
            reading: false,
            document: is_on_disk.then_some(document),
        };
        let mut exchange = Self::download_exchange(io.id(), Sending::Document(download), !manner.keep_alive);
        exchange.written = written;
        if !self.begin_exchange(state, exchange) {
            return Next::Abort;
        }
        self.shelf.hold(number);
        state.since = Ticks::of(io.now());
        match self.exchange(io, state) {
            // It took no longer than this turn.
            next @ (Next::Again | Next::Close | Next::Drain | Next::Abort) => next,
            Next::Wait | Next::WaitFor(_) if state.phase == Phase::Exchange => {
                Next::WaitFor(self.config.rate_interval)
            }
            next => next,
        }
    }

    /// Writes as much of a download as there is room for.
    pub(crate) fn download<I: Io>(
        &mut self,
        io: &mut I,
        place: u32,
        serial: u32,
        download: &mut Download,
        written: &mut u64,
    ) -> Progress {
        loop {
            let Some(&span) = download.spans.get(download.done) else {
                if !download.is_multipart || io.put(&[part_end().as_bytes()]) {
                    return Progress::Done;
                }
                return Progress::Waits;
            };
            if !download.head_written {
                let Some(document) = self.shelf.document(download.number) else { return Progress::Failed };
                if !io.put(&[part_head(document, span.start, span.end).as_bytes()]) {
                    return Progress::Waits;
                }
                download.head_written = true;
                download.read_to = span.start;
            }
            if !span.is_empty() {
                let progress =
                    match (self.shelf.lent(download.number), document_bytes(&self.shelf, download.number)) {
                        (Some(lent), Some(bytes)) => {
                            io.lend(lent, bytes, span.start as usize, span.end as usize)
                        }
                        _ => match self.write_from_disk(io, place, serial, download, span.end) {
                            Ok(count) => count,
                            Err(progress) => return progress,
                        },
                    };
                *written += progress as u64;
                let Some(span) = download.spans.get_mut(download.done) else { return Progress::Failed };
                span.start += progress as u64;
                if !span.is_empty() {
                    if progress == 0 {
                        return Progress::Waits;
                    }
                    continue;
                }
            }
            download.done += 1;
            download.head_written = !download.is_multipart;
        }
    }

    /// Writes of the part at hand, and asks for those that follow it.
    fn write_from_disk<I: Io>(
        &mut self,
        io: &mut I,
        place: u32,
        serial: u32,
        download: &mut Download,
        end: u64,
    ) -> Result<usize, Progress> {
        // Nothing is read before it can be written.
        if download.chunk.is_none() && io.room() == 0 {
            io.want_room();
            return Err(Progress::Waits);
        }
        if download.chunk.is_none() {
            download.chunk = download.next.take().map(|chunk| (chunk, 0));
        }
        self.read_ahead(place, serial, download, end);
        let Some((chunk, at)) = &mut download.chunk else { return Err(Progress::Waits) };
        if chunk.len == 0 {
            return Err(Progress::Failed);
        }
        let left = chunk.buffer.get(*at..chunk.len).unwrap_or_default();
        let count = io.write(left);
        *at += count;
        if *at >= chunk.len
            && let Some((chunk, _)) = download.chunk.take()
        {
            self.disk.give_back(chunk.buffer);
            self.read_ahead(place, serial, download, end);
        }
        Ok(count)
    }

    /// Gives back what was read and cannot be written now, if others wait for buffers: a client that reads slowly would
    /// keep them from everybody. It is read again.
    pub(crate) fn yield_buffers(&mut self, download: &mut Download) {
        if !self.disk.is_wanted() || download.reading {
            return;
        }
        let chunk = download.chunk.take().map(|(chunk, _)| chunk);
        for chunk in chunk.into_iter().chain(download.next.take()) {
            self.disk.give_back(chunk.buffer);
        }
        if let Some(span) = download.spans.get(download.done) {
            download.read_to = span.start;
        }
    }

    fn read_ahead(&mut self, place: u32, serial: u32, download: &mut Download, end: u64) {
        if download.reading || download.next.is_some() || download.read_to >= end {
            return;
        }
        let Some(document) = &download.document else { return };
        download.reading = self.disk.read(place, serial, document, download.read_to, end - download.read_to);
    }

    /// A part has come from disk: whose connection it is for.
    pub(crate) fn put_part(&mut self, answer: Answer) -> Option<ConnId> {
        self.counters.disk_reads += 1;
        let Answer { place, serial, buffer, len, .. } = answer;
        if let Some(exchange) = self.exchanges.get_mut(place)
            && exchange.serial == serial
            && let Sending::Document(download) = &mut exchange.sending
        {
            download.reading = false;
            download.read_to += len as u64;
            download.next = Some(Chunk { buffer, len });
            return Some(exchange.conn);
        }
        self.disk.give_back(buffer);
        None
    }

    /// Lets go of what a download holds.
    pub(crate) fn end_download(&mut self, download: Download) {
        self.shelf.release(download.number);
        let Download { chunk, next, document, .. } = download;
        for chunk in chunk.map(|(chunk, _)| chunk).into_iter().chain(next) {
            self.disk.give_back(chunk.buffer);
        }
        // The shelf and the library have it too.
        debug_assert!(document.as_ref().is_none_or(|document| Arc::strong_count(document) > 1));
    }
}

//! Pipes, and splicing between pipes and connections.

use std::collections::VecDeque;

use crate::errno::{Errno, Result, fail};
use crate::socket::{Key, Kind};
use crate::world::{Object, World};

/// Bytes that a pipe holds.
const CAPACITY: usize = 65_536;

/// Which end of a pipe.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum End {
    Read,
    Write,
}

/// A pipe.
#[derive(Debug, Default)]
pub(crate) struct Pipe {
    bytes: VecDeque<u8>,
    reader_gone: bool,
    writer_gone: bool,
}

impl World {
    /// `pipe(2)`: the reading end and the writing end.
    pub(crate) fn open_pipe(&mut self) -> Result<[i32; 2]> {
        let key = self.new_key();
        self.pipes.insert(key, Pipe::default());
        Ok([self.open_fd(Object::Pipe(key, End::Read))?, self.open_fd(Object::Pipe(key, End::Write))?])
    }

    pub(crate) fn close_pipe(&mut self, key: Key, end: End) {
        let Some(pipe) = self.pipes.get_mut(&key) else { return };
        match end {
            End::Read => pipe.reader_gone = true,
            End::Write => pipe.writer_gone = true,
        }
        if pipe.reader_gone && pipe.writer_gone {
            self.pipes.remove(&key);
        }
    }

    fn pipe(&mut self, key: Key) -> Result<&mut Pipe> {
        self.pipes.get_mut(&key).ok_or(Errno(libc::EBADF))
    }

    pub(crate) fn read_pipe(&mut self, key: Key, end: End, len: usize) -> Result<Vec<u8>> {
        if end != End::Read {
            return fail(libc::EBADF);
        }
        let pipe = self.pipe(key)?;
        if pipe.bytes.is_empty() && len > 0 && !pipe.writer_gone {
            return Err(Errno::AGAIN);
        }
        let count = len.min(pipe.bytes.len());
        Ok(pipe.bytes.drain(..count).collect())
    }

    pub(crate) fn write_pipe(&mut self, key: Key, end: End, bytes: &[u8]) -> Result<usize> {
        if end != End::Write {
            return fail(libc::EBADF);
        }
        let pipe = self.pipe(key)?;
        if pipe.reader_gone {
            return Err(Errno::PIPE);
        }
        let room = CAPACITY - pipe.bytes.len();
        if room == 0 && !bytes.is_empty() {
            return Err(Errno::AGAIN);
        }
        let count = room.min(bytes.len());
        pipe.bytes.extend(&bytes[..count]);
        Ok(count)
    }

    /// What can be read from a pipe, and whether there is room, or nobody at the other end: for `poll`.
    pub(crate) fn pipe_state(&self, key: Key, end: End) -> (bool, bool) {
        let Some(pipe) = self.pipes.get(&key) else { return (false, true) };
        match end {
            End::Read => (!pipe.bytes.is_empty(), pipe.writer_gone),
            End::Write => (pipe.bytes.len() < CAPACITY, pipe.reader_gone),
        }
    }

    /// `splice(2)` between a pipe and a connection.
    pub(crate) fn splice(&mut self, from: i32, to: i32, len: usize, more: bool) -> Result<usize> {
        match (self.object(from)?, self.object(to)?) {
            (Object::Pipe(pipe, End::Read), Object::Socket(socket)) => {
                self.splice_out(pipe, socket, len, more)
            }
            (Object::Socket(socket), Object::Pipe(pipe, End::Write)) => self.splice_in(socket, pipe, len),
            _ => Err(Errno::INVALID),
        }
    }

    fn splice_out(&mut self, pipe: Key, socket: Key, len: usize, more: bool) -> Result<usize> {
        if self.socket(socket)?.kind != Kind::Stream {
            return Err(Errno::INVALID);
        }
        let source = self.pipe(pipe)?;
        let bytes: Vec<u8> = source.bytes.iter().take(len).copied().collect();
        if bytes.is_empty() {
            return if source.writer_gone || len == 0 { Ok(0) } else { Err(Errno::AGAIN) };
        }
        let sent = self.send_stream(socket, &bytes, None, if more { libc::MSG_MORE } else { 0 })?;
        self.pipe(pipe)?.bytes.drain(..sent);
        Ok(sent)
    }

    fn splice_in(&mut self, socket: Key, pipe: Key, len: usize) -> Result<usize> {
        if self.socket(socket)?.kind != Kind::Stream {
            return Err(Errno::INVALID);
        }
        let target = self.pipe(pipe)?;
        if target.reader_gone {
            return Err(Errno::PIPE);
        }
        let room = CAPACITY - target.bytes.len();
        if room == 0 && len > 0 {
            return Err(Errno::AGAIN);
        }
        let received = self.receive_stream(socket, len.min(room), 0)?;
        self.pipe(pipe)?.bytes.extend(&received.bytes);
        Ok(received.len)
    }
}

//! Tables against anything that answers.

use std::collections::HashMap;

use anyhow::{Context as _, Result, bail, ensure};
use freeway_memcache::{Limits, Protocol};

use crate::model::Model;
use crate::session::Session;
use crate::table::{Case, Line, Piece, Table, What};

/// A way to a server.
pub trait Wire {
    /// Empties the cache and opens a new connection.
    ///
    /// # Errors
    ///
    /// The server cannot be reached.
    fn renew(&mut self) -> Result<()>;

    /// Opens another connection to the same cache, and closes the last one.
    ///
    /// # Errors
    ///
    /// The server cannot be reached.
    fn reconnect(&mut self) -> Result<()>;

    /// Sends bytes. A server that closes the connection meanwhile is no error.
    ///
    /// # Errors
    ///
    /// The connection fails otherwise.
    fn send(&mut self, bytes: &[u8]) -> Result<()>;

    /// Appends some of what has come; `false` when the connection is closed.
    ///
    /// # Errors
    ///
    /// Nothing comes.
    fn receive(&mut self, into: &mut Vec<u8>) -> Result<bool>;

    /// Lets seconds go by; `false` if it cannot, and the case is left out.
    ///
    /// # Errors
    ///
    /// The clock cannot be moved.
    fn advance(&mut self, seconds: u64) -> Result<bool>;
}

/// Runs all cases of a table but those that `version` answers otherwise; returns how many ran.
///
/// # Errors
///
/// All cases that failed, a line each.
pub fn run(table: &Table, wire: &mut dyn Wire, version: &str) -> Result<usize> {
    let mut failures = Vec::new();
    let mut count = 0;
    for case in table.cases.iter().filter(|case| case.not.as_deref() != Some(version)) {
        count += 1;
        if let Err(error) = run_case(case, wire) {
            failures.push(format!("{}: {}: {error:#}", table.name, case.name));
        }
    }
    ensure!(failures.is_empty(), "{}", failures.join("\n"));
    Ok(count)
}

/// One connection's bytes and what was remembered of them.
#[derive(Default)]
struct Talk {
    heard: Vec<u8>,
    names: HashMap<String, u64>,
    binary: bool,
    closed: bool,
}

fn run_case(case: &Case, wire: &mut dyn Wire) -> Result<()> {
    wire.renew()?;
    let mut talk = Talk::default();
    for Line { number, what } in &case.lines {
        let place = || format!("line {number}");
        match what {
            What::Send(pieces) => {
                let bytes = talk.fill(pieces).with_context(place)?;
                talk.binary |= bytes.first() == Some(&0x80);
                wire.send(&bytes).with_context(place)?;
            }
            What::Expect(pieces) => talk.expect(pieces, wire).with_context(place)?,
            What::Closed => talk.expect_closed(wire).with_context(place)?,
            What::Advance(seconds) => {
                if !wire.advance(*seconds)? {
                    return Ok(());
                }
            }
            What::Reconnect => {
                talk.finish(wire).with_context(place)?;
                wire.reconnect()?;
                talk = Talk { names: talk.names, ..Talk::default() };
            }
        }
    }
    talk.finish(wire).context("behind the last line")
}

impl Talk {
    fn fill(&self, pieces: &[Piece]) -> Result<Vec<u8>> {
        let known = |name: &Option<String>| {
            let name = name.as_ref().context("anything cannot be sent")?;
            self.names.get(name).copied().with_context(|| format!("{name} is not known"))
        };
        let mut bytes = Vec::new();
        for piece in pieces {
            match piece {
                Piece::Bytes(piece) => bytes.extend_from_slice(piece),
                Piece::Digits(name) => bytes.extend(known(name)?.to_string().into_bytes()),
                Piece::Wide(name) => bytes.extend(known(name)?.to_be_bytes()),
            }
        }
        Ok(bytes)
    }

    fn expect(&mut self, pieces: &[Piece], wire: &mut dyn Wire) -> Result<()> {
        for piece in pieces {
            match piece {
                Piece::Bytes(bytes) => {
                    while self.heard.len() < bytes.len() && self.more(wire)? {}
                    let end = bytes.len().min(self.heard.len());
                    let heard: Vec<u8> = self.heard.drain(..end).collect();
                    if heard != *bytes {
                        let (heard, bytes) = (show(&heard), show(bytes));
                        bail!("expected {bytes}, heard {heard}, then {}", show(&self.heard));
                    }
                }
                Piece::Digits(name) => {
                    let digit = |byte: &u8| byte.is_ascii_digit();
                    while self.heard.iter().all(digit) && self.more(wire)? {}
                    let end = self.heard.iter().position(|byte| !digit(byte)).unwrap_or(self.heard.len());
                    let digits: Vec<u8> = self.heard.drain(..end).collect();
                    let number = String::from_utf8(digits)?.parse().context("digits were expected")?;
                    self.remember(name.as_ref(), number)?;
                }
                Piece::Wide(name) => {
                    while self.heard.len() < 8 && self.more(wire)? {}
                    let end = self.heard.len().min(8);
                    let bytes: Vec<u8> = self.heard.drain(..end).collect();
                    let bytes = bytes.try_into().ok().context("a number was expected")?;
                    self.remember(name.as_ref(), u64::from_be_bytes(bytes))?;
                }
            }
        }
        Ok(())
    }

    fn remember(&mut self, name: Option<&String>, number: u64) -> Result<()> {
        let Some(name) = name else { return Ok(()) };
        let known = *self.names.entry(name.clone()).or_insert(number);
        ensure!(known == number, "{name} was {known} and is {number}");
        Ok(())
    }

    fn more(&mut self, wire: &mut dyn Wire) -> Result<bool> {
        if !self.closed {
            self.closed = !wire.receive(&mut self.heard)?;
        }
        Ok(!self.closed)
    }

    fn expect_closed(&mut self, wire: &mut dyn Wire) -> Result<()> {
        while self.more(wire)? {}
        ensure!(self.heard.is_empty(), "expected the end, heard {}", show(&self.heard));
        Ok(())
    }

    /// Nothing more comes: what is sent now is answered at once.
    fn finish(&mut self, wire: &mut dyn Wire) -> Result<()> {
        if self.closed {
            return Ok(());
        }
        let (ask, answer) = if self.binary {
            (crate::binary_line::request("noop")?, crate::binary_line::answer("noop")?)
        } else {
            (vec![Piece::Bytes(b"mn\r\n".to_vec())], vec![Piece::Bytes(b"MN\r\n".to_vec())])
        };
        let ask = self.fill(&ask)?;
        wire.send(&ask)?;
        self.expect(&answer, wire)?;
        ensure!(self.heard.is_empty(), "nothing more was expected, heard {}", show(&self.heard));
        Ok(())
    }
}

fn show(bytes: &[u8]) -> String {
    let shown = bytes.get(..200).unwrap_or(bytes);
    format!("\"{}\"", shown.escape_ascii())
}

/// The model as a server, given its bytes in pieces of some sizes.
pub struct ModelWire {
    model: Model,
    session: Session,
    limits: Limits,
    sizes: Vec<usize>,
    next_size: usize,
    unread: Vec<u8>,
    answers: Vec<u8>,
}

impl ModelWire {
    /// Bytes arrive in pieces of these sizes, over and over; all at once if there is none.
    pub fn new(sizes: Vec<usize>, limits: Limits) -> Self {
        let session = Session::new(Protocol::Auto, limits);
        Self {
            model: Model::default(),
            session,
            limits,
            sizes,
            next_size: 0,
            unread: Vec::new(),
            answers: Vec::new(),
        }
    }

    fn arrive(&mut self, bytes: &[u8]) {
        self.unread.extend_from_slice(bytes);
        let used = self.session.feed(&mut self.model, &self.unread, &mut self.answers);
        self.unread.drain(..used);
    }
}

impl Wire for ModelWire {
    fn renew(&mut self) -> Result<()> {
        self.model = Model::default();
        self.reconnect()
    }

    fn reconnect(&mut self) -> Result<()> {
        self.session = Session::new(Protocol::Auto, self.limits);
        self.unread.clear();
        self.answers.clear();
        Ok(())
    }

    fn send(&mut self, bytes: &[u8]) -> Result<()> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let size = self.sizes.get(self.next_size).copied().unwrap_or(rest.len()).clamp(1, rest.len());
            self.next_size = (self.next_size + 1) % self.sizes.len().max(1);
            let (now, later) = rest.split_at(size);
            rest = later;
            self.arrive(now);
        }
        Ok(())
    }

    fn receive(&mut self, into: &mut Vec<u8>) -> Result<bool> {
        if self.answers.is_empty() {
            ensure!(self.session.is_closed(), "nothing comes");
            return Ok(false);
        }
        into.append(&mut self.answers);
        Ok(true)
    }

    fn advance(&mut self, seconds: u64) -> Result<bool> {
        self.model.advance(seconds);
        Ok(true)
    }
}

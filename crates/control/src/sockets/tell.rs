//! The server's half of `ss`: rows from the cores, through the filter, to the client, as they come.

use std::io::{self, BufWriter, Write};

use freeway_runtime::Observer;
use freeway_stack::rows::{Row, Stage};

use super::filter::Filter;
use super::row::Socket;
use super::states::States;
use super::{Summary, Wanted};
use crate::admin::Answer;

/// Bytes that are gathered before they go to the client.
const BUFFER: usize = 64 << 10;

/// Rows after which what was gathered goes out, found or not: a client that waits sees that somebody works.
const FLUSH: u64 = 1 << 20;

/// Tells `client` of the sockets that it wants: a line each, then one with their number. What is wrong with the question is
/// a line, too.
///
/// # Errors
///
/// The client has gone.
pub(crate) fn tell(client: impl Write, observer: &Observer, wanted: &Wanted) -> io::Result<()> {
    tracing::debug!(filter = %wanted.filter, "sockets are asked for");
    let mut out = BufWriter::with_capacity(BUFFER, client);
    let answer = match show(&mut out, observer, wanted)? {
        Ok(summary) => Answer::Sockets(summary),
        Err(reason) => Answer::Error(reason),
    };
    line(&mut out, &answer)?;
    out.flush()
}

fn show(out: &mut impl Write, observer: &Observer, wanted: &Wanted) -> io::Result<Result<Summary, String>> {
    let filter: Filter = match wanted.filter.parse() {
        Ok(filter) => filter,
        Err(error) => return Ok(Err(format!("{error}"))),
    };
    let states = filter.states.unwrap_or(States::from_bits_truncate(wanted.states));
    let tables = states.tables(wanted.tcp, wanted.udp);
    let is_wanted = |core, row: &Row| {
        states.contains(States::of(row.stage)) && has_family(wanted, row) && filter.takes(core, row)
    };
    let mut summary = Summary::default();
    let mut looked_at = 0u64;
    for core in 0..observer.cores() {
        let mut rows = match observer.rows(core, tables, wanted.details && !wanted.summary) {
            Ok(rows) => rows,
            Err(error) => return Ok(Err(error.to_string())),
        };
        loop {
            let row = match rows.next_row() {
                Ok(Some(row)) => row,
                Ok(None) => break,
                Err(error) => return Ok(Err(error.to_string())),
            };
            looked_at += 1;
            if looked_at.is_multiple_of(FLUSH) {
                line(out, &Answer::Working(looked_at))?;
                out.flush()?;
            }
            if !is_wanted(core, &row) {
                continue;
            }
            summary.add(&row);
            if !wanted.summary {
                line(out, &Answer::Socket(Socket::of(core, &row)))?;
            }
        }
    }
    Ok(Ok(summary))
}

fn line(out: &mut impl Write, answer: &Answer) -> io::Result<()> {
    serde_json::to_writer(&mut *out, answer)?;
    out.write_all(b"\n")
}

/// A socket of all addresses is of both families.
fn has_family(wanted: &Wanted, row: &Row) -> bool {
    let addr = row.peer.map(|peer| peer.ip()).or(row.local);
    addr.is_none_or(|addr| if addr.is_ipv4() { wanted.ipv4 } else { wanted.ipv6 })
}

impl Summary {
    fn add(&mut self, row: &Row) {
        self.sockets += 1;
        if row.stage == Stage::Udp {
            self.udp += 1;
            return;
        }
        let state = States::of(row.stage).shown();
        match self.tcp.get_mut(state) {
            Some(count) => *count += 1,
            None => drop(self.tcp.insert(state.to_owned(), 1)),
        }
    }
}

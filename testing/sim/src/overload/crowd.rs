//! A host that asks for more than there is room for, and the server that it asks.

use std::net::SocketAddr;

use freeway_base::Instant;
use freeway_stack::{Application, Conn, ConnectConfig, ConnectError, Ended, ListenConfig, Stack};

/// Echoes.
pub(super) const ECHO: u16 = 7;
/// Never reads, and never closes.
pub(super) const DEAF: u16 = 9;
/// Says its line and closes first.
pub(super) const CURT: u16 = 13;

/// What the curt service says.
const LINE: &[u8] = b"Sunday, February 30, 1913\r\n";

/// The server: what a connection is served with is its port's number.
#[derive(Default)]
pub(super) struct Server {
    /// Connections that echo, open.
    pub(super) echoing: u32,
}

impl Server {
    fn pump(conn: &mut Conn<'_, ()>) {
        while let Some(packet) = conn.receive() {
            if conn.send_room() < packet.data().len() {
                conn.unreceive(packet);
                conn.want_room();
                return;
            }
            conn.send(packet);
        }
        if conn.at_end() {
            conn.close();
        }
    }
}

impl Application for Server {
    type Conn = ();

    fn start(&mut self, stack: &mut Stack<()>, _: Instant) {
        for port in [ECHO, DEAF, CURT] {
            let listen = ListenConfig { service: port, ..ListenConfig::new(port) };
            stack.listen(&listen).expect("the port is free");
        }
    }

    fn accepted(&mut self, mut conn: Conn<'_, ()>) {
        match conn.service() {
            CURT => {
                conn.write(LINE);
                conn.close();
            }
            ECHO => self.echoing += 1,
            _ => {}
        }
    }

    fn readable(&mut self, mut conn: Conn<'_, ()>) {
        if conn.service() == ECHO {
            Self::pump(&mut conn);
        }
    }

    fn writable(&mut self, mut conn: Conn<'_, ()>) {
        if conn.service() == ECHO {
            Self::pump(&mut conn);
        }
    }

    fn closed(&mut self, _: &mut Stack<()>, ended: Ended<()>) {
        self.echoing -= u32::from(ended.service == ECHO);
    }
}

/// What the crowd does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Habit {
    /// Opens so many connections a turn to the curt service, reads and closes.
    Churn(u32),
    /// Holds so many connections to a service, and writes to each as much as goes.
    Shove { port: u16, connections: u32 },
    /// Holds so many connections to the echo service, and says something whenever it has heard all of what it said.
    Talk(u32),
    /// Nothing new; what is open is given up.
    Leave,
}

/// The crowd's host.
pub(super) struct Crowd {
    pub(super) server: std::net::IpAddr,
    pub(super) habit: Habit,
    /// Connections open or opening.
    pub(super) open: u32,
    /// Connections that ended after a whole line.
    pub(super) lines: u64,
    /// Rounds of talk.
    pub(super) rounds: u64,
    /// Connections by the rounds that each has talked: who is served, and who is not.
    pub(super) talked: Vec<u64>,
    /// Connections that ended otherwise.
    pub(super) broken: u64,
    next: u32,
}

/// A connection of the crowd's: its number, and bytes to hear.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Member {
    number: u32,
    awaited: u32,
}

const SAID: [u8; 200] = [b'?'; 200];
const SHOVED: [u8; 1_400] = [b'!'; 1_400];

impl Crowd {
    pub(super) fn new(server: std::net::IpAddr, habit: Habit) -> Self {
        Self { server, habit, open: 0, lines: 0, rounds: 0, talked: Vec::new(), broken: 0, next: 0 }
    }

    fn connect(&mut self, stack: &mut Stack<Member>, port: u16) -> Result<(), ConnectError> {
        let id = stack.connect(&ConnectConfig::new(SocketAddr::new(self.server, port)))?;
        if let Some(mut conn) = stack.conn(id) {
            conn.state().number = self.next;
        }
        self.next += 1;
        self.open += 1;
        self.talked.push(0);
        Ok(())
    }

    fn say(conn: &mut Conn<'_, Member>) {
        let taken = conn.write(&SAID);
        conn.state().awaited = taken as u32;
    }

    fn shove(conn: &mut Conn<'_, Member>) {
        while conn.write(&SHOVED) == SHOVED.len() {}
    }
}

impl Application for Crowd {
    type Conn = Member;

    fn turn(&mut self, stack: &mut Stack<Member>, _: Instant) {
        let (port, wanted) = match self.habit {
            Habit::Churn(a_turn) => (CURT, self.open + a_turn),
            Habit::Shove { port, connections } => (port, connections),
            Habit::Talk(connections) => (ECHO, connections),
            Habit::Leave => (ECHO, 0),
        };
        while self.open < wanted && self.connect(stack, port).is_ok() {}
        if self.habit == Habit::Leave && self.open > 0 {
            let ids: Vec<_> = stack.connections().map(|(id, _)| id).collect();
            for id in ids {
                if let Some(mut conn) = stack.conn(id) {
                    conn.abort();
                }
            }
        }
    }

    fn connected(&mut self, mut conn: Conn<'_, Member>) {
        match self.habit {
            Habit::Shove { .. } => Self::shove(&mut conn),
            Habit::Talk(_) => Self::say(&mut conn),
            Habit::Churn(_) | Habit::Leave => {}
        }
    }

    fn writable(&mut self, mut conn: Conn<'_, Member>) {
        if matches!(self.habit, Habit::Shove { .. }) {
            Self::shove(&mut conn);
        }
    }

    fn readable(&mut self, mut conn: Conn<'_, Member>) {
        let heard = conn.readable_bytes() as u32;
        conn.consume(usize::MAX);
        let Member { number, awaited } = *conn.state();
        if matches!(self.habit, Habit::Talk(_)) && heard > 0 {
            conn.state().awaited = awaited.saturating_sub(heard);
            if awaited == heard {
                self.rounds += 1;
                self.talked[number as usize] += 1;
                Self::say(&mut conn);
            }
        }
        if matches!(self.habit, Habit::Churn(_)) && heard as usize == LINE.len() {
            self.lines += 1;
        }
        if conn.at_end() {
            conn.close();
        }
    }

    fn closed(&mut self, _: &mut Stack<Member>, ended: Ended<Member>) {
        self.open -= 1;
        let by_own_will = self.habit == Habit::Leave;
        if !by_own_will && ended.reason != freeway_stack::CloseReason::Finished {
            self.broken += 1;
        }
    }
}

//! A server's core and a client's.

use std::net::SocketAddr;
use std::sync::Arc;

use freeway::host::Memory;
use freeway::port::{PipeConfig, pipe};
use freeway::{
    Application, Conn, ConnId, ConnectConfig, Core, Duration, Ended, HashKey, HostConfig, Instant, Interface,
    ListenConfig, Mailboxes, Secrets, Seed, Stack,
};
use freeway_httpd::{Config, Disk, HttpState, Library, LogSender, Mesh, Parts, Route, Server, TlsFeed};

/// The server as an application of its own.
pub struct Site {
    parts: Option<Parts>,
    server: Option<Server>,
    secure: bool,
}

impl Application for Site {
    type Conn = HttpState;

    fn start(&mut self, stack: &mut Stack<HttpState>, _now: Instant) {
        stack.listen(&ListenConfig::new(80)).unwrap();
        self.server = self.parts.take().map(|parts| Server::new(parts, stack));
    }

    fn turn(&mut self, stack: &mut Stack<HttpState>, now: Instant) {
        self.server.as_mut().unwrap().turn(stack, now);
    }

    fn accepted(&mut self, mut conn: Conn<'_, HttpState>) {
        let secure = self.secure;
        self.server.as_mut().unwrap().accepted(&mut conn, secure);
    }

    fn readable(&mut self, mut conn: Conn<'_, HttpState>) {
        self.server.as_mut().unwrap().pump(&mut conn);
    }

    fn writable(&mut self, mut conn: Conn<'_, HttpState>) {
        self.server.as_mut().unwrap().pump(&mut conn);
    }

    fn timer(&mut self, mut conn: Conn<'_, HttpState>) {
        self.server.as_mut().unwrap().timer(&mut conn);
    }

    fn closed(&mut self, stack: &mut Stack<HttpState>, ended: Ended<HttpState>) {
        self.server.as_mut().unwrap().closed(stack, &ended);
    }
}

/// A client's connection, by its number in the order of opening.
#[derive(Default)]
pub struct Talk {
    pub id: Option<ConnId>,
    pub heard: Vec<u8>,
    pub is_open: bool,
    /// The peer has finished, or the connection is over.
    pub is_over: bool,
    /// It does not read.
    pub is_deaf: bool,
}

/// The client.
#[derive(Default)]
pub struct Client {
    pub talks: Vec<Talk>,
}

impl Client {
    fn talk(&mut self, id: ConnId) -> &mut Talk {
        self.talks.iter_mut().find(|talk| talk.id == Some(id)).unwrap()
    }
}

impl Application for Client {
    type Conn = u32;

    fn connected(&mut self, conn: Conn<'_, u32>) {
        self.talk(conn.id()).is_open = true;
    }

    fn readable(&mut self, mut conn: Conn<'_, u32>) {
        let talk = self.talk(conn.id());
        if talk.is_deaf {
            return;
        }
        while conn.readable_bytes() > 0 {
            talk.heard.extend_from_slice(conn.peek());
            let len = conn.peek().len();
            conn.consume(len);
        }
        if conn.at_end() {
            talk.is_over = true;
            conn.close();
        }
    }

    fn closed(&mut self, _stack: &mut Stack<u32>, ended: Ended<u32>) {
        self.talk(ended.id).is_over = true;
    }
}

/// Both, and the time.
pub struct Lab {
    pub server: Core<Site>,
    pub client: Core<Client>,
    pub now: Instant,
}

/// What a lab is made of.
pub struct Plan {
    pub config: Config,
    pub library: Library,
    pub routes: Vec<Route>,
    pub topics: usize,
    /// All connections begin with TLS if there is one.
    pub tls: Option<TlsFeed>,
    pub log: Option<LogSender>,
    /// Packet buffers of each end.
    pub buffers: u32,
}

impl Plan {
    pub fn new(documents: &[(&str, &[u8])]) -> Self {
        let documents = documents.iter().map(|(path, bytes)| ((*path).to_owned(), Arc::from(*bytes)));
        Self {
            config: Config::default(),
            library: Library::of(documents),
            routes: Vec::new(),
            topics: 1,
            tls: None,
            log: None,
            buffers: 4_096,
        }
    }

    pub fn start(mut self) -> Lab {
        let feed = self.library.feed();
        self.start_with(feed)
    }

    pub fn start_with(self, feed: freeway_httpd::Feed) -> Lab {
        let (left, right) = pipe(&PipeConfig::default()).unwrap();
        let mut host = HostConfig::new(Secrets::from_seed(Seed(1)))
            .max_connections(256)
            .buffers(self.buffers)
            .memory(Memory::Heap);
        // As `freeway serve` has it: every connection has a timer far ahead.
        host.stack.application_timers = true;
        let now = Instant::from_secs(1_000);
        let parts = Parts {
            feed,
            disk: Disk::start(&self.config).unwrap(),
            config: self.config,
            routes: self.routes,
            topics: self.topics,
            mesh: Mesh::new(1).remove(0),
            log: self.log,
            tls: self.tls,
            key: HashKey::new([1, 2]),
        };
        let secure = parts.tls.is_some();
        let site = Site { parts: Some(parts), server: None, secure };
        let interface = Interface::new(left).address("198.18.0.2/24".parse().unwrap());
        let server = host.build(Mailboxes::single().unwrap(), now, site, [interface]).unwrap();
        let interface = Interface::new(right).address("198.18.0.3/24".parse().unwrap());
        let client = host.build(Mailboxes::single().unwrap(), now, Client::default(), [interface]).unwrap();
        Lab { server, client, now }
    }
}

impl Lab {
    /// Lets so much time go by.
    pub fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            let busy = self.client.poll(self.now).is_busy() | self.server.poll(self.now).is_busy();
            // Nothing happens between two deadlines.
            let next =
                if busy { self.now + Duration::from_micros(10) } else { self.now + Duration::from_millis(1) };
            self.now = next.min(end);
        }
    }

    /// The same until both have nothing to do.
    pub fn settle(&mut self) {
        self.run(Duration::from_millis(60));
    }

    /// Begins to open a connection.
    pub fn connect(&mut self) -> usize {
        let server: SocketAddr = "198.18.0.2:80".parse().unwrap();
        let id = self.client.stack_mut().connect(&ConnectConfig::new(server)).unwrap();
        self.client.app_mut().talks.push(Talk { id: Some(id), ..Talk::default() });
        self.client.app().talks.len() - 1
    }

    /// Opens a connection and returns its number.
    pub fn open(&mut self) -> usize {
        let number = self.connect();
        self.settle();
        assert!(self.talk(number).is_open);
        number
    }

    pub fn talk(&mut self, number: usize) -> &mut Talk {
        &mut self.client.app_mut().talks[number]
    }

    /// Sends bytes, in as many turns as there are pieces.
    pub fn say(&mut self, number: usize, pieces: &[&[u8]]) {
        for piece in pieces {
            let mut left = *piece;
            while !left.is_empty() {
                let id = self.client.app().talks[number].id.unwrap();
                let Some(mut conn) = self.client.stack_mut().conn(id) else { return };
                left = &left[conn.write(left)..];
                self.run(Duration::from_micros(50));
            }
        }
    }

    /// Sends bytes, and reads a little whenever there is no room.
    pub fn say_while_reading(&mut self, number: usize, bytes: &[u8]) {
        let mut left = bytes;
        while !left.is_empty() {
            let id = self.client.app().talks[number].id.unwrap();
            let written = self.client.stack_mut().conn(id).unwrap().write(left);
            left = &left[written..];
            if written == 0 {
                self.read_some(number, 5_000);
            }
            self.run(Duration::from_micros(200));
        }
    }

    /// Ends a connection by a reset.
    pub fn abort(&mut self, number: usize) {
        let id = self.client.app().talks[number].id.unwrap();
        if let Some(mut conn) = self.client.stack_mut().conn(id) {
            conn.abort();
        }
    }

    /// Finishes sending.
    pub fn finish(&mut self, number: usize) {
        let id = self.client.app().talks[number].id.unwrap();
        if let Some(mut conn) = self.client.stack_mut().conn(id) {
            conn.shutdown();
        }
    }

    /// Has a client read again that did not.
    pub fn hear_again(&mut self, number: usize) {
        if !self.client.app().talks[number].is_deaf {
            self.read_some(number, usize::MAX);
        }
        self.talk(number).is_deaf = false;
        self.read_some(number, usize::MAX);
    }

    /// Has a client that does not read take so many bytes.
    pub fn read_some(&mut self, number: usize, count: usize) {
        let id = self.client.app().talks[number].id.unwrap();
        let Some(mut conn) = self.client.stack_mut().conn(id) else { return };
        let mut bytes = vec![0; count.min(conn.readable_bytes())];
        let len = conn.copy_readable(&mut bytes);
        conn.consume(len);
        self.client.app_mut().talks[number].heard.extend_from_slice(&bytes[..len]);
    }

    /// What came since the last call.
    pub fn heard(&mut self, number: usize) -> String {
        self.settle();
        String::from_utf8_lossy(&std::mem::take(&mut self.talk(number).heard)).into_owned()
    }

    /// What one connection answers to `pieces`, and whether it ended.
    pub fn ask(&mut self, pieces: &[&[u8]]) -> (String, bool) {
        let number = self.open();
        self.say(number, pieces);
        let heard = self.heard(number);
        let is_over = self.talk(number).is_over;
        self.abort(number);
        (heard, is_over)
    }

    /// The answer to a request with these lines.
    pub fn get(&mut self, target: &str, fields: &str) -> Answer {
        let text = format!("GET {target} HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
        Answer::parse(&self.ask(&[text.as_bytes()]).0)
    }

    pub fn server(&self) -> &Server {
        self.server.app().server.as_ref().unwrap()
    }

    /// Connections that the server has.
    pub fn server_connections(&self) -> u32 {
        self.server.stack().occupancy().connections.0
    }
}

/// An answer taken apart.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Answer {
    pub fn parse(text: &str) -> Self {
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {text:?}"));
        let status = head.get(9..12).and_then(|code| code.parse().ok());
        Self {
            status: status.unwrap_or_else(|| panic!("no status: {text:?}")),
            head: head.into(),
            body: body.into(),
        }
    }

    pub fn field(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }
}

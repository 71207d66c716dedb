//! The HTTP server.

use std::sync::Arc;

use anyhow::{Context, Result};
use freeway::{Application, Conn, Ended, HashKey, Instant, ListenConfig, Stack};
use freeway_httpd::{Config, Disk, HttpState, Library, Mesh, Parts, Server};

/// An HTTP server with one document in memory.
pub struct HttpServer {
    port: u16,
    parts: Option<Parts>,
    server: Option<Server>,
}

impl HttpServer {
    /// A server of `document` at `path`.
    ///
    /// # Errors
    ///
    /// When the thread that reads from disk cannot be started.
    pub fn new(port: u16, path: &str, document: &[u8]) -> Result<Self> {
        let config = Config::default();
        let mut library = Library::of([(path.to_owned(), Arc::from(document))]);
        let parts = Parts {
            feed: library.feed(),
            disk: Disk::start(&config).context("the thread that reads from disk")?,
            config,
            routes: Vec::new(),
            topics: 0,
            mesh: Mesh::new(1).remove(0),
            log: None,
            tls: None,
            key: HashKey::new([1, 2]),
        };
        Ok(Self { port, parts: Some(parts), server: None })
    }

    fn with(&mut self, act: impl FnOnce(&mut Server)) {
        // There is one from the start on.
        if let Some(server) = &mut self.server {
            act(server);
        }
    }
}

impl Application for HttpServer {
    type Conn = HttpState;

    fn start(&mut self, stack: &mut Stack<HttpState>, _now: Instant) {
        // A benchmark without its server measures nothing: its connections would all fail.
        let listening = stack.listen(&ListenConfig::new(self.port));
        debug_assert!(listening.is_ok());
        self.server = self.parts.take().map(|parts| Server::new(parts, stack));
    }

    fn turn(&mut self, stack: &mut Stack<HttpState>, now: Instant) {
        self.with(|server| server.turn(stack, now));
    }

    fn next_deadline(&self) -> Option<Instant> {
        self.server.as_ref().and_then(Server::next_deadline)
    }

    fn accepted(&mut self, mut conn: Conn<'_, HttpState>) {
        self.with(|server| server.accepted(&mut conn, false));
    }

    fn readable(&mut self, mut conn: Conn<'_, HttpState>) {
        self.with(|server| server.pump(&mut conn));
    }

    fn writable(&mut self, mut conn: Conn<'_, HttpState>) {
        self.with(|server| server.pump(&mut conn));
    }

    fn timer(&mut self, mut conn: Conn<'_, HttpState>) {
        self.with(|server| server.timer(&mut conn));
    }

    fn closed(&mut self, stack: &mut Stack<HttpState>, ended: Ended<HttpState>) {
        self.with(|server| server.closed(stack, &ended));
    }
}

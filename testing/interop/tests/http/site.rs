//! A server with documents of its own, and the clients beside it.

use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};
use freeway_interop::lab::{SERVER_V4, at};
use freeway_interop::netns::Namespace;
use freeway_interop::peer::tcp;
use freeway_interop::privilege;
use freeway_interop::server::Server;

/// The server, before the namespace that it is in.
pub struct Site {
    pub server: Server,
    pub client: Namespace,
    folder: tempfile::TempDir,
}

/// Documents and certificates of a server that has not been started.
pub struct Plan {
    folder: tempfile::TempDir,
    flags: Vec<String>,
}

impl Plan {
    /// None when `test` is to be skipped; it calls `programs`.
    pub fn new(test: &str, programs: &[&str]) -> Result<Option<Self>> {
        if !privilege::granted_with(test, programs) {
            return Ok(None);
        }
        let folder = tempfile::tempdir()?;
        fs::create_dir(folder.path().join("root"))?;
        let root = path_text(&folder.path().join("root"))?;
        let flags = ["--dev", "tap:fw0", "--addr", "198.18.0.2/24", "--addr", "fdc1::2/64", "--root", &root];
        let flags = flags.map(str::to_owned).to_vec();
        Ok(Some(Self { folder, flags }.document("index.html", b"<h1>works</h1>\n")?))
    }

    /// A file below the root.
    pub fn document(self, name: &str, bytes: &[u8]) -> Result<Self> {
        let path = self.folder.path().join("root").join(name);
        fs::create_dir_all(path.parent().context("a file has a folder")?)?;
        fs::write(&path, bytes).with_context(|| path.display().to_string())?;
        Ok(self)
    }

    /// More flags.
    pub fn flags(mut self, flags: &[&str]) -> Self {
        self.flags.extend(flags.iter().map(|flag| (*flag).to_owned()));
        self
    }

    /// Where files lie that are not served.
    pub fn beside(&self, name: &str) -> Result<String> {
        path_text(&self.folder.path().join(name))
    }

    /// Starts the server.
    pub fn start(self) -> Result<Site> {
        let client = Namespace::new("host")?;
        let flags: Vec<&str> = self.flags.iter().map(String::as_str).collect();
        let server = Server::start(&client, &flags)?;
        Ok(Site { server, client, folder: self.folder })
    }
}

impl Site {
    /// A place below the root.
    pub fn document(&self, name: &str) -> PathBuf {
        self.folder.path().join("root").join(name)
    }

    /// A place beside it.
    pub fn beside(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs a client to its end and returns all that it printed; an error when it fails.
    pub fn run(&self, line: &[&str]) -> Result<String> {
        let (program, arguments) = line.split_first().context("a program is missing")?;
        run(self.client.command(program).args(arguments))
    }

    /// The same with `input` on standard input.
    pub fn run_with(&self, line: &[&str], input: &Path) -> Result<String> {
        let (program, arguments) = line.split_first().context("a program is missing")?;
        run(self.client.command(program).args(arguments).stdin(fs::File::open(input)?))
    }

    /// What curl prints: heads and bodies, one after the other.
    pub fn curl(&self, arguments: &[&str]) -> Result<String> {
        self.run(&[&["curl", "-sS", "-i", "--max-time", "60"], arguments].concat())
    }

    /// A connection.
    pub fn connect(&self) -> Result<TcpStream> {
        tcp::connect(&self.client, at(SERVER_V4, 80))
    }
}

/// A client that ends with its test.
pub struct Running(pub Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It has ended already in a test that went well.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A path that can be an argument.
pub fn path_text(path: &Path) -> Result<String> {
    Ok(path.to_str().context("a path in UTF-8")?.to_owned())
}

/// Runs a program and returns all that it printed.
pub fn run(command: &mut Command) -> Result<String> {
    let line = format!("{command:?}");
    let output =
        command.stderr(Stdio::piped()).stdout(Stdio::piped()).output().with_context(|| line.clone())?;
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    ensure!(output.status.success(), "{line}: {}\n{said}", output.status);
    Ok(said)
}

/// The number behind `label` in what a program printed.
pub fn number_after(text: &str, label: &str) -> Result<f64> {
    let (_, rest) = text.split_once(label).with_context(|| format!("no {label:?}\n{text}"))?;
    let digits: String =
        rest.trim_start().chars().take_while(|letter| letter.is_ascii_digit() || *letter == '.').collect();
    digits.parse().with_context(|| format!("no number behind {label:?}\n{text}"))
}

/// The value of a field of the first head in what curl printed.
pub fn field<'a>(said: &'a str, name: &str) -> Option<&'a str> {
    let head = said.split_once("\r\n\r\n").map_or(said, |(head, _)| head);
    head.lines().find_map(|line| {
        let (found, value) = line.split_once(": ")?;
        found.eq_ignore_ascii_case(name).then_some(value)
    })
}

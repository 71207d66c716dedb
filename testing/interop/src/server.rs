//! `freeway serve` in a namespace.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};

use crate::netns::Namespace;

/// How long a server may take until it says that it is ready.
const READY_WITHIN: Duration = Duration::from_secs(30);

/// How long a server may take to end after it was asked to.
const END_WITHIN: Duration = Duration::from_secs(10);

/// Lines of its log that a failure quotes.
const QUOTED_LINES: usize = 40;

/// A running server. On drop it is ended, and if that drop is part of a panic its log is printed.
pub struct Server {
    child: Child,
    log: Arc<Mutex<Vec<String>>>,
    ready: String,
}

impl Server {
    /// Starts `freeway serve` with `arguments` inside `namespace` and waits for its `ready` line.
    ///
    /// # Errors
    ///
    /// When it ends or says nothing, with its log.
    pub fn start(namespace: &Namespace, arguments: &[&str]) -> Result<Self> {
        Self::start_as(namespace, "serve", arguments)
    }

    /// The same for another of its commands that serve, such as `memcached`.
    ///
    /// # Errors
    ///
    /// As for [`start`](Self::start).
    pub fn start_as(namespace: &Namespace, command: &str, arguments: &[&str]) -> Result<Self> {
        Self::start_by(namespace, &[], &[&[command], arguments].concat())
    }

    /// The same, started by another program that becomes the server: `wrapper` is that and its arguments.
    ///
    /// # Errors
    ///
    /// As for [`start`](Self::start).
    pub fn start_by(namespace: &Namespace, wrapper: &[&str], arguments: &[&str]) -> Result<Self> {
        let binary = binary()?;
        let line: Vec<&OsStr> = wrapper.iter().map(OsStr::new).chain([binary.as_os_str()]).collect();
        let mut child = namespace
            .command(line[0])
            .args(&line[1..])
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {}", binary.display()))?;
        let log = Arc::new(Mutex::new(Vec::new()));
        let stderr = child.stderr.take().context("standard error is piped")?;
        let ready_lines = keep(BufReader::new(stderr), Arc::clone(&log));

        let mut server = Self { child, log, ready: String::new() };
        match ready_lines.recv_timeout(READY_WITHIN) {
            Ok(line) => {
                server.ready = line;
                Ok(server)
            }
            Err(RecvTimeoutError::Timeout) => bail!("no `ready` line in {READY_WITHIN:?}\n{}", server.tail()),
            Err(RecvTimeoutError::Disconnected) => bail!("it ended before it was ready\n{}", server.tail()),
        }
    }

    /// The line it said when it was ready.
    pub fn ready_line(&self) -> &str {
        &self.ready
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// What its threads have used of the processors, by the kernel's account.
    ///
    /// # Errors
    ///
    /// It has ended.
    pub fn processor_time(&self) -> Result<Duration> {
        let mut sum = Duration::ZERO;
        for thread in std::fs::read_dir(format!("/proc/{}/task", self.child.id()))? {
            let path = thread?.path().join("schedstat");
            let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
            let nanoseconds = text.split_whitespace().next().context("nanoseconds")?.parse()?;
            sum += Duration::from_nanos(nanoseconds);
        }
        Ok(sum)
    }

    /// Its resident memory, in KiB, by the kernel's account.
    ///
    /// # Errors
    ///
    /// It has ended.
    pub fn resident_kib(&self) -> Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
        Ok(line.trim().trim_end_matches("kB").trim().parse()?)
    }

    /// How many descriptors it has open.
    ///
    /// # Errors
    ///
    /// It has ended.
    pub fn descriptors(&self) -> Result<usize> {
        Ok(std::fs::read_dir(format!("/proc/{}/fd", self.child.id()))?.count())
    }

    /// Asks it to end, by SIGTERM, and waits.
    ///
    /// # Errors
    ///
    /// When it does not end in time, or not cleanly; the log is quoted.
    pub fn stop(mut self) -> Result<()> {
        let status = self.end()?;
        ensure!(status.success(), "it ended with {status}\n{}", self.tail());
        Ok(())
    }

    /// Has it read its files again, by SIGHUP.
    ///
    /// # Errors
    ///
    /// When it has ended.
    pub fn hang_up(&self) -> Result<()> {
        Ok(kill_process(self.pid()?, Signal::HUP)?)
    }

    /// Asks the processes that it started to end, by SIGTERM, as supervisors do; returns how many there are.
    ///
    /// # Errors
    ///
    /// When it has ended.
    pub fn terminate_children(&self) -> Result<usize> {
        let pid = self.child.id();
        let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))?;
        let children: Vec<i32> = children.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
        for &child in &children {
            kill_process(Pid::from_raw(child).context("a child has a pid")?, Signal::TERM)?;
        }
        Ok(children.len())
    }

    fn pid(&self) -> Result<Pid> {
        i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).context("a child has a pid")
    }

    /// Ends it by SIGKILL, which it cannot know of.
    ///
    /// # Errors
    ///
    /// When it had ended by itself.
    pub fn kill(mut self) -> Result<()> {
        ensure!(self.is_running(), "it had ended by itself\n{}", self.tail());
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    fn end(&mut self) -> Result<ExitStatus> {
        if let Some(status) = self.child.try_wait()? {
            bail!("it had ended by itself with {status} (signal {:?})\n{}", status.signal(), self.tail());
        }
        kill_process(self.pid()?, Signal::TERM)?;
        let deadline = Instant::now() + END_WITHIN;
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Err(anyhow!("it did not end in {END_WITHIN:?}\n{}", self.tail()))
    }

    /// The last lines of its log.
    fn tail(&self) -> String {
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        let from = log.len().saturating_sub(QUOTED_LINES);
        let mut tail = format!("--- the last of {} lines of the server's log ---\n", log.len());
        for line in &log[from..] {
            // Writing to a string does not fail.
            let _ = writeln!(tail, "{line}");
        }
        tail
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) && self.end().is_err() {
            // It hangs: nothing gentler is left, and the namespace must become free.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        if std::thread::panicking() {
            eprintln!("{}", self.tail());
        }
    }
}

/// Keeps every line of `stderr` in `log` and passes the first `ready` line on.
fn keep(stderr: impl BufRead + Send + 'static, log: Arc<Mutex<Vec<String>>>) -> Receiver<String> {
    let (sender, ready_lines) = channel();
    std::thread::spawn(move || {
        for line in stderr.lines().map_while(Result::ok) {
            if line.starts_with("ready dev=") {
                // Nobody waits for a second one.
                let _ = sender.send(line.clone());
            }
            log.lock().unwrap_or_else(PoisonError::into_inner).push(line);
        }
    });
    ready_lines
}

/// The server's binary: `FREEWAY_BIN`, or the workspace's own in the release profile, built now.
///
/// # Errors
///
/// It cannot be built.
pub fn binary() -> Result<&'static Path> {
    static BINARY: LazyLock<Result<PathBuf>> = LazyLock::new(find_or_build);
    BINARY.as_deref().map_err(|error| anyhow!("no freeway binary: {error:#}"))
}

fn find_or_build() -> Result<PathBuf> {
    if let Some(given) = std::env::var_os("FREEWAY_BIN") {
        let given = PathBuf::from(given);
        ensure!(given.is_file(), "FREEWAY_BIN names {}, which is no file", given.display());
        return Ok(given);
    }
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = Command::new(&cargo);
    build.args(["build", "--quiet", "--release", "--package", "freeway-cli", "--bin", "freeway"]);
    let status = build.current_dir(&workspace).stdin(Stdio::null()).status().context("cannot start cargo")?;
    ensure!(status.success(), "{build:?} failed ({status})");
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace.join("target"), PathBuf::from);
    Ok(target.join("release/freeway"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn the_ready_line_is_found_among_others_and_all_are_kept() {
        let log = Arc::new(Mutex::new(Vec::new()));
        let ready = keep("mapped 1 GiB\nready dev=fw0 addr=198.18.0.2\nbye\n".as_bytes(), Arc::clone(&log));
        assert_eq!(ready.recv().unwrap(), "ready dev=fw0 addr=198.18.0.2");
        assert!(ready.recv().is_err());
        assert_eq!(log.lock().unwrap().len(), 3);
    }

    #[test]
    fn a_server_that_ends_without_a_word_is_known_by_the_closed_pipe() {
        let ready = keep("error: no such device\n".as_bytes(), Arc::default());
        assert!(ready.recv().is_err());
    }
}

//! The process that keeps the right to remove the interfaces that a server made.
//!
//! The server gives all its rights up, so it cannot take back what it made with them; nor could one that was killed. This
//! process is started before that, knows the interfaces by name, and does one thing: when its standard input ends, which is
//! the server's end, it removes them and ends. Nothing that is written to it is read. It is deaf to what asks a whole service
//! to end, as systemd does with all of its processes at once: the server, which hears it too, comes first.

use std::env;
use std::io::{self, Read as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::{Context as _, Result, bail};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

/// The hidden command by which the keeper is started.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The interfaces, each NAME=NUMBER of Linux's end.
    #[arg(value_parser = interface)]
    interfaces: Vec<(String, u32)>,
}

fn interface(text: &str) -> Result<(String, u32), String> {
    let wrong = || format!("{text} is not NAME=NUMBER");
    let (name, index) = text.split_once('=').ok_or_else(wrong)?;
    Ok((name.to_owned(), index.parse().map_err(|_| wrong())?))
}

/// Waits for the end of whoever started this, and removes the interfaces.
pub(crate) fn run(args: &Args) -> Result<()> {
    for signal in [SIGHUP, SIGINT, SIGTERM] {
        // Nobody looks at the flag.
        signal_hook::flag::register(signal, Arc::new(AtomicBool::new(false)))?;
    }
    let mut ignored = [0; 64];
    let mut input = io::stdin().lock();
    loop {
        match input.read(&mut ignored) {
            Ok(0) => break,
            Ok(_) => bail!("nothing is to be said here"),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => break,
        }
    }
    for (name, index) in &args.interfaces {
        freeway_afxdp::VethPair::remove(name, *index).with_context(|| format!("interface {name} stays"))?;
    }
    Ok(())
}

/// A keeper that runs. Dropping it has it remove the interfaces, and waits until they are gone.
#[derive(Debug)]
pub(crate) struct Keeper {
    input: Option<ChildStdin>,
    child: Child,
}

impl Keeper {
    /// Starts a keeper of `interfaces`.
    ///
    /// # Errors
    ///
    /// No process.
    pub(crate) fn start(interfaces: &[(String, u32)]) -> Result<Self> {
        let program = env::current_exe().context("this program cannot be found to be started again")?;
        let mut child = Command::new(program)
            .arg("keep")
            .args(interfaces.iter().map(|(name, index)| format!("{name}={index}")))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            // What a terminal tells the server to do is not for the keeper.
            .process_group(0)
            .spawn()
            .context("no keeper of the interfaces")?;
        Ok(Self { input: child.stdin.take(), child })
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        drop(self.input.take());
        // One that is gone has done what it could.
        let _ = self.child.wait();
    }
}

//! WebSockets and events: Python's websockets, and curl.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;
use std::sync::mpsc::channel;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::site::{Plan, Running, run};

const LISTENERS: usize = 10;

/// How long a message may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where Debian keeps Python's websockets.
const WEBSOCKETS: &str = "/usr/lib/python3/dist-packages/websockets";

#[test]
#[ignore = "needs root and the server's binary: cargo xtask interop"]
fn websockets_by_a_client_that_is_not_ours() -> Result<()> {
    let Some(plan) = Plan::new("http_websocket", &[])? else { return Ok(()) };
    if !std::path::Path::new(WEBSOCKETS).is_dir() {
        ensure!(std::env::var_os("CI").is_none(), "python3-websockets is not installed");
        eprintln!("*** SKIPPED http_websocket: python3-websockets is not installed ***");
        return Ok(());
    }
    let site = plan.flags(&["--handlers", "ws,ws-echo,publish,events"]).start()?;
    let mut command = site.client.command("/usr/bin/python3");
    let said = run(command.args(["-c", include_str!("websocket.py")]).stdin(Stdio::null()))?;
    ensure!(said.trim() == "echoed, heard, closed", "{said}");
    site.server.stop()
}

#[test]
#[ignore = "needs root and the server's binary: cargo xtask interop"]
fn events_by_curl() -> Result<()> {
    let Some(plan) = Plan::new("http_events", &[])? else { return Ok(()) };
    let site = plan.flags(&["--handlers", "publish,events"]).start()?;
    let (heard, hears) = channel();
    let mut listeners = Vec::new();
    for number in 0..LISTENERS {
        let mut command = site.client.command("curl");
        command.args(["-sS", "-N", "--max-time", "60", "http://198.18.0.2/events"]);
        let mut listener = Running(command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?);
        let lines = BufReader::new(listener.0.stdout.take().context("it is piped")?).lines();
        listeners.push(listener);
        let heard = heard.clone();
        std::thread::spawn(move || {
            // Whoever waits for them is gone when a test has failed.
            lines.map_while(Result::ok).try_for_each(|line| heard.send((number, line)))
        });
    }
    let publish = |message: &str| {
        let said = site.curl(&["--data-binary", message, "http://198.18.0.2/publish"])?;
        ensure!(said.starts_with("HTTP/1.1 202 "), "{said}");
        Ok(())
    };
    // Until everybody listens.
    let mut is_there = [false; LISTENERS];
    while is_there.contains(&false) {
        publish("is anybody there?")?;
        while let Ok((number, _)) = hears.recv_timeout(Duration::from_millis(50)) {
            is_there[number] = true;
        }
    }
    for number in 0..100 {
        publish(&format!("message {number}\nof two lines"))?;
    }
    let mut texts = vec![String::new(); LISTENERS];
    while texts.iter().any(|text| !text.ends_with("data: message 99\ndata: of two lines\n\n")) {
        let (number, line) = hears.recv_timeout(PATIENCE).with_context(|| format!("{texts:?}"))?;
        if !texts[number].is_empty() || line == "data: message 0" {
            texts[number] += &format!("{line}\n");
        }
    }
    let wanted: String =
        (0..100).map(|number| format!("data: message {number}\ndata: of two lines\n\n")).collect();
    ensure!(texts.iter().all(|text| *text == wanted), "{texts:?}");
    drop(listeners);
    site.server.stop()
}

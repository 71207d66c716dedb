//! The end of a server, and its access log.

use std::fs;
use std::io::{Read as _, Write as _};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::site::{Plan, Running, path_text};

#[test]
#[ignore = "needs root and the server's binary: cargo xtask interop"]
fn a_download_under_way_is_finished_and_nothing_else_is_begun() -> Result<()> {
    let Some(plan) = Plan::new("http_ending", &[])? else { return Ok(()) };
    let large: Vec<u8> = (0..4_000_000_u32).map(|place| (place % 253) as u8).collect();
    let site = plan.document("large", &large)?.flags(&["--drain", "20"]).start()?;
    let copy = site.beside("copy");
    let mut command = site.client.command("curl");
    command.args(["-sS", "--limit-rate", "2M", "-o", &path_text(&copy)?, "http://198.18.0.2/large"]);
    let mut download = Running(command.stdin(Stdio::null()).spawn()?);
    // One that has been answered, one that has said nothing, and one in the middle of its request.
    let mut idle = site.connect()?;
    idle.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")?;
    let mut heard = [0; 4_096];
    let len = idle.read(&mut heard)?;
    ensure!(heard[..len].ends_with(b"<h1>works</h1>\n"));
    let mut fresh = site.connect()?;
    while fs::metadata(&copy).map_or(0, |metadata| metadata.len()) == 0 {
        std::thread::sleep(Duration::from_millis(20));
    }
    let client = &site.client;
    std::thread::scope(|scope| {
        let stopping = scope.spawn(|| site.server.stop());
        // Idle connections end at once, and in good order.
        let ends = [idle.read(&mut heard), fresh.read(&mut heard)];
        ensure!(ends.iter().all(|end| matches!(end, Ok(0))), "{ends:?}");
        let mut late = client.command("curl");
        late.args(["-sS", "--max-time", "2", "http://198.18.0.2/"])
            .stderr(Stdio::null())
            .stdout(Stdio::null());
        ensure!(!late.status()?.success(), "a server that stops has accepted a connection");
        ensure!(download.0.wait()?.success(), "the download was broken off");
        stopping.join().ok().context("the thread panicked")?
    })?;
    ensure!(fs::read(&copy)? == large, "the download differs");
    Ok(())
}

#[test]
#[ignore = "needs root and the server's binary: cargo xtask interop"]
fn the_log_has_a_line_for_each_request_and_follows_its_file() -> Result<()> {
    for format in ["combined", "json"] {
        let Some(plan) = Plan::new("http_log", &[])? else { return Ok(()) };
        let log = plan.beside("access.log")?;
        let plan = plan.document("large", &[b'x'; 1_000_000])?;
        let site = plan.flags(&["--access-log", &log, "--log-format", format]).start()?;
        let curl = |path: &str| {
            site.curl(&[
                "-A",
                "a \"quoted\" agent",
                "-e",
                "http://ref/",
                &format!("http://198.18.0.2/{path}"),
            ])
        };
        for number in 0..50 {
            curl(&format!("?{number}"))?;
        }
        curl("none")?;
        curl("large")?;
        // As logrotate does it: the old file gets a new name, and the server is told.
        let wait_for = |path: &str, lines: usize| -> Result<String> {
            let mut text = String::new();
            for _ in 0..200 {
                text = fs::read_to_string(path).unwrap_or_default();
                if text.lines().count() >= lines {
                    break;
                }
                std::thread::sleep(Duration::from_millis(25));
            }
            ensure!(text.lines().count() == lines, "{lines} lines are missing\n{text}");
            Ok(text)
        };
        let text = wait_for(&log, 52)?;
        let old = format!("{log}.1");
        fs::rename(&log, &old)?;
        site.server.hang_up()?;
        wait_for(&log, 0)?;
        for _ in 0..200 {
            if fs::exists(&log)? {
                break;
            }
            std::thread::sleep(Duration::from_millis(25));
        }
        curl("after")?;
        let after = wait_for(&log, 1)?;
        ensure!(after.contains("/after"), "{after}");
        site.server.stop()?;
        ensure!(fs::read_to_string(&old)? == text, "the old file was written on");

        for (number, line) in text.lines().enumerate() {
            let (path, status) = match number {
                50 => ("/none".to_owned(), 404),
                51 => ("/large".to_owned(), 200),
                _ => (format!("/?{number}"), 200),
            };
            if format == "json" {
                let line: serde_json::Value = serde_json::from_str(line).with_context(|| line.to_owned())?;
                ensure!(line.to_string().contains(&path) && line["status"] == status, "{line}");
            } else {
                ensure!(line.starts_with("198.18.0.1 - - ["), "{line}");
                ensure!(line.contains(&format!("] \"GET {path} HTTP/1.1\" {status} ")), "{line}");
                ensure!(line.ends_with(" \"http://ref/\" \"a \\x22quoted\\x22 agent\""), "{line}");
            }
        }
        ensure!(text.lines().nth(51).is_some_and(|line| line.contains("1000000")), "{text}");
    }
    Ok(())
}

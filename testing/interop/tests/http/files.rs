//! Files as curl asks for them.

use std::fs;
use std::io::{Read as _, Write as _};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::site::{Plan, field, path_text};

/// Bytes that do not repeat soon.
fn noise(len: usize) -> Vec<u8> {
    (0..len as u32).map(|place| (place.wrapping_mul(0x9e37_79b1) >> 24) as u8).collect()
}

/// Whether an answer has this status and body.
fn expect(said: &str, status: u16, body: &str) -> Result<()> {
    let found = said.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    ensure!(
        said.starts_with(&format!("HTTP/1.1 {status} ")) && found == body,
        "{status} and {body:?}:\n{said}"
    );
    Ok(())
}

const URL: &str = "http://198.18.0.2/";

#[test]
#[ignore = "needs root and the server's binary: cargo xtask interop"]
fn files_ranges_and_conditions_by_curl() -> Result<()> {
    let Some(plan) = Plan::new("http_files", &[])? else { return Ok(()) };
    let site = plan
        .document("ten", b"0123456789")?
        .document("sub/index.html", b"sub")?
        .document("sub/a b", b"a b")?
        .document("404.html", b"not here\n")?
        .start()?;
    let curl = |path: &str, more: &[&str]| site.curl(&[more, &[&format!("{URL}{path}")]].concat());

    expect(&curl("", &[])?, 200, "<h1>works</h1>\n")?;
    expect(&site.curl(&["http://[fdc1::2]/ten"])?, 200, "0123456789")?;
    expect(&curl("sub/", &[])?, 200, "sub")?;
    expect(&curl("sub/a%20b", &[])?, 200, "a b")?;
    expect(&curl("ten", &["-I"])?, 200, "")?;
    expect(&curl("ten", &["--http1.0"])?, 200, "0123456789")?;
    expect(&curl("none", &[])?, 404, "not here\n")?;
    let moved = curl("sub", &[])?;
    ensure!(
        moved.starts_with("HTTP/1.1 301 ") && field(&moved, "location") == Some("http://198.18.0.2/sub/"),
        "{moved}"
    );
    expect(&curl("../../../etc/passwd", &["--path-as-is"])?, 400, "Bad Request")
        .or_else(|_| expect(&curl("../../../etc/passwd", &["--path-as-is"])?, 404, "not here\n"))?;

    // Ranges.
    for (range, body, content) in
        [("2-5", "2345", "bytes 2-5/10"), ("7-", "789", "bytes 7-9/10"), ("-3", "789", "bytes 7-9/10")]
    {
        let said = curl("ten", &["-r", range])?;
        expect(&said, 206, body)?;
        ensure!(field(&said, "content-range") == Some(content), "{said}");
    }
    let parts = curl("ten", &["-r", "0-1,-2"])?;
    ensure!(
        parts.starts_with("HTTP/1.1 206 ")
            && parts.contains("Content-Range: bytes 0-1/10\r\n\r\n01\r\n")
            && parts.contains("Content-Range: bytes 8-9/10\r\n\r\n89\r\n"),
        "{parts}"
    );
    let beyond = curl("ten", &["-r", "10-"])?;
    ensure!(
        beyond.starts_with("HTTP/1.1 416 ") && field(&beyond, "content-range") == Some("bytes */10"),
        "{beyond}"
    );

    // Conditions: curl's own memory of a tag, and of a date.
    let (etag, copy) = (path_text(&site.beside("etag"))?, path_text(&site.beside("copy"))?);
    curl("ten", &["-o", &copy, "--etag-save", &etag])?;
    expect(&curl("ten", &["--etag-compare", &etag])?, 304, "")?;
    let head = curl("ten", &["-I"])?;
    let modified = field(&head, "last-modified").context("no date")?.to_owned();
    expect(&curl("ten", &["-H", &format!("If-Modified-Since: {modified}")])?, 304, "")?;
    expect(&curl("ten", &["-H", "If-Match: \"other\""])?, 412, "Precondition Failed")?;
    expect(&curl("ten", &["-r", "0-0", "-H", "If-Range: \"other\""])?, 200, "0123456789")?;

    // One connection for several requests.
    let urls = format!("{URL}[1-5]");
    let connects = site.run(&["curl", "-sS", "-o", "/dev/null", "-w", "%{num_connects} ", &urls])?;
    ensure!(connects == "1 0 0 0 0 ", "{connects}");

    // What changes on disk is seen.
    fs::write(site.document("ten"), "changed")?;
    fs::write(site.document("new"), "new")?;
    let is_seen = || {
        Ok::<_, anyhow::Error>(curl("new", &[])?.ends_with("new") && curl("ten", &[])?.ends_with("changed"))
    };
    for _ in 0..100 {
        if is_seen()? {
            return site.server.stop();
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    anyhow::bail!("a changed file is not seen")
}

#[test]
#[ignore = "needs root and the server's binary: cargo xtask interop"]
fn codings_and_large_files_by_curl() -> Result<()> {
    let Some(plan) = Plan::new("http_large", &["gzip"])? else { return Ok(()) };
    let large = noise(20_000_000);
    let site = plan
        .document("text.txt", "many words ".repeat(1_000).as_bytes())?
        .document("large", &large)?
        .document("memory", &large[..3_000_000])?
        .flags(&["--document-max", "4000000"])
        .start()?;
    // A coded file that is younger than its original.
    site.run(&["gzip", "-k", &path_text(&site.document("text.txt"))?])?;
    let url = format!("{URL}text.txt");
    let mut coded = String::new();
    for _ in 0..100 {
        coded = site.curl(&["--compressed", &url])?;
        if field(&coded, "content-encoding").is_some() {
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    ensure!(
        field(&coded, "content-encoding") == Some("gzip")
            && field(&coded, "vary") == Some("Accept-Encoding")
            && coded.ends_with(&"many words ".repeat(1_000)),
        "{}",
        coded.get(..400).unwrap_or(&coded)
    );
    let plain = site.curl(&[&url])?;
    ensure!(field(&plain, "content-encoding").is_none() && field(&plain, "vary").is_some());

    // From memory and from disk, at once.
    let copies: Vec<_> = (0..4).map(|number| site.beside(&format!("copy{number}"))).collect();
    let mut words = vec!["curl".to_owned(), "-sS".into(), "-Z".into(), "--max-time".into(), "60".into()];
    for (number, copy) in copies.iter().enumerate() {
        let name = if number % 2 == 0 { "large" } else { "memory" };
        words.extend(["-o".to_owned(), path_text(copy)?, format!("{URL}{name}")]);
    }
    site.run(&words.iter().map(String::as_str).collect::<Vec<_>>())?;
    for (number, copy) in copies.iter().enumerate() {
        let wanted = if number % 2 == 0 { &large[..] } else { &large[..3_000_000] };
        ensure!(fs::read(copy)? == wanted, "copy {number} differs");
    }
    // A download that was broken off goes on where it was.
    let copy = &copies[0];
    fs::write(copy, &large[..7_654_321])?;
    site.run(&["curl", "-sS", "-C", "-", "-o", &path_text(copy)?, &format!("{URL}large")])?;
    ensure!(fs::read(copy)? == large, "what was resumed differs");
    site.server.stop()
}

#[test]
#[ignore = "needs root and the server's binary: cargo xtask interop"]
fn bodies_by_curl_and_pipelined_requests() -> Result<()> {
    let Some(plan) = Plan::new("http_bodies", &[])? else { return Ok(()) };
    let site = plan.flags(&["--handlers", "echo,healthz,info", "--body-max", "8000000"]).start()?;
    let (sent, back) = (site.beside("sent"), site.beside("back"));
    let bytes = noise(5_000_000);
    fs::write(&sent, &bytes)?;
    let (sent_text, back_text) = (path_text(&sent)?, path_text(&back)?);
    let echo = format!("{URL}echo");
    let curl = ["curl", "-sS", "-v", "--max-time", "60", "-o", &back_text];

    // curl waits for 100 Continue before so long a body.
    let data = format!("@{sent_text}");
    let said =
        site.run(&[&curl[..], &["--expect100-timeout", "30", "--data-binary", &data, &echo]].concat())?;
    ensure!(said.contains("< HTTP/1.1 100 Continue") && fs::read(&back)? == bytes, "{said}");
    // Chunked, since curl does not know the length of what comes by a pipe.
    let said = site.run_with(&[&curl[..], &["-X", "POST", "-T", "-", &echo]].concat(), &sent)?;
    ensure!(
        said.contains("> Transfer-Encoding: chunked") && said.contains("< Transfer-Encoding: chunked"),
        "{said}"
    );
    ensure!(fs::read(&back)? == bytes, "a chunked body came back otherwise");
    // A body that is too long is refused before it is sent.
    fs::write(&sent, noise(9_000_000))?;
    let said =
        site.run(&[&curl[..], &["--expect100-timeout", "30", "--data-binary", &data, &echo]].concat())?;
    ensure!(said.contains("< HTTP/1.1 413 "), "{said}");
    expect(&site.curl(&["-X", "DELETE", &echo])?, 405, "Method Not Allowed")?;
    let options = site.curl(&["-X", "OPTIONS", &echo])?;
    ensure!(field(&options, "allow") == Some("POST, PUT, OPTIONS"), "{options}");

    // Pipelined requests are answered in their order.
    let mut stream = site.connect()?;
    let posts: String = (0..50)
        .map(|number| format!("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n{number:04}GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"))
        .collect();
    stream.write_all(posts.as_bytes())?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")?;
    let mut heard = String::new();
    stream.read_to_string(&mut heard)?;
    let bodies: Vec<_> = heard.split("\r\n\r\n").filter_map(|part| part.get(..4)).collect();
    let wanted: Vec<_> = (0..50).flat_map(|number| [format!("{number:04}"), "ok\nH".into()]).collect();
    ensure!(
        bodies.get(1..101) == Some(&wanted.iter().map(String::as_str).collect::<Vec<_>>()[..]),
        "{heard}"
    );
    ensure!(heard.ends_with("<h1>works</h1>\n"), "{heard}");
    site.server.stop()
}

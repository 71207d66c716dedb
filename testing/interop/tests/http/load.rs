//! Load generators that people know.

use anyhow::{Result, ensure};

use super::site::{Plan, number_after};

#[test]
#[ignore = "needs root and the server's binary: cargo xtask interop"]
fn ab_wrk_and_h2load_find_no_fault() -> Result<()> {
    let programs = ["ab", "wrk", "h2load"];
    let Some(plan) = Plan::new("http_load", &programs)? else { return Ok(()) };
    let site = plan.document("small", b"hello, world\n")?.document("large", &[b'x'; 300_000])?.start()?;
    let small = "http://198.18.0.2/small";

    for (more, count) in [(&["-k"][..], 20_000.0), (&[], 2_000.0)] {
        let requests = format!("{count}");
        let said = site.run(&[&["ab", "-q", "-n", &requests, "-c", "50"], more, &[small]].concat())?;
        ensure!(number_after(&said, "Complete requests:")? == count, "{said}");
        ensure!(number_after(&said, "Failed requests:")? == 0.0 && !said.contains("Non-2xx"), "{said}");
        ensure!(number_after(&said, "HTML transferred:")? == count * 13.0, "{said}");
        let kept = number_after(&said, "Keep-Alive requests:").unwrap_or(0.0);
        ensure!(kept == if more.is_empty() { 0.0 } else { count }, "{said}");
    }

    let said = site.run(&["wrk", "-t", "1", "-c", "100", "-d", "2s", small])?;
    ensure!(!said.contains("Socket errors") && !said.contains("Non-2xx"), "{said}");
    ensure!(number_after(&said, "Requests/sec:")? > 100.0, "{said}");

    // Sixteen requests under way on a connection, which h2load checks answer by answer.
    for (target, count) in [(small, "20000"), ("http://198.18.0.2/large", "500")] {
        let said = site.run(&["h2load", "--h1", "-n", count, "-c", "20", "-m", "16", target])?;
        let wanted =
            format!("{count} total, {count} started, {count} done, {count} succeeded, 0 failed, 0 errored");
        ensure!(said.contains(&wanted), "{said}");
    }
    site.server.stop()
}

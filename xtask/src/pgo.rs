//! `cargo xtask pgo`: the command, built with a profile of itself at work.
//!
//! A build that counts how often each branch is taken runs a little of everything: the demo, the challenge, a cache and
//! a web server under load, two processes each, joined by shared memory. The second build lays hot code out in a row and
//! inlines what is called there. What it does is the same, what a packet costs is less (`docs/performance.md`).

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::shell::{cargo, run as run_command, target_directory};

/// The addresses of the server under training and of its client; nothing but the two processes ever sees them.
const SERVER: &str = "198.18.0.2/24";
const CLIENT: &str = "198.18.0.3/24";

/// What is asked of the services, and how.
const LOADS: [(&str, &[&str]); 8] = [
    ("cache://198.18.0.2:11211", &["--connections", "1000", "--keys", "100000"]),
    ("cache://198.18.0.2:11211", &["--connections", "1000", "--keys", "100000", "--set-ratio", "0.1"]),
    ("cache://198.18.0.2:11211", &["--connections", "100", "--keys", "100000", "--multiget", "100"]),
    ("cacheu://198.18.0.2:11211", &["--keys", "100000"]),
    ("http://198.18.0.2:80/", &["--connections", "1000"]),
    ("http://198.18.0.2:80/", &["--connections", "100", "--depth", "16"]),
    ("http://198.18.0.2:80/", &["--connections", "64", "--reconnect"]),
    ("echo://198.18.0.2:7", &["--connections", "1000"]),
];

/// How long a server may take to come up, or to end.
const PATIENCE: Duration = Duration::from_secs(30);

/// Builds the command twice, and says where the second one is.
pub fn run(root: &Path) -> Result<PathBuf> {
    let host = host()?;
    let profdata = profdata(&host)?;
    let folder = target_directory(root, "pgo")?;
    let profiles = folder.join("profiles");
    if profiles.exists() {
        // Of an older build.
        fs::remove_dir_all(&profiles).with_context(|| profiles.display().to_string())?;
    }
    let counting = build(root, &host, &folder.join("counting"), "-Cprofile-generate", &profiles)?;
    train(&counting).context("the training runs")?;
    let merged = folder.join("merged.profdata");
    run_command(Command::new(profdata).arg("merge").arg("--output").arg(&merged).arg(&profiles))?;
    let freeway = build(root, &host, &folder.join("guided"), "-Cprofile-use", &merged)?;
    println!("{}", freeway.display());
    Ok(freeway)
}

/// Builds the command with one more flag of the compiler. With the target named, build scripts go without.
fn build(root: &Path, host: &str, target: &Path, flag: &str, path: &Path) -> Result<PathBuf> {
    let mut flags = std::env::var("RUSTFLAGS").unwrap_or_default();
    flags.push_str(&format!(" {flag}={}", path.display()));
    run_command(
        cargo(root)
            .args(["build", "--release", "--locked", "--package", "freeway-cli", "--target", host])
            .arg("--target-dir")
            .arg(target)
            .env("RUSTFLAGS", flags.trim()),
    )?;
    Ok(target.join(host).join("release").join("freeway"))
}

/// The processor and system that this is, as the compiler calls them.
fn host() -> Result<String> {
    let version = Command::new(rustc()).arg("-vV").output().context("rustc -vV")?;
    let version = String::from_utf8_lossy(&version.stdout).into_owned();
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("rustc -vV names no host")?.to_owned())
}

fn rustc() -> std::ffi::OsString {
    std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into())
}

/// The program that puts profiles together: it must be of the compiler's own LLVM.
fn profdata(host: &str) -> Result<PathBuf> {
    let sysroot =
        Command::new(rustc()).args(["--print", "sysroot"]).output().context("rustc --print sysroot")?;
    let sysroot = PathBuf::from(String::from_utf8_lossy(&sysroot.stdout).trim());
    let tool = sysroot.join("lib/rustlib").join(host).join("bin/llvm-profdata");
    ensure!(tool.is_file(), "{} is missing: rustup component add llvm-tools", tool.display());
    Ok(tool)
}

/// Has the counting build do a little of everything.
fn train(freeway: &Path) -> Result<()> {
    let run = |arguments: &[&str]| run_command(Command::new(freeway).args(arguments).stdout(Stdio::null()));
    run(&["demo"])?;
    run(&["c10m", "--quick", "--connections", "100000"])?;
    let folder = tempfile::tempdir()?;
    fs::write(folder.path().join("index.html"), "Hello, world!")?;
    let socket = folder.path().join("memif.sock");
    let mut server = serve(freeway, folder.path(), &socket)?;
    let via = format!("memif:{},role=client", socket.display());
    let common = ["--via", &via, "--addr", CLIENT, "--duration", "2s", "--warm-up", "100ms"];
    let trained = LOADS
        .iter()
        .try_for_each(|(target, options)| run(&[&["bench", target], &common[..], options].concat()));
    let ended = end(&mut server);
    trained.and(ended)
}

fn serve(freeway: &Path, root: &Path, socket: &Path) -> Result<Child> {
    let device = format!("memif:{},role=server", socket.display());
    let mut server = Command::new(freeway)
        .args(["serve", "--dev", &device, "--addr", SERVER, "--cores", "0", "--max-connections", "4096"])
        .args([
            "--echo",
            "7",
            "--http",
            "80",
            "--cache",
            "11211",
            "--cache-udp",
            "11211",
            "--cache-memory",
            "64M",
        ])
        // It writes its profile when it ends, which it could not without its rights.
        .args(["--protect", "false", "--root"])
        .arg(root)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .context("freeway serve")?;
    let begun = Instant::now();
    while !socket.exists() {
        if let Some(status) = server.try_wait()? {
            bail!("freeway serve ended ({status})");
        }
        if begun.elapsed() > PATIENCE {
            let _ = server.kill();
            bail!("freeway serve does not come up");
        }
        sleep(Duration::from_millis(50));
    }
    Ok(server)
}

/// Asks the server to end, and waits until it has.
fn end(server: &mut Child) -> Result<()> {
    run_command(Command::new("kill").arg(server.id().to_string()))?;
    let begun = Instant::now();
    while server.try_wait()?.is_none() {
        if begun.elapsed() > PATIENCE {
            let _ = server.kill();
            bail!("freeway serve does not end");
        }
        sleep(Duration::from_millis(50));
    }
    Ok(())
}

//! A server that runs has no rights left, on any of its threads, and serves, reloads and ends all the same. It needs no
//! privilege; with some it shows that they are gone.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

/// A server in a folder of its own.
struct Server {
    folder: tempfile::TempDir,
    child: Child,
}

impl Server {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for name in ["etc", "www", "log", "other"] {
            fs::create_dir(folder.path().join(name)).unwrap();
        }
        settings(&folder, "www", "log");
        let config = folder.path().join("etc/freeway.toml");
        let mut child = Command::new(env!("CARGO_BIN_EXE_freeway"))
            .args(["serve", "--protect", "true", "--config", config.to_str().unwrap()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let mut lines = String::new();
        while !lines.contains("\nready dev=memif:") {
            assert!(log.read_line(&mut lines).unwrap() > 0, "the server ended: {lines}");
        }
        std::thread::spawn(move || log.lines().map_while(Result::ok).for_each(drop));
        Self { folder, child }
    }

    fn ask(&self, command: &str) -> Output {
        let socket = self.folder.path().join("run/admin.sock");
        let socket = socket.to_str().unwrap();
        Command::new(env!("CARGO_BIN_EXE_freeway")).args([command, "--admin", socket]).output().unwrap()
    }

    fn threads(&self) -> Vec<PathBuf> {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.child.id())).unwrap();
        tasks.map(|task| task.unwrap().path()).collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn settings(folder: &tempfile::TempDir, root: &str, log: &str) {
    let path = |name: &str| folder.path().join(name).display().to_string();
    let text = format!(
        "admin = \"{}\"\n[[interface]]\ndevice = \"memif:@freeway-protect-{},id=1\"\n\
         [stack]\nmax_connections = 1000\nbuffers = 1024\n\
         [http]\nroot = \"{}\"\naccess_log = \"{}\"\n",
        path("run/admin.sock"),
        std::process::id(),
        path(root),
        path(&format!("{log}/access")),
    );
    fs::write(folder.path().join("etc/freeway.toml"), text).unwrap();
}

#[test]
fn no_thread_of_a_server_has_rights_left() {
    let mut server = Server::start();
    // A client of the admin socket has a thread too.
    assert!(server.ask("stats").status.success());
    let mut names = BTreeSet::new();
    for thread in server.threads() {
        // A client's may have ended meanwhile.
        let Ok(status) = fs::read_to_string(thread.join("status")) else { continue };
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.unwrap_or_default().trim_start_matches(':').trim().to_owned()
        };
        let name = field("Name");
        for capabilities in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
            assert_eq!(field(capabilities), "0000000000000000", "{name}: {capabilities}");
        }
        assert_eq!((field("NoNewPrivs").as_str(), field("Seccomp").as_str()), ("1", "2"), "{name}");
        names.insert(name);
    }
    for name in ["freeway-0", "access-log", "documents", "disk", "freeway-admin", "memif"] {
        assert!(names.contains(name), "{name} is none of {names:?}");
    }

    // What it was started for, it can still do.
    fs::rename(server.folder.path().join("log/access"), server.folder.path().join("log/old")).unwrap();
    let reloaded = server.ask("reload");
    assert!(reloaded.status.success(), "{reloaded:?}");
    let log = server.folder.path().join("log/access");
    assert!(log.exists(), "the log was not opened anew");

    // What it was not, waits.
    settings(&server.folder, "other", "log");
    let told = String::from_utf8(server.ask("reload").stdout).unwrap();
    assert!(told.contains("restart  http.root") && told.contains("its folder was shut"), "{told}");

    let pid = server.child.id().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    assert!(server.child.wait().unwrap().success());
    assert!(!server.folder.path().join("run/admin.sock").exists(), "the socket is gone with it");
}

//! A memcached of one's own, asked over a Unix socket.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command};
use std::time::Duration;

use crate::trace::Request;

/// A memcached that ends with this value.
pub struct Memcached {
    process: Child,
    stream: BufReader<UnixStream>,
    value: Vec<u8>,
    line: Vec<u8>,
}

impl Memcached {
    /// One of `mebibytes`, on a thread.
    pub fn start(mebibytes: usize) -> Self {
        let path = std::env::temp_dir().join(format!("freeway-bench-{}.sock", std::process::id()));
        let process = Command::new("memcached")
            .args(["-u", "root", "-t", "1", "-m", &mebibytes.to_string(), "-s"])
            .arg(&path)
            .spawn()
            .expect("memcached is in the path");
        let stream = loop {
            match UnixStream::connect(&path) {
                Ok(stream) => break stream,
                Err(_) => std::thread::sleep(Duration::from_millis(20)),
            }
        };
        Self {
            process,
            stream: BufReader::with_capacity(1 << 18, stream),
            value: vec![b'v'; 2_000],
            line: Vec::new(),
        }
    }

    /// Asks for all keys at once, and stores what was not there or is new; which were there.
    pub fn ask(&mut self, batch: &[Request]) -> Vec<bool> {
        let mut request = b"get".to_vec();
        for asked in batch {
            request.push(b' ');
            request.extend_from_slice(&crate::key(asked.key));
        }
        request.extend_from_slice(b"\r\n");
        self.stream.get_mut().write_all(&request).unwrap();
        let mut found = vec![false; batch.len()];
        let mut next = 0;
        loop {
            self.line.clear();
            self.stream.read_until(b'\n', &mut self.line).unwrap();
            if self.line == b"END\r\n" {
                break;
            }
            let line = std::str::from_utf8(&self.line).unwrap();
            let mut words = line.split_ascii_whitespace();
            let (key, len) = (words.nth(1).unwrap(), words.nth(1).unwrap().parse::<usize>().unwrap());
            // Answers stand in the order of the questions.
            next += batch[next..].iter().position(|asked| crate::key(asked.key) == key.as_bytes()).unwrap();
            found[next] = true;
            next += 1;
            let mut value = vec![0; len + 2];
            self.stream.read_exact(&mut value).unwrap();
        }
        let mut sets = Vec::new();
        for (asked, found) in batch.iter().zip(&found) {
            if !found || asked.write {
                sets.extend_from_slice(b"set ");
                sets.extend_from_slice(&crate::key(asked.key));
                sets.extend_from_slice(format!(" 0 0 {} noreply\r\n", asked.size).as_bytes());
                sets.extend_from_slice(&self.value[..asked.size as usize]);
                sets.extend_from_slice(b"\r\n");
            }
        }
        self.stream.get_mut().write_all(&sets).unwrap();
        found
    }
}

impl Drop for Memcached {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

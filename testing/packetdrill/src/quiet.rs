//! Have the other threads come to rest?
//!
//! A blocking call of a script runs on a second thread, and takes effect when that thread gets there. Before time
//! jumps, the thread that lets it pass waits here until no other thread of the process is running: each of them
//! then waits for this one. No guess at how long a thread may take is needed, and a loaded machine changes nothing.

use std::fs;
use std::time::{Duration, Instant};

/// Longer than this nothing runs without waiting for somebody: something else is going on, and time goes on too.
const PATIENCE: Duration = Duration::from_secs(2);
/// Between two looks.
const PAUSE: Duration = Duration::from_micros(30);

/// Waits until every other thread of this process sleeps.
pub(crate) fn wait() {
    let start = Instant::now();
    while !others_sleep() && start.elapsed() < PATIENCE {
        std::thread::sleep(PAUSE);
    }
}

/// Whether no other thread is runnable; true as well where nothing can be known.
fn others_sleep() -> bool {
    let own = rustix::thread::gettid().as_raw_nonzero().to_string();
    let Ok(tasks) = fs::read_dir("/proc/self/task") else { return true };
    tasks.flatten().filter(|task| task.file_name() != own.as_str()).all(|task| {
        // A thread that has ended meanwhile has no state any more.
        fs::read(task.path().join("stat")).map_or(true, |stat| state(&stat) != Some(b'R'))
    })
}

/// The letter behind the name, which stands in parentheses and may itself hold any.
fn state(stat: &[u8]) -> Option<u8> {
    let name_end = stat.iter().rposition(|&byte| byte == b')')?;
    stat.get(name_end + 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_is_behind_the_name_whatever_the_name() {
        assert_eq!(state(b"12 (a) R) S 1 2"), Some(b'S'));
        assert_eq!(state(b"12 (x) R 1 2"), Some(b'R'));
        assert_eq!(state(b""), None);
    }
}

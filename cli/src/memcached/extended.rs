//! `-o`: the further options, none of which has a meaning here.

use anyhow::{Context, Result, bail};

/// Options of memcached 1.6.45 by what they are about; a `*` ends a family.
const TAKEN: &[(&str, &[&str])] = &[
    ("a connection over the limit is closed at once", &["maxconns_fast", "no_maxconns_fast"]),
    ("tables have their size from the start", &["hashpower", "no_hashexpand", "hash_algorithm"]),
    (
        "the store is not memcached's: it has no slabs, lists or threads to tune",
        &[
            "tail_repair_time",
            "slab_*",
            "no_slab_*",
            "lru_*",
            "no_lru_*",
            "hot_*",
            "warm_*",
            "temporary_ttl",
            "no_chunked_items",
            "modern",
            "no_modern",
        ],
    ),
    (
        "buffers have their size from the start",
        &["read_buf_mem_limit", "resp_obj_mem_limit", "watcher_logbuf_size", "worker_logbuf_size"],
    ),
    ("it does nothing in memcached either", &["inline_ascii_resp", "no_inline_ascii_resp"]),
    ("no privileges are dropped", &["drop_privileges", "no_drop_privileges"]),
    ("there is no socket of Linux to mark", &["sock_cookie_id"]),
];

/// Those that ask for what is not here.
const REFUSED: &[(&str, &[&str])] = &[
    ("items live in memory alone", &["ext_*"]),
    ("there is no TLS", &["ssl_*"]),
    ("there is no proxy", &["proxy_*"]),
];

/// What the options come to.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Extended {
    /// Seconds after which a silent connection is closed; 0 for never.
    pub(super) idle_timeout: u32,
    /// Whether `stats sizes` is on from the start.
    pub(super) track_sizes: bool,
    /// On options that have no effect.
    pub(super) notes: Vec<String>,
}

/// Reads the options.
///
/// # Errors
///
/// An option that there is not, one that is refused, or a number that is none.
pub(super) fn read(options: &[String]) -> Result<Extended> {
    let mut read = Extended::default();
    for option in options {
        let (name, value) = option.split_once('=').unwrap_or((option, ""));
        if let Some(why) = find(REFUSED, name) {
            bail!("-o {name} is refused: {why}");
        }
        match name {
            "idle_timeout" => {
                read.idle_timeout =
                    value.parse().with_context(|| format!("-o {option}: no number of seconds"))?;
            }
            "track_sizes" => read.track_sizes = true,
            name => match find(TAKEN, name) {
                Some(why) => read.notes.push(format!("-o {name}: {why} (it has no effect)")),
                None => bail!("-o {option}: memcached has no such option"),
            },
        }
    }
    Ok(read)
}

fn find(table: &[(&'static str, &[&str])], name: &str) -> Option<&'static str> {
    let fits = |pattern: &&str| match pattern.strip_suffix('*') {
        Some(family) => name.starts_with(family),
        None => *pattern == name,
    };
    table.iter().find(|(_, names)| names.iter().any(&fits)).map(|&(why, _)| why)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn one(option: &str) -> Result<Vec<String>> {
        read(&[option.to_owned()]).map(|read| read.notes)
    }

    #[test]
    fn options_with_a_meaning_are_kept() {
        let read = read(&["idle_timeout=60".to_owned(), "track_sizes".to_owned()]).unwrap();
        assert_eq!(read, Extended { idle_timeout: 60, track_sizes: true, notes: Vec::new() });
        assert!(one("idle_timeout=soon").is_err() && one("idle_timeout").is_err());
    }

    #[test]
    fn options_without_meaning_are_noted() {
        for option in ["modern", "hashpower=20", "slab_automove=1", "no_lru_crawler", "hot_lru_pct=10"] {
            assert_eq!(one(option).unwrap().len(), 1, "{option}");
        }
    }

    #[test]
    fn options_that_would_deceive_are_refused() {
        for option in ["ext_path=/tmp/a:1G", "ssl_key=/tmp/a", "proxy_config=/tmp/a"] {
            assert!(one(option).unwrap_err().to_string().contains("is refused"), "{option}");
        }
    }

    #[test]
    fn options_that_there_are_not_are_told() {
        assert!(one("nothing=1").unwrap_err().to_string().contains("no such option"));
    }
}

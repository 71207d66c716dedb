//! `-o`: the further options, none of which has a meaning here.

use anyhow::{Result, bail};

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
    ("items are not counted by size", &["track_sizes"]),
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
    ("idle connections stay open", &["idle_timeout"]),
];

/// Notes on options that have no effect.
///
/// # Errors
///
/// An option that there is not, or one that is refused.
pub(super) fn notes(options: &[String]) -> Result<Vec<String>> {
    let mut notes = Vec::new();
    for option in options {
        let name = option.split_once('=').map_or(option.as_str(), |(name, _)| name);
        if let Some(why) = find(REFUSED, name) {
            // Off is what there is.
            if option != "idle_timeout=0" {
                bail!("-o {name} is refused: {why}");
            }
            continue;
        }
        match find(TAKEN, name) {
            Some(why) => notes.push(format!("-o {name}: {why} (it has no effect)")),
            None => bail!("-o {option}: memcached has no such option"),
        }
    }
    Ok(notes)
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
        notes(&[option.to_owned()])
    }

    #[test]
    fn options_without_meaning_are_noted() {
        for option in ["modern", "hashpower=20", "slab_automove=1", "no_lru_crawler", "hot_lru_pct=10"] {
            assert_eq!(one(option).unwrap().len(), 1, "{option}");
        }
    }

    #[test]
    fn options_that_would_deceive_are_refused() {
        for option in ["ext_path=/tmp/a:1G", "ssl_key=/tmp/a", "idle_timeout=60", "proxy_config=/tmp/a"] {
            assert!(one(option).unwrap_err().to_string().contains("is refused"), "{option}");
        }
        assert!(one("idle_timeout=0").unwrap().is_empty());
    }

    #[test]
    fn options_that_there_are_not_are_told() {
        assert!(one("nothing=1").unwrap_err().to_string().contains("no such option"));
    }
}

//! The table of settings, the file, and the example.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

use super::file::read;
use super::keys::{INTERFACE_KEYS, KEYS, When};
use super::value::Wrong;
use super::*;

const EXAMPLE: &str = include_str!("../../../examples/freeway.toml");

fn parsed(text: &str) -> (Settings, Vec<String>) {
    let (mut settings, mut wrong) = (Settings::default(), Wrong::default());
    read(text, &mut settings, &mut wrong);
    (settings, wrong.0.into_iter().map(|(place, error)| format!("{}: {error}", place.start)).collect())
}

#[test]
fn the_example_has_every_setting_with_its_default() {
    let (mut settings, mut wrong) = (Settings::default(), Wrong::default());
    let places = read(EXAMPLE, &mut settings, &mut wrong);
    assert!(wrong.0.is_empty(), "{wrong:?}");
    let said: BTreeSet<&str> = places.keys().map(String::as_str).collect();
    let interface: Vec<String> =
        INTERFACE_KEYS.iter().map(|key| format!("interface[0].{}", key.path)).collect();
    let known = KEYS.iter().map(|key| key.path).chain(interface.iter().map(String::as_str)).collect();
    assert_eq!(said, known);
    let defaults = Settings::default();
    for key in KEYS {
        assert_eq!((key.get)(&settings), (key.get)(&defaults), "{}", key.path);
    }
    for key in INTERFACE_KEYS {
        let of = |settings: &Settings| (key.get)(&settings.interfaces[0]);
        assert_eq!(of(&settings), of(&defaults), "{}", key.path);
    }
}

/// The comment above each setting, for those that stand under one all the same.
fn comments() -> Vec<(String, String)> {
    let (mut table, mut comment, mut all) = (String::new(), String::new(), Vec::new());
    let mut was_comment = false;
    for line in EXAMPLE.lines() {
        if let Some(text) = line.strip_prefix('#') {
            if !was_comment {
                comment.clear();
            }
            comment.push_str(text);
            was_comment = true;
            continue;
        }
        was_comment = false;
        if line.is_empty() {
            comment.clear();
        } else if line.starts_with('[') {
            table = line.trim_matches(['[', ']']).to_owned();
            comment.clear();
        } else {
            let (name, _) = line.split_once(" = ").unwrap();
            let path = if table.is_empty() { name.to_owned() } else { format!("{table}.{name}") };
            all.push((path, comment.clone()));
        }
    }
    all
}

#[test]
fn the_example_says_of_each_setting_what_it_is_and_whether_a_reload_takes_it() {
    let comments = comments();
    assert_eq!(comments.len(), KEYS.len() + INTERFACE_KEYS.len());
    for (path, comment) in comments {
        assert!(!comment.is_empty(), "{path} has no comment");
        let when = match path.strip_prefix("interface.") {
            Some(inner) => keys::find(INTERFACE_KEYS, inner).unwrap().when,
            None => keys::find(KEYS, &path).unwrap().when,
        };
        // Its head stands with two others that are taken.
        if path != "http.head_max" {
            assert_eq!(comment.contains("[R]"), when == When::Reload, "{path}: {comment}");
        }
    }
}

#[test]
fn no_setting_is_there_twice_and_none_is_also_a_table() {
    let paths: BTreeSet<&str> = KEYS.iter().map(|key| key.path).collect();
    assert_eq!(paths.len(), KEYS.len());
    for key in KEYS {
        let inner = format!("{}.", key.path);
        assert!(!paths.iter().any(|path| path.starts_with(&inner)), "{}", key.path);
    }
}

#[test]
fn every_mistake_is_found_and_the_rest_is_read() {
    let text = "idle = \"lazy\"\n\
                [stack]\nmax_conections = 5\nbuffers = 10\nbuffer_size = \"2048\"\n\
                [tcp]\ncongestion = \"cubic\"\nnagle = 1\nuser_timeout = \"3 weeks\"\n\
                [http]\nports = [80, 99999, \"x\"]\nsite = [{ names = [\"a\"], rot = \"/\" }]\n\
                [stuff]\nx = 1\n\
                [tcp.ecn]\ny = 1\n\
                [cache]\ncongestion = 7\nmtu = 1\nmemory = \"1G\"\n";
    let (settings, wrong) = parsed(text);
    let all = wrong.join("\n");
    for part in [
        "lazy",
        "there is no setting stack.max_conections: did you mean stack.max_connections?",
        "10 is not between 256 and 8000000",
        "this is text: it should be a number from 0 to 4294967295, without quotes",
        "this is a number: it should be true or false",
        "'3 weeks' is not a time",
        "99999 is not a number from 0 to 65535",
        "there is no rot here: did you mean root?",
        "root is missing",
        "there is no setting stuff",
        "there is no setting cache.mtu: did you mean mtu in [[interface]]?",
        "this is a table: it should be off, passive or on",
        "there is no setting cache.congestion: did you mean tcp.congestion?",
    ] {
        assert!(all.contains(part), "{part} is not in:\n{all}");
    }
    assert_eq!(settings.cache.config.store.memory, 1 << 30);
}

#[test]
fn a_file_that_is_no_toml_tells_each_place() {
    let (settings, wrong) = parsed("cores = [1\nidle = \n[echo]\nports = [8]\n");
    assert!(wrong.len() >= 2, "{wrong:?}");
    drop(settings);
}

#[test]
fn flags_go_before_the_file_and_errors_name_their_place() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("f.toml");
    std::fs::write(&path, "[echo]\nports = [70]\n[discard]\nports = [90]\n[tcp]\nrto_max = \"1s\"\n")
        .unwrap();
    let flag = |name: &str, key: &str, texts: &[&str]| Flag {
        name: name.into(),
        key: key.into(),
        texts: texts.iter().map(|text| (*text).to_owned()).collect(),
    };
    let flags = [
        flag("--echo", "echo.ports", &["71", "72"]),
        flag("--addr", "interface.addresses", &["198.18.0.9/24", "2001:db8::9/64"]),
        flag("--mtu", "interface.mtu", &["70"]),
        flag(
            "--set",
            "",
            &["tcp.nagle=true", "interface.gateways=[\"198.18.0.1\"]", "idle=spin", "x.y=1", "z"],
        ),
    ];
    let Loaded { settings, mut problems } = load(Some(&path), &flags);
    assert_eq!((&settings.echo.ports[..], &settings.discard.ports[..]), (&[71, 72][..], &[90][..]));
    assert_eq!(settings.interfaces[0].addresses.len(), 2);
    assert_eq!(settings.interfaces[0].gateways.len(), 1);
    assert!(settings.tcp.nagle && settings.idle == Idle::Spin);
    problems.note("tcp.rto_max", "it is short");
    problems.note("echo.ports", "taken");
    problems.note("discard.ports", "taken");
    let at = |line: &str| format!("{}:{line}", path.display());
    assert_eq!(
        problems.lines(),
        [
            at("4:9: discard.ports: taken"),
            at("6:11: tcp.rto_max: it is short"),
            "--mtu: 70 is not between 1280 and 9000".to_owned(),
            "--set x.y: there is no setting x.y: examples/freeway.toml has all of them".to_owned(),
            "--set z: it should be KEY=VALUE".to_owned(),
            "--echo: taken".to_owned(),
        ]
    );
}

#[test]
fn a_flag_does_not_choose_between_interfaces() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("f.toml");
    std::fs::write(&path, "[[interface]]\ndevice = \"tap:a\"\n[[interface]]\ndevice = \"tap:b\"\n").unwrap();
    let flag = Flag { name: "--mtu".into(), key: "interface.mtu".into(), texts: vec!["1400".into()] };
    let Loaded { settings, problems } = load(Some(&path), &[flag]);
    assert_eq!(settings.interfaces.len(), 2);
    assert_eq!(problems.lines(), ["--mtu: the file has 2 interfaces, so this has to be said there"]);
}

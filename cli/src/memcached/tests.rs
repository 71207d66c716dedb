//! What memcached's command lines come to.

#![allow(clippy::unwrap_used)]

use clap::Parser;

use super::*;

#[derive(Debug, clap::Parser)]
#[command(no_binary_name = true, disable_version_flag = true)]
struct Line {
    #[command(flatten)]
    args: Args,
}

fn planned(line: &str) -> Result<Plan> {
    plan(&Line::try_parse_from(line.split_whitespace())?.args)
}

/// The value behind a flag of `freeway serve`.
fn value(plan: &Plan, flag: &str) -> Option<String> {
    let at = plan.serve.iter().position(|word| word == flag)?;
    Some(plan.serve.get(at + 1)?.to_str()?.to_owned())
}

#[test]
fn defaults_are_memcached_s() {
    let plan = planned("--cores 0").unwrap();
    for (flag, wanted) in [
        ("--cache", "11211"),
        ("--cache-udp", "0"),
        ("--cache-memory", "64M"),
        ("--cache-item-max", "1048576"),
        ("--max-connections", "1024"),
        ("--http", "0"),
    ] {
        assert_eq!(value(&plan, flag).as_deref(), Some(wanted), "{flag}");
    }
    assert_eq!(plan.notes, [] as [&str; 0]);
    let settings = &plan.settings;
    assert!(settings.flush && settings.dump && settings.watch && settings.users.is_empty());
    // What it comes to is what `freeway serve` takes.
    Serve::try_parse_from(plan.serve).unwrap();
}

#[test]
fn a_usual_line_says_what_it_says_there() {
    let plan = planned(
        "-p 11222 -U 11223 -m 1024 -l 198.18.0.2 -I 4m -c 100000 -B ascii -F -X -W -A -vv --cores 0 --dev tap:fw0",
    )
    .unwrap();
    for (flag, wanted) in [
        ("--cache", "11222"),
        ("--cache-udp", "11223"),
        ("--cache-memory", "1024M"),
        ("--cache-item-max", "4194304"),
        ("--max-connections", "100000"),
        ("--addr", "198.18.0.2/24"),
        ("--dev", "tap:fw0"),
    ] {
        assert_eq!(value(&plan, flag).as_deref(), Some(wanted), "{flag}");
    }
    assert!(plan.serve.iter().any(|word| word == "--cache-shutdown"));
    assert_eq!(
        plan.settings,
        serve::CacheSettings {
            protocol: Protocol::Text,
            users: Vec::new(),
            flush: false,
            dump: false,
            watch: false,
            idle_timeout: 0,
            track_sizes: false,
        }
    );
    Serve::try_parse_from(plan.serve).unwrap();
}

#[test]
fn flags_without_meaning_are_noted() {
    let plan =
        planned("-u nobody -k -r -f 1.25 -n 48 -L -D : -R 20 -C -b 1024 -a 700 -N 2 -o modern --cores 0")
            .unwrap();
    assert_eq!(plan.notes.len(), 13, "{:#?}", plan.notes);
}

#[test]
fn flags_that_ask_for_what_is_not_here_are_refused() {
    for (line, flag) in
        [("-s /tmp/a", "-s"), ("-d", "-d"), ("-M", "-M"), ("-S", "-S"), ("-e /tmp/a", "-e"), ("-Z", "-Z")]
    {
        let error = planned(&format!("{line} --cores 0")).unwrap_err().to_string();
        assert!(error.starts_with(&format!("{flag} is refused: ")), "{error}");
    }
}

#[test]
fn flags_that_contradict_are_refused() {
    for line in [
        "-p 0",
        "-c 0",
        "-m 0",
        "-I 1023",
        "-I 1025m -m 4096",
        "-I 40m -m 64",
        "-t 0",
        "-t 2 --cores 0",
        "-l 198.18.0.2 --addr 198.18.0.3/24",
        "-l 198.18.0.2 --shared-address",
        "-Y /nowhere",
        "-B morse",
    ] {
        let line = if line.contains("-t") { line.to_owned() } else { format!("{line} --cores 0") };
        assert!(planned(&line).is_err(), "{line}");
    }
}

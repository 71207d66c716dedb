//! Every file of `scenarios/` is a test over each version of IP; its name says what it shows.
//!
//! `cargo test -p freeway-script --test scenarios -- must-36` runs those whose name has that in it.

use std::fs;
use std::path::Path;

use freeway_script::{Scenario, Version, run};
use libtest_mimic::{Arguments, Trial};

fn main() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let files = fs::read_dir(&folder).expect("the folder is there");
    let mut trials = Vec::new();
    for path in files.map(|entry| entry.expect("an entry").path()) {
        let name = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or("?").to_owned();
        let text = fs::read_to_string(&path).expect("the scenario is text");
        for version in Scenario::versions(&text) {
            let (name, text) = (format!("{name} ({})", version.name()), text.clone());
            trials.push(Trial::test(name, move || hold(&text, version).map_err(Into::into)));
        }
    }
    trials.sort_by(|a, b| a.name().cmp(b.name()));
    assert!(trials.len() >= 250, "only {} scenarios were found", trials.len());
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}

fn hold(text: &str, version: Version) -> Result<(), String> {
    let scenario = Scenario::parse(text, version).map_err(|error| error.to_string())?;
    run(&scenario).map_err(|failure| format!("line {}: {:#}", failure.line, failure.what))
}

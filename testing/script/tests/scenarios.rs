//! Every file of `scenarios/` is a test: its name says what it shows.

use std::fs;
use std::path::Path;

use freeway_script::{Scenario, run};

#[test]
fn all_scenarios_hold() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let mut files: Vec<_> = fs::read_dir(&folder)
        .expect("the folder is there")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    files.sort();
    let mut failures = Vec::new();
    let mut count = 0;
    for file in files.iter().filter(|file| file.extension().is_some_and(|ending| ending == "pkt")) {
        count += 1;
        let text = fs::read_to_string(file).expect("the scenario is text");
        let name = file.file_stem().and_then(|stem| stem.to_str()).unwrap_or("?");
        match Scenario::parse(&text) {
            Err(error) => failures.push(format!("{name}: {error}")),
            Ok(scenario) => {
                if let Err(failure) = run(&scenario) {
                    failures.push(format!("{name}, line {}: {:#}", failure.line, failure.what));
                }
            }
        }
    }
    assert!(count >= 20, "only {count} scenarios were found");
    assert!(failures.is_empty(), "{} of {count} scenarios failed:\n{}", failures.len(), failures.join("\n"));
}

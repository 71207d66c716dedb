//! `docs/conformance.md` is whole: every clause has one row, what a row names exists, and every scenario is named.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The clauses that must have a row beside those of RFC 9293 that have a number.
const CLAUSES: [&str; 41] = [
    "reserved bits",
    "reset group 1",
    "reset group 2",
    "reset group 3",
    "RST processing",
    "no RST to RST",
    "ACK-less",
    "closing",
    "trimming",
    "1122-IP",
    "1122-REAS",
    "5722/6946",
    "8200-EXT",
    "1191/8201",
    "5961-3",
    "5961-4",
    "5961-5",
    "5961-7",
    "6298-2",
    "6298-5",
    "5681-3.1",
    "5681-3.2",
    "5681-4.1",
    "6582",
    "2018/2883",
    "6675",
    "3042",
    "6937/9937",
    "8985-RACK",
    "8985-TLP",
    "7323-2",
    "7323-3",
    "7323-5",
    "9438-4",
    "3168-6.1",
    "4987",
    "6056",
    "7413",
    "1337",
    "6691/6429",
    "MAY-4",
];

/// RFC 9293, appendix B, numbers its requirements from 1 to these.
const NUMBERED: [(&str, u32); 2] = [("MUST-", 69), ("SHLD-", 31)];

/// A row of the table.
struct Row {
    line: usize,
    id: String,
    state: String,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn rows() -> Vec<Row> {
    let text = read(&root().join("docs/conformance.md"));
    let mut rows = Vec::new();
    for (index, line) in text.lines().enumerate().filter(|(_, line)| line.starts_with("| ")) {
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        let &[id, clause, state] = cells.as_slice() else { panic!("line {}: not three cells", index + 1) };
        assert!(!clause.is_empty(), "line {}: no clause", index + 1);
        if id != "id" {
            rows.push(Row { line: index + 1, id: id.to_owned(), state: state.to_owned() });
        }
    }
    rows
}

/// The numbers of `kind` in an id such as `MUST-8, SHLD-1, MUST-36/37, SHLD-15..17`.
fn numbers(id: &str, kind: &str) -> Vec<u32> {
    let mut numbers = Vec::new();
    for (at, _) in id.match_indices(kind) {
        let list = &id[at + kind.len()..];
        let list =
            &list[..list.find(|c: char| !(c.is_ascii_digit() || c == '/' || c == '.')).unwrap_or(list.len())];
        for part in list.split('/') {
            let (first, last) = part.split_once("..").unwrap_or((part, part));
            let number =
                |text: &str| text.parse::<u32>().unwrap_or_else(|_| panic!("'{id}' is no list of numbers"));
            numbers.extend(number(first)..=number(last));
        }
    }
    numbers
}

/// The links of a cell: text and target.
fn links(cell: &str) -> Vec<(&str, &str)> {
    let mut links = Vec::new();
    for part in cell.split('[').skip(1) {
        let Some((text, rest)) = part.split_once("](") else { continue };
        let Some((target, _)) = rest.split_once(')') else { continue };
        links.push((text, target));
    }
    links
}

/// Every scenario's name.
fn scenarios() -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let entries = fs::read_dir(folder).expect("the folder is there");
    entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("a plain name")).collect()
}

#[test]
fn every_clause_has_one_row() {
    let rows = rows();
    for (kind, last) in NUMBERED {
        let mut seen = BTreeMap::new();
        for number in rows.iter().flat_map(|row| numbers(&row.id, kind)) {
            *seen.entry(number).or_insert(0) += 1;
        }
        for number in 1..=last {
            assert_eq!(seen.remove(&number), Some(1), "rows for {kind}{number}");
        }
        assert!(seen.is_empty(), "{kind} has no numbers {:?}", seen.keys());
    }
    for clause in CLAUSES {
        assert_eq!(rows.iter().filter(|row| row.id == clause).count(), 1, "rows for {clause}");
    }
    for row in &rows {
        let count = rows.iter().filter(|other| other.id == row.id).count();
        assert_eq!(count, 1, "line {}: {} has {count} rows", row.line, row.id);
    }
}

#[test]
fn every_row_says_what_shows_it() {
    for Row { line, id, state } in rows() {
        let links = links(&state);
        if state.starts_with("holds") {
            assert!(!links.is_empty(), "line {line}: {id} holds, but nothing shows it");
        } else if state.starts_with("differs, because ") {
            assert!(!links.is_empty(), "line {line}: {id} differs, but nothing shows how");
        } else {
            assert!(
                state.starts_with("not yet: "),
                "line {line}: {id} neither holds, nor differs, nor is not yet"
            );
        }
        for (text, target) in links {
            check(line, text, target);
        }
    }
}

/// A link to a scenario has its name; one to a source file the name of a function there.
fn check(line: usize, text: &str, target: &str) {
    let path = root().join("docs").join(target);
    let content = read(&path);
    match path.extension().and_then(|ending| ending.to_str()) {
        Some("pkt") => {
            let name = path.file_stem().and_then(|stem| stem.to_str());
            assert_eq!(name, Some(text), "line {line}: the link's text is another scenario's");
        }
        Some("rs") => {
            let function = format!("fn {}(", text.trim_matches('`'));
            assert!(content.contains(&function), "line {line}: {target} has no {function})");
        }
        _ => panic!("line {line}: {target} is neither a scenario nor a source file"),
    }
}

#[test]
fn every_scenario_is_named() {
    let mut documents =
        vec![root().join("README.md"), root().join("ARCHITECTURE.md"), root().join("CONTRIBUTING.md")];
    let docs = fs::read_dir(root().join("docs")).expect("the folder is there");
    documents
        .extend(docs.map(|entry| entry.expect("an entry").path()).filter(|path| path.extension().is_some()));
    let text: String = documents.iter().map(|path| read(path)).collect();
    let names = scenarios();
    assert!(names.len() > 100, "only {} scenarios were found", names.len());
    for name in names {
        assert!(name.ends_with(".pkt"), "{name} is no scenario");
        assert!(text.contains(&format!("/{name})")), "{name} is named by no document");
    }
}

#[test]
fn lists_of_numbers_are_understood() {
    assert_eq!(numbers("MUST-8, SHLD-1, MUST-9", "MUST-"), [8, 9]);
    assert_eq!(numbers("MUST-36/37, SHLD-29/30", "SHLD-"), [29, 30]);
    assert_eq!(numbers("MUST-30..33, MUST-62, SHLD-13", "MUST-"), [30, 31, 32, 33, 62]);
    assert_eq!(links("holds: [a](b.pkt), [`c`](d.rs)"), [("a", "b.pkt"), ("`c`", "d.rs")]);
}

//! Which crate may name which: the one table.
//!
//! A row says what the crates of a directory may depend on inside this workspace, by `[dependencies]` and
//! `[build-dependencies]` alike. `crates/base` is open to everyone and stands in no row. A pattern `apps/*` means
//! every crate of that directory. The first row that fits a crate is its row, so exceptions stand above the rule.
//!
//! `[dev-dependencies]` obey the same row, but any crate's tests may use `testing/*`.

/// One crate (or one directory of crates) and what it may use.
pub struct Row {
    /// The crate's directory, or `directory/*`.
    pub who: &'static str,
    /// Directories of crates it may depend on; `*` is the whole workspace.
    pub may_use: &'static [&'static str],
}

const fn row(who: &'static str, may_use: &'static [&'static str]) -> Row {
    Row { who, may_use }
}

/// The house, from the ground up.
#[rustfmt::skip]
pub const EDGES: &[Row] = &[
    row("crates/base",        &[]),
    row("crates/wire",        &[]),
    row("crates/tcp",         &["crates/wire"]),
    row("crates/mem",         &[]),
    row("crates/collections", &["crates/mem"]),
    row("crates/port",        &["crates/mem"]),
    row("crates/stack",       &["crates/wire", "crates/tcp", "crates/mem", "crates/collections"]),
    row("crates/filter",      &["crates/wire"]),
    row("crates/runtime",     &["crates/wire", "crates/tcp", "crates/mem", "crates/port", "crates/stack", "crates/filter"]),
    row("crates/freeway",     &["crates/wire", "crates/tcp", "crates/mem", "crates/port", "crates/stack", "crates/runtime"]),
    row("crates/async",       &["crates/freeway"]),
    // It reads what cores publish; its tests run a core.
    row("crates/control",     &["crates/wire", "crates/mem", "crates/port", "crates/tcp", "crates/stack", "crates/runtime", "crates/filter"]),
    // It looks into frames: sums that Linux left unfilled, and neighbours that Linux knows on a shared address.
    row("drivers/afxdp",      &["crates/wire", "crates/mem", "crates/port"]),
    row("drivers/*",          &["crates/mem", "crates/port"]),
    // Its items are as much a core's memory as the stack's tables: the same arena, the same index, the same hints.
    row("apps/cache",         &["crates/mem", "crates/collections", "crates/freeway", "apps/*"]),
    row("apps/*",             &["crates/freeway", "apps/*"]),
    row("cli",                &["crates/freeway", "crates/runtime", "crates/control", "drivers/*", "apps/*"]),
    row("examples",           &["crates/freeway", "crates/async", "drivers/*"]),
    // The simulator stays on its virtual clock: nothing that opens a device or a socket.
    row("testing/sim",        &["crates/wire", "crates/tcp", "crates/mem", "crates/collections", "crates/port", "crates/stack", "crates/runtime", "crates/freeway", "crates/async", "apps/*"]),
    row("testing/*",          &["*"]),
    row("xtask",              &[]),
];

/// Open to everyone.
const GROUND: &str = "crates/base";

/// Which table of a manifest an edge comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// `[dependencies]`
    Normal,
    /// `[build-dependencies]`
    Build,
    /// `[dev-dependencies]`
    Dev,
}

/// One dependency between two crates of the workspace, both by directory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Edge {
    /// The crate that depends.
    pub from: String,
    /// The crate depended on.
    pub to: String,
    /// How.
    pub kind: Kind,
}

/// What `table` says against `crates` (their directories) and the `edges` between them; empty when all is well.
pub fn check(table: &[Row], crates: &[String], edges: &[Edge]) -> Vec<String> {
    let homeless = crates.iter().filter(|dir| row_of(table, dir).is_none()).map(|dir| {
        format!("{dir}: the crate has no row in xtask/src/edges.rs; add one that says what it may use")
    });
    let forbidden = edges.iter().filter(|edge| !allowed(table, edge)).map(|Edge { from, to, kind }| {
        format!(
            "{from}/Cargo.toml: {from} may not use {to} ({kind:?} dependency); remove it, or change the design and \
             xtask/src/edges.rs with it"
        )
    });
    homeless.chain(forbidden).collect()
}

fn allowed(table: &[Row], edge: &Edge) -> bool {
    if edge.to == GROUND || (edge.kind == Kind::Dev && fits("testing/*", &edge.to)) {
        return true;
    }
    // A crate without a row is reported once, as such, not once more for each of its edges.
    row_of(table, &edge.from).is_none_or(|row| row.may_use.iter().any(|pattern| fits(pattern, &edge.to)))
}

fn row_of<'a>(table: &'a [Row], dir: &str) -> Option<&'a Row> {
    table.iter().find(|row| fits(row.who, dir))
}

fn fits(pattern: &str, dir: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => dir.starts_with(prefix),
        None => pattern == dir,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edge(from: &str, to: &str, kind: Kind) -> Edge {
        Edge { from: from.into(), to: to.into(), kind }
    }

    fn is_allowed(from: &str, to: &str) -> bool {
        check(EDGES, &[], &[edge(from, to, Kind::Normal)]).is_empty()
    }

    #[test]
    fn edges_of_the_table_pass() {
        for (from, to) in [
            ("crates/tcp", "crates/wire"),
            ("crates/tcp", "crates/base"),
            ("crates/collections", "crates/mem"),
            ("crates/runtime", "crates/wire"),
            ("drivers/tap", "crates/port"),
            ("apps/httpd", "apps/http1"),
            ("cli", "drivers/tap"),
            ("testing/interop", "drivers/tap"),
            ("testing/sim", "apps/echo"),
        ] {
            assert!(is_allowed(from, to), "{from} -> {to}");
        }
    }

    #[test]
    fn edges_outside_the_table_fail() {
        for (from, to) in [
            ("crates/base", "crates/wire"),
            ("crates/wire", "crates/tcp"),
            ("crates/stack", "crates/port"),
            ("crates/stack", "crates/runtime"),
            ("crates/port", "crates/wire"),
            ("drivers/tap", "crates/stack"),
            ("apps/echo", "crates/stack"),
            ("apps/echo", "drivers/tap"),
            ("crates/freeway", "drivers/tap"),
            ("testing/sim", "drivers/tap"),
            ("testing/sim", "crates/control"),
            ("testing/sim", "testing/interop"),
            ("xtask", "crates/mem"),
        ] {
            assert!(!is_allowed(from, to), "{from} -> {to}");
        }
    }

    #[test]
    fn build_dependencies_count_like_normal_ones() {
        let found = check(EDGES, &[], &[edge("crates/wire", "crates/mem", Kind::Build)]);
        assert_eq!(found.len(), 1);
        assert!(found[0].starts_with("crates/wire/Cargo.toml: crates/wire may not use crates/mem (Build"));
    }

    #[test]
    fn tests_may_use_testing_and_nothing_else_beside_their_row() {
        let dev = |to| check(EDGES, &[], &[edge("crates/tcp", to, Kind::Dev)]).len();
        assert_eq!(dev("testing/script"), 0);
        assert_eq!(dev("crates/runtime"), 1);
    }

    #[test]
    fn a_crate_without_a_row_is_reported_once() {
        let found = check(EDGES, &["crates/new".into()], &[edge("crates/new", "crates/mem", Kind::Normal)]);
        assert_eq!(found.len(), 1);
        assert!(found[0].starts_with("crates/new: the crate has no row"));
    }
}

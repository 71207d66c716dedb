//! `cargo xtask`: the project's chores, the same for people and for CI.

#![forbid(unsafe_code)]

mod book;
mod ci;
mod deny;
mod deps;
mod edges;
mod fuzz;
mod interop;
mod loom;
mod memory;
mod package;
mod pgo;
mod shell;
mod tidy;
mod xdp;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// The project's chores.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Clone, Copy, Subcommand)]
enum Chore {
    /// Check the rules no compiler checks: crate edges, unsafe islands, file headers, no_std, length, links
    Tidy,
    /// Everything that must pass before a change is taken, in order; stops at the first failure
    Ci {
        /// Print the steps and run nothing
        #[arg(long)]
        list: bool,
    },
    /// Run the unsafe islands under Miri, or under AddressSanitizer where Miri is not installed
    Miri,
    /// Run the lock-free rings through every interleaving
    Loom,
    /// Run every fuzz target for a while
    Fuzz {
        /// Time for each target
        #[arg(long, default_value_t = 60)]
        seconds: u32,
    },
    /// Run the tests against Linux in network namespaces (needs root)
    Interop,
    /// Compile the XDP program once more and compare it with the object that is kept (needs clang 14)
    Xdp {
        /// Replace the object instead
        #[arg(long)]
        write: bool,
    },
    /// Check licences and sources of all dependencies, and advisories where cargo-deny is installed
    Deny,
    /// Check the book's summary, and build the book where mdbook is installed
    Book,
    /// Build the command with a profile of its own work, which makes it faster (needs rustup's llvm-tools)
    Pgo,
    /// Make the Debian package, with manual pages and shell completions (needs cargo-deb)
    Package {
        /// Of the command as `pgo` builds it
        #[arg(long)]
        pgo: bool,
    },
    /// Print the Debian packages that the privileged tests need
    Deps,
}

fn main() -> ExitCode {
    let root = root();
    match run(&root, Arguments::parse().chore) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(root: &Path, chore: Chore) -> Result<()> {
    match chore {
        Chore::Tidy => tidy::run(root),
        Chore::Ci { list: true } => {
            ci::list();
            Ok(())
        }
        Chore::Ci { list: false } => ci::run(root),
        Chore::Miri => memory::run(root),
        Chore::Loom => loom::run(root),
        Chore::Fuzz { seconds } => fuzz::run(root, seconds),
        Chore::Interop => interop::run(root),
        Chore::Xdp { write } => xdp::run(root, write),
        Chore::Deny => deny::run(root),
        Chore::Book => book::run(root),
        Chore::Pgo => pgo::run(root).map(drop),
        Chore::Package { pgo } => package::run(root, pgo),
        Chore::Deps => {
            deps::list();
            Ok(())
        }
    }
}

/// The workspace's root: this crate lies one directory below it.
fn root() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.parent().unwrap_or(own).to_path_buf()
}

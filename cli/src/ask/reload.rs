//! `freeway reload`: has a server read its settings anew.

use anyhow::{Result, bail};

use super::Whom;

/// Has a running server read its file of settings, its certificates and its documents anew, and open its log anew. No
/// connection is lost. It says what the server took, and what waits for its next start.
///
/// Example: freeway reload
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    whom: Whom,
}

pub(super) fn run(args: &Args) -> Result<()> {
    let outcome = args.whom.connect()?.reload()?;
    for line in outcome.lines() {
        println!("{line}");
    }
    if !outcome.wrong.is_empty() {
        bail!("{}", if outcome.changed { "not everything could be changed" } else { "nothing was changed" });
    }
    Ok(())
}

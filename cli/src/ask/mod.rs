//! Commands that ask a running server by its admin socket.

mod cycles;
mod pcap;
mod reload;
mod screen;
mod ss;
mod stats;
mod top;

use std::path::PathBuf;

use anyhow::Result;
use freeway_control::{Client, admin};

pub(crate) use cycles::Args as CyclesArgs;
pub(crate) use pcap::Args as PcapArgs;
pub(crate) use reload::Args as ReloadArgs;
pub(crate) use ss::Args as SsArgs;
pub(crate) use stats::Args as StatsArgs;
pub(crate) use top::Args as TopArgs;

/// Which server is asked.
#[derive(Debug, clap::Args)]
pub(crate) struct Whom {
    /// The server's admin socket [default: that of a server that was not told another]
    #[arg(long, value_name = "SOCKET")]
    admin: Option<PathBuf>,
}

impl Whom {
    fn connect(&self) -> Result<Client> {
        let path = self.admin.clone().unwrap_or_else(admin::default_path);
        Ok(Client::connect(&path)?)
    }
}

pub(crate) fn stats(args: &StatsArgs) -> Result<()> {
    stats::run(args)
}

pub(crate) fn reload(args: &ReloadArgs) -> Result<()> {
    reload::run(args)
}

pub(crate) fn cycles(args: &CyclesArgs) -> Result<()> {
    cycles::run(args)
}

pub(crate) fn top(args: &TopArgs) -> Result<()> {
    top::run(args)
}

pub(crate) fn ss(args: &SsArgs) -> Result<()> {
    ss::run(args)
}

pub(crate) fn pcap(args: &PcapArgs) -> Result<()> {
    pcap::run(args)
}

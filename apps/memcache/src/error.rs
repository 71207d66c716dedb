//! What memcached answers to what it does not take, word by word.

use crate::sink::Sink;

macro_rules! refusals {
    ($($(#[$meta:meta])* $name:ident = $line:literal;)*) => {
        /// A reason not to do what was asked, as the line that says it.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        pub enum Refusal {
            $($(#[$meta])* $name,)*
        }

        impl Refusal {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The line, without its end.
            pub const fn line(self) -> &'static str {
                match self {
                    $(Self::$name => $line,)*
                }
            }
        }
    };
}

refusals! {
    /// There is no such command.
    Unknown = "ERROR";
    /// Too few arguments, one that is no number, or a key over 250 bytes.
    BadFormat = "CLIENT_ERROR bad command line format";
    /// delete with more than a key, the zero of old clients and noreply.
    BadDelete = "CLIENT_ERROR bad command line format.  Usage: delete <key> [noreply]";
    /// `stats` lacks arguments.
    BadLine = "CLIENT_ERROR bad command line";
    /// A time to live that is no number.
    BadExptime = "CLIENT_ERROR invalid exptime argument";
    /// The step of incr or decr is no number.
    BadDelta = "CLIENT_ERROR invalid numeric delta argument";
    /// A value did not end where its command said.
    BadChunk = "CLIENT_ERROR bad data chunk";
    /// incr or decr of what is no number.
    NonNumeric = "CLIENT_ERROR cannot increment or decrement non-numeric value";
    /// More bytes than an item may have (`-I`).
    TooLarge = "SERVER_ERROR object too large for cache";
    /// No memory can be made free for the value.
    OutOfMemory = "SERVER_ERROR out of memory storing object";
    /// The same for the result of incr, decr or a tombstone.
    OutOfMemoryShort = "SERVER_ERROR out of memory";
    /// The same for the number that `ma` creates.
    OutOfMemoryNew = "SERVER_ERROR Out of memory allocating new item";
    /// An answer could not be built.
    OutOfMemoryGet = "SERVER_ERROR out of memory writing get response";
    /// The same flag twice, or one that is no letter.
    DuplicateFlag = "CLIENT_ERROR duplicate flag";
    /// A flag that there is not.
    InvalidFlag = "CLIENT_ERROR invalid flag";
    /// Either, of `ma`.
    InvalidOrDuplicateFlag = "CLIENT_ERROR invalid or duplicate flag";
    /// More than 20 words in a line.
    TooManyFlags = "CLIENT_ERROR options flags are too long";
    /// A flag's number is none.
    BadToken = "CLIENT_ERROR bad token in command line format";
    /// A key that is not base64.
    BadKeyEncoding = "CLIENT_ERROR error decoding key";
    /// The J of `ma` is no number.
    BadInitial = "CLIENT_ERROR invalid numeric initial value";
    /// The D of `ma` is no number.
    BadDeltaFlag = "CLIENT_ERROR invalid numeric delta value";
    /// An opaque over 32 bytes with its letter.
    OpaqueTooLong = "CLIENT_ERROR opaque token too long";
    /// The M of `ms`.
    BadSetMode = "CLIENT_ERROR invalid mode for ms M token";
    /// The M of `ma`.
    BadArithmeticMode = "CLIENT_ERROR invalid mode for ma M token";
    /// A command before the password.
    Unauthenticated = "CLIENT_ERROR unauthenticated";
    /// The password's line does not end where it said.
    BadAuthTermination = "CLIENT_ERROR bad command line termination";
    /// Not a name and a password.
    BadAuthFormat = "CLIENT_ERROR bad authentication token format";
    /// The wrong name or password.
    AuthFailure = "CLIENT_ERROR authentication failure";
    /// `flush_all` was switched off (`-F`).
    FlushNotAllowed = "CLIENT_ERROR flush_all not allowed";
    /// `stats cachedump` was switched off (`-X`).
    CachedumpNotAllowed = "CLIENT_ERROR stats cachedump not allowed";
    /// `stats detail` was switched off (`-X`).
    DetailNotAllowed = "CLIENT_ERROR stats detail not allowed";
    /// `stats detail` with something else.
    DetailUsage = "CLIENT_ERROR usage: stats detail on|off|dump";
    /// A slab class that there is not, of `stats cachedump`.
    IllegalSlab = "CLIENT_ERROR Illegal slab id";
    /// `watch` was switched off (`-W`).
    WatchNotAllowed = "CLIENT_ERROR watch commands not allowed";
    /// `watch` behind other commands that are not answered yet.
    WatchPipelined = "ERROR cannot pipeline other commands before watch";
    /// There are as many watchers as there may be.
    TooManyWatchers = "WATCHER_TOO_MANY log watcher limit reached";
    /// A watcher could not be set up.
    WatchFailed = "WATCHER_FAILED failed to add log watcher";
    /// The metadump was switched off (`-X`).
    MetadumpNotAllowed = "ERROR metadump not allowed";
    /// The metadump behind other commands.
    MetadumpPipelined = "ERROR cannot pipeline other commands before metadump";
    /// The dump of keys was switched off (`-X`).
    MgdumpNotAllowed = "ERROR key dump not allowed";
    /// The dump of keys behind other commands.
    MgdumpPipelined = "ERROR cannot pipeline other commands before mgdump";
    /// The crawler was switched off.
    CrawlerDisabled = "CLIENT_ERROR lru crawler disabled";
    /// The crawler is at work.
    CrawlerBusy = "BUSY currently processing crawler request";
    /// A slab class that there is not, of the crawler.
    CrawlerBadClass = "BADCLASS invalid class id";
    /// Over a second.
    CrawlerSleep = "CLIENT_ERROR sleep must be one second or less";
    /// A share of the memory too large.
    LruShares = "ERROR hot and warm pcts must not exceed 80";
    /// A factor that must be over zero.
    LruFactors = "ERROR hot/warm age factors must be greater than 0";
    /// Slab pages cannot be moved by hand.
    SlabsDisabled = "CLIENT_ERROR slab reassignment disabled";
    /// A slab class that there is not, of `slabs reassign`.
    SlabsBadClass = "BADCLASS invalid src or dst class id";
    /// Under 8 MiB.
    MemlimitTooSmall = "MEMLIMIT_TOO_SMALL cannot set maxbytes to less than 8m";
    /// Over 10^9 MiB.
    MemlimitUnit = "MEMLIMIT_ADJUST_FAILED input value is megabytes not bytes";
    /// The limit cannot be what was asked.
    MemlimitFailed = "MEMLIMIT_ADJUST_FAILED out of bounds or unable to adjust";
    /// `shutdown` was not switched on (`-A`).
    ShutdownDisabled = "SERVER_ERROR: shutdown not enabled";
    /// `shutdown` in a mode that there is not.
    ShutdownMode = "CLIENT_ERROR invalid shutdown mode";
    /// A request that spans datagrams.
    MultiPacket = "SERVER_ERROR multi-packet request not supported";
}

impl Refusal {
    /// Writes the line and its end.
    pub fn emit(self, sink: &mut impl Sink) {
        sink.put(self.line().as_bytes());
        sink.put(b"\r\n");
    }
}

/// A request that was refused, and whether its sender asked for no answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Refused {
    /// Why.
    pub refusal: Refusal,
    /// `noreply` was understood: nothing is answered.
    pub quiet: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_short_and_differ() {
        for (place, refusal) in Refusal::ALL.iter().enumerate() {
            assert!(refusal.line().len() < 80, "{refusal:?}");
            assert!(Refusal::ALL[..place].iter().all(|other| other.line() != refusal.line()), "{refusal:?}");
        }
    }
}

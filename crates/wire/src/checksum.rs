//! The Internet checksum, RFC 1071: the one's complement of the one's complement sum of 16-bit words.
//!
//! One's complement addition does not care for byte order nor for how the words are grouped (RFC 1071 section 2), so
//! [`Sum`] adds words as the processor reads them, 64 bits at a time where that is fastest, and folds and swaps once,
//! at the end. The loops come in a short and a wide form; the wide one is written so that the compiler uses vectors.

mod kernel;
mod sum;
mod transport;
mod update;

pub use sum::{Sum, copy_and_sum, pseudo_header, pseudo_header_mapped, sum};
pub use transport::{fill_transport, fill_transport_parts, seed_transport, verify_transport};
pub use update::{update16, update32};

//! What two cores share: rings with one writer and one reader.
//!
//! ```text
//!            ┌────┬────┬────┬────┬────┬────┬────┬────┐
//!            │    │ c  │ d  │ e  │    │    │    │    │      capacity: a power of two
//!            └────┴────┴────┴────┴────┴────┴────┴────┘
//!                   ▲ head          ▲ tail
//!                   the reader's    the writer's           both only grow; a slot is index & mask
//!
//!   line 0-1   head, and that the reader lives     written by the reader
//!   line 2-3   tail, and that the writer lives     written by the writer
//!   line 4-5   slots, mask                         never written
//! ```
//!
//! Both indices are on cache lines of their own, two each, because the processor fetches lines in pairs. Either end
//! keeps a copy of the other's index and looks again only when the copy says that there is nothing to do: a batch
//! costs one transfer of a line, not one a value. What a slot holds is published by the index's release store and
//! seen by its acquire load; nothing else orders it, and nothing else need.
//!
//! [`spsc()`] moves values, [`frames()`] moves bytes.

mod frames;
mod indices;
mod spsc;
mod sync;

pub use frames::{FRAME_MAX, FrameConsumer, FrameProducer, frames};
pub use spsc::{Consumer, Producer, spsc};

const fn assert_send<T: Send>() {}
const _: () = {
    assert_send::<Producer<Box<u8>>>();
    assert_send::<Consumer<Box<u8>>>();
    assert_send::<FrameProducer>();
    assert_send::<FrameConsumer>();
};

//! A text that somebody outside of the cores makes anew now and then, such as a server's figures.
//!
//! ```text
//!   Publisher (any thread) ──► a place for each core ──► Published: the newest, and those that answers still send
//! ```
//!
//! Neither end waits for the other: each only tries the lock of the place, which is held for a swap. A core that finds it
//! held sends what it had; the publisher tries again. The last handle on a text is the publisher's, so no core frees one.

use std::sync::{Arc, Mutex, TryLockError};
use std::thread;
use std::time::Duration;

use freeway_http1::{Request, Status};

use super::{Context, Handler, Reply, Step};

/// Texts of different age that answers of one core send at once; beyond that, new answers send the newest of these.
const HELD: usize = 4;

/// Bits of a request's state that say how far its answer is; the others say which text it sends.
const OFFSET_BITS: u32 = 32;

/// How long the publisher rests between two tries.
const REST: Duration = Duration::from_micros(50);

type Text = Arc<[u8]>;
type Place = Arc<Mutex<Option<Text>>>;

/// Makes the text of all cores' [`Published`].
#[derive(Debug)]
pub struct Publisher {
    places: Vec<Place>,
    /// What was published and may still be in a core's hands.
    kept: Vec<Text>,
}

/// Sends the text that was published last. 503 answers before the first.
#[derive(Debug)]
pub struct Published {
    media_type: &'static str,
    place: Place,
    texts: [Option<Held>; HELD],
    /// Which of them is the newest.
    newest: usize,
}

#[derive(Debug)]
struct Held {
    text: Text,
    /// Answers that send it.
    users: u32,
}

impl Publisher {
    /// A publisher, and a handler for each of `cores`.
    pub fn new(media_type: &'static str, cores: usize) -> (Self, Vec<Published>) {
        let places: Vec<Place> = (0..cores).map(|_| Place::default()).collect();
        let handler = |place: &Place| Published {
            media_type,
            place: Arc::clone(place),
            texts: [const { None }; HELD],
            newest: 0,
        };
        let handlers = places.iter().map(handler).collect();
        (Self { places, kept: Vec::new() }, handlers)
    }

    /// Publishes `text`, of at most 4 GiB less a byte; answers that have begun go on with what they began.
    pub fn publish(&mut self, text: Text) {
        for place in &self.places {
            loop {
                match place.try_lock() {
                    Ok(mut place) => {
                        *place = Some(Arc::clone(&text));
                        break;
                    }
                    Err(TryLockError::WouldBlock) => thread::sleep(REST),
                    // The core that held it has panicked: nobody asks there any more.
                    Err(TryLockError::Poisoned(_)) => break,
                }
            }
        }
        self.kept.push(text);
        self.kept.retain(|kept| Arc::strong_count(kept) > 1);
    }
}

impl Published {
    /// Takes the newest text, if there is a place for it.
    fn refresh(&mut self) {
        let Ok(place) = self.place.try_lock() else { return };
        let Some(text) = place.as_ref() else { return };
        let is_newest = |held: &Held| Arc::ptr_eq(&held.text, text);
        if self.texts.get(self.newest).is_some_and(|held| held.as_ref().is_some_and(is_newest)) {
            return;
        }
        let is_free = |held: &Option<Held>| held.as_ref().is_none_or(|held| held.users == 0);
        if let Some(free) = self.texts.iter().position(is_free) {
            self.texts[free] = Some(Held { text: Arc::clone(text), users: 0 });
            self.newest = free;
        }
    }

    /// Writes on, as far as there is room.
    fn write(&mut self, state: &mut u64, reply: &mut Reply<'_>) -> Step {
        let place = (*state >> OFFSET_BITS) as usize;
        let Some(Some(held)) = self.texts.get(place) else { return Step::Done };
        let sent = (*state & u64::from(u32::MAX)) as usize;
        let rest = held.text.get(sent..).unwrap_or_default();
        let written = reply.write(rest);
        if written < rest.len() {
            *state += written as u64;
            return Step::More;
        }
        self.abandoned(*state);
        Step::Done
    }
}

impl Handler for Published {
    fn request(
        &mut self,
        _request: &Request<'_, '_>,
        state: &mut u64,
        reply: &mut Reply<'_>,
        _context: &mut Context<'_>,
    ) -> Step {
        self.refresh();
        let newest = self.newest;
        let Some(Some(held)) = self.texts.get_mut(newest) else {
            return Step::Refuse(Status::SERVICE_UNAVAILABLE);
        };
        if !reply.start(Status::OK, self.media_type, Some(held.text.len() as u64)) {
            return Step::Refuse(Status::SERVICE_UNAVAILABLE);
        }
        held.users += 1;
        *state = (newest as u64) << OFFSET_BITS;
        self.write(state, reply)
    }

    fn more(&mut self, state: &mut u64, reply: &mut Reply<'_>) -> Step {
        self.write(state, reply)
    }

    fn abandoned(&mut self, state: u64) {
        if let Some(Some(held)) = self.texts.get_mut((state >> OFFSET_BITS) as usize) {
            held.users = held.users.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn newest(handler: &mut Published) -> Option<Vec<u8>> {
        handler.refresh();
        handler.texts[handler.newest].as_ref().map(|held| held.text.to_vec())
    }

    #[test]
    fn every_core_has_the_newest_and_the_publisher_keeps_what_is_in_use() {
        let (mut publisher, mut handlers) = Publisher::new("text/plain", 2);
        assert_eq!(newest(&mut handlers[0]), None);
        for text in ["one", "two", "three"] {
            publisher.publish(text.as_bytes().into());
            assert_eq!(newest(&mut handlers[0]), Some(text.as_bytes().to_vec()));
        }
        assert_eq!(newest(&mut handlers[1]), Some(b"three".to_vec()));
        // Core 0 has had all three; those that it let go of have no handle but the publisher's, until the next.
        publisher.publish(b"four"[..].into());
        assert!(publisher.kept.len() <= 4, "{}", publisher.kept.len());
    }

    #[test]
    fn answers_under_way_keep_their_text_and_a_lock_that_is_held_costs_nobody_time() {
        let (mut publisher, mut handlers) = Publisher::new("text/plain", 1);
        let handler = &mut handlers[0];
        for n in 0..HELD as u8 {
            publisher.publish([n][..].into());
            assert_eq!(newest(handler), Some(vec![n]));
            handler.texts[handler.newest].as_mut().unwrap().users = 1;
        }
        publisher.publish(b"no place for it"[..].into());
        assert_eq!(newest(handler), Some(vec![HELD as u8 - 1]), "the newest of those held");
        handler.abandoned(1 << OFFSET_BITS);
        assert_eq!(newest(handler), Some(b"no place for it".to_vec()));
        assert_eq!(handler.newest, 1);

        let place = Arc::clone(&handler.place);
        let held = place.lock().unwrap();
        assert_eq!(newest(handler), Some(b"no place for it".to_vec()));
        drop(held);
    }
}

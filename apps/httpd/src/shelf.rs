//! One core's documents, lent to its stack.
//!
//! A new tree is put on the shelf a few documents a turn, and takes the old one's place when it is all there. A document
//! that the tree no longer has goes when the last answer that sends it is done.

use std::rc::Rc;
use std::sync::Arc;

use freeway::{Lent, Stack};

use crate::document::Document;
use crate::library::Feed;
use crate::tree::Tree;

/// Documents looked at in one turn while a new tree is put up.
const STEP: usize = 128;

/// A document on the shelf.
struct Book {
    document: Arc<Document>,
    /// Its bytes in the stack's hands, if they are in memory and there are any.
    lent: Option<Lent>,
    /// Answers that send it.
    users: u32,
    /// The tree no longer has it.
    retired: bool,
}

/// `Arc`-shared bytes as memory that a stack can be lent.
struct Shared(Arc<[u8]>);

impl AsRef<[u8]> for Shared {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// All documents of one core.
pub(crate) struct Shelf {
    feed: Feed,
    books: Vec<Option<Book>>,
    /// A tree that is being put up, and how far.
    coming: Option<(Arc<Tree>, usize)>,
    /// How far the shelf has been cleared of what the tree no longer has; past the end when it is done.
    cleared: usize,
    /// How many trees came after the first.
    changes: u32,
}

impl Shelf {
    /// Puts up all of the first tree at once.
    pub(crate) fn new<S: Copy + Default + 'static>(feed: Feed, stack: &mut Stack<S>) -> Self {
        let places = (feed.documents_max as usize).max(feed.tree.documents.len());
        let books = std::iter::repeat_with(|| None).take(places).collect();
        let mut shelf = Self { feed, books, coming: None, cleared: places, changes: 0 };
        let tree = Arc::clone(&shelf.feed.tree);
        for document in tree.documents.iter().flatten() {
            shelf.put(document, stack);
        }
        shelf
    }

    /// What can be asked for now.
    pub(crate) fn tree(&self) -> &Tree {
        &self.feed.tree
    }

    /// Tells one tree from those before it.
    pub(crate) const fn changes(&self) -> u32 {
        self.changes
    }

    /// The document of that number.
    pub(crate) fn document(&self, number: u32) -> Option<&Document> {
        self.book(number).map(|book| &*book.document)
    }

    /// The same, for a thread that reads it.
    pub(crate) fn share(&self, number: u32) -> Option<Arc<Document>> {
        self.book(number).map(|book| Arc::clone(&book.document))
    }

    /// The document's bytes in the stack's hands.
    pub(crate) fn lent(&self, number: u32) -> Option<Lent> {
        self.book(number)?.lent
    }

    /// An answer begins to send a document beyond this turn.
    pub(crate) fn hold(&mut self, number: u32) {
        if let Some(book) = self.books.get_mut(number as usize).and_then(Option::as_mut) {
            book.users += 1;
        }
    }

    /// It is done with it.
    pub(crate) fn release(&mut self, number: u32) {
        let Some(book) = self.books.get_mut(number as usize).and_then(Option::as_mut) else { return };
        book.users = book.users.saturating_sub(1);
        if book.users == 0 && book.retired {
            // The next turns clear the shelf.
            self.cleared = 0;
        }
    }

    /// Does a bounded part of what a new tree asks for. Nothing, when there is none.
    #[inline]
    pub(crate) fn turn<S: Copy + Default + 'static>(&mut self, stack: &mut Stack<S>) {
        if self.is_busy() || !self.feed.updates.is_empty() {
            self.work(stack);
        }
    }

    /// Whether there is more to do.
    pub(crate) fn is_busy(&self) -> bool {
        self.coming.is_some() || self.cleared < self.books.len()
    }

    fn work<S: Copy + Default + 'static>(&mut self, stack: &mut Stack<S>) {
        if self.cleared < self.books.len() {
            return self.clear(stack);
        }
        let Some((tree, from)) = self.coming.take().or_else(|| self.feed.updates.pop().map(|tree| (tree, 0)))
        else {
            return;
        };
        let to = tree.documents.len().min(from + STEP);
        for document in tree.documents.get(from..to).unwrap_or_default().iter().flatten() {
            if self.book(document.number).is_none() {
                self.put(document, stack);
            }
        }
        if to < tree.documents.len() {
            self.coming = Some((tree, to));
        } else {
            self.feed.tree = tree;
            self.changes = self.changes.wrapping_add(1);
            self.cleared = 0;
        }
    }

    fn clear<S: Copy + Default + 'static>(&mut self, stack: &mut Stack<S>) {
        let to = self.books.len().min(self.cleared + STEP);
        for place in self.cleared..to {
            let Some(book) = &mut self.books[place] else { continue };
            let now = self.feed.tree.document(place as u32);
            if now.is_some_and(|now| Arc::ptr_eq(now, &book.document)) {
                continue;
            }
            book.retired = true;
            if book.users == 0 {
                self.remove(place, stack);
            }
        }
        self.cleared = to;
    }

    fn book(&self, number: u32) -> Option<&Book> {
        self.books.get(number as usize)?.as_ref()
    }

    fn put<S: Copy + Default + 'static>(&mut self, document: &Arc<Document>, stack: &mut Stack<S>) {
        let Some(place) = self.books.get_mut(document.number as usize) else { return };
        let bytes = document.bytes().filter(|bytes| !bytes.is_empty());
        let lent = bytes.and_then(|bytes| stack.lend(Rc::new(Shared(Arc::clone(bytes)))));
        *place = Some(Book { document: Arc::clone(document), lent, users: 0, retired: false });
    }

    fn remove<S: Copy + Default + 'static>(&mut self, place: usize, stack: &mut Stack<S>) {
        // The library has another handle: nothing is freed here.
        if let Some(Book { lent: Some(lent), .. }) = self.books[place].take() {
            stack.take_back(lent);
        }
    }
}

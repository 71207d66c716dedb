//! Other caches, item by item, as far as hit ratios need them.

use std::collections::HashMap;

use crate::trace::Request;

/// A cache that stores what it is asked for.
pub trait Model {
    /// Whether the key was there.
    fn request(&mut self, request: Request) -> bool;
}

/// What an item of this size takes.
type Charge = fn(u32) -> u64;

const NONE: u32 = u32::MAX;

#[derive(Clone, Copy)]
struct Node {
    key: u64,
    bytes: u64,
    /// Times it was asked for, or flags.
    hits: u8,
    list: u8,
    older: u32,
    newer: u32,
}

/// Items on lists, each from the oldest to the newest.
struct Items<const LISTS: usize> {
    index: HashMap<u64, u32>,
    nodes: Vec<Node>,
    free: Vec<u32>,
    oldest: [u32; LISTS],
    newest: [u32; LISTS],
    bytes: [u64; LISTS],
}

impl<const LISTS: usize> Items<LISTS> {
    fn new() -> Self {
        Self {
            index: HashMap::new(),
            nodes: Vec::new(),
            free: Vec::new(),
            oldest: [NONE; LISTS],
            newest: [NONE; LISTS],
            bytes: [0; LISTS],
        }
    }

    fn total(&self) -> u64 {
        self.bytes.iter().sum()
    }

    fn push(&mut self, list: usize, node: u32) {
        let newest = self.newest[list];
        let entry = &mut self.nodes[node as usize];
        (entry.list, entry.older, entry.newer) = (list as u8, newest, NONE);
        self.bytes[list] += entry.bytes;
        match newest {
            NONE => self.oldest[list] = node,
            newest => self.nodes[newest as usize].newer = node,
        }
        self.newest[list] = node;
    }

    fn unlink(&mut self, node: u32) {
        let Node { list, older, newer, bytes, .. } = self.nodes[node as usize];
        let list = usize::from(list);
        self.bytes[list] -= bytes;
        match older {
            NONE => self.oldest[list] = newer,
            older => self.nodes[older as usize].newer = newer,
        }
        match newer {
            NONE => self.newest[list] = older,
            newer => self.nodes[newer as usize].older = older,
        }
    }

    fn insert(&mut self, list: usize, key: u64, bytes: u64) {
        let node = Node { key, bytes, hits: 0, list: 0, older: NONE, newer: NONE };
        let place = match self.free.pop() {
            Some(place) => {
                self.nodes[place as usize] = node;
                place
            }
            None => {
                self.nodes.push(node);
                self.nodes.len() as u32 - 1
            }
        };
        self.index.insert(key, place);
        self.push(list, place);
    }

    fn remove(&mut self, node: u32) -> u64 {
        self.unlink(node);
        let key = self.nodes[node as usize].key;
        self.index.remove(&key);
        self.free.push(node);
        key
    }
}

/// The least recently used goes.
pub struct Lru {
    items: Items<1>,
    capacity: u64,
    charge: Charge,
}

impl Lru {
    pub fn new(capacity: u64, charge: Charge) -> Self {
        Self { items: Items::new(), capacity, charge }
    }
}

impl Model for Lru {
    fn request(&mut self, request: Request) -> bool {
        if let Some(&node) = self.items.index.get(&request.key) {
            self.items.unlink(node);
            self.items.push(0, node);
            return true;
        }
        self.items.insert(0, request.key, (self.charge)(request.size));
        while self.items.total() > self.capacity {
            self.items.remove(self.items.oldest[0]);
        }
        false
    }
}

/// memcached's lists (its doc/new_lru.txt): hot, warm and cold, by shares of the memory; ages are left out.
pub struct Segmented {
    items: Items<3>,
    capacity: u64,
    charge: Charge,
}

const HOT: usize = 0;
const WARM: usize = 1;
const COLD: usize = 2;
/// It was asked for once; and once more, which makes it active.
const FETCHED: u8 = 1;
const ACTIVE: u8 = 2;

impl Segmented {
    pub fn new(capacity: u64, charge: Charge) -> Self {
        Self { items: Items::new(), capacity, charge }
    }

    fn active(&mut self, node: u32) -> bool {
        let hits = &mut self.items.nodes[node as usize].hits;
        let active = *hits & ACTIVE != 0;
        *hits &= !ACTIVE;
        active
    }

    fn rest(&mut self, from: usize, to: usize) {
        let node = self.items.oldest[from];
        self.items.unlink(node);
        self.items.push(to, node);
    }

    /// What its maintainer does in the background.
    fn juggle(&mut self) {
        for _ in 0..4 {
            if self.items.bytes[HOT] > self.capacity / 5 {
                let active = self.active(self.items.oldest[HOT]);
                self.rest(HOT, if active { WARM } else { COLD });
            }
            if self.items.bytes[WARM] > self.capacity * 2 / 5 {
                let active = self.active(self.items.oldest[WARM]);
                self.rest(WARM, if active { WARM } else { COLD });
            }
            let cold = self.items.oldest[COLD];
            if cold != NONE && self.active(cold) {
                self.rest(COLD, WARM);
            }
        }
    }
}

impl Model for Segmented {
    fn request(&mut self, request: Request) -> bool {
        let found = self.items.index.get(&request.key).copied();
        if let Some(node) = found
            && !request.write
        {
            let hits = &mut self.items.nodes[node as usize].hits;
            *hits |= if *hits & FETCHED == 0 { FETCHED } else { ACTIVE };
            return true;
        }
        if let Some(node) = found {
            self.items.remove(node);
        }
        self.items.insert(HOT, request.key, (self.charge)(request.size));
        self.juggle();
        while self.items.total() > self.capacity {
            let cold = self.items.oldest[COLD];
            if cold == NONE {
                self.rest(if self.items.oldest[HOT] == NONE { WARM } else { HOT }, COLD);
            } else if self.active(cold) {
                self.rest(COLD, WARM);
            } else {
                self.items.remove(cold);
            }
        }
        found.is_some()
    }
}

/// SIEVE (Zhang et al., NSDI 2024).
pub struct Sieve {
    items: Items<1>,
    hand: u32,
    capacity: u64,
    charge: Charge,
}

impl Sieve {
    pub fn new(capacity: u64, charge: Charge) -> Self {
        Self { items: Items::new(), hand: NONE, capacity, charge }
    }
}

impl Model for Sieve {
    fn request(&mut self, request: Request) -> bool {
        if let Some(&node) = self.items.index.get(&request.key) {
            self.items.nodes[node as usize].hits = 1;
            return true;
        }
        self.items.insert(0, request.key, (self.charge)(request.size));
        while self.items.total() > self.capacity {
            let mut hand = if self.hand == NONE { self.items.oldest[0] } else { self.hand };
            while self.items.nodes[hand as usize].hits > 0 {
                self.items.nodes[hand as usize].hits = 0;
                let newer = self.items.nodes[hand as usize].newer;
                hand = if newer == NONE { self.items.oldest[0] } else { newer };
            }
            self.hand = self.items.nodes[hand as usize].newer;
            self.items.remove(hand);
        }
        false
    }
}

/// S3-FIFO (Yang et al., SOSP 2023), item by item and with exact fingerprints.
pub struct ItemS3Fifo {
    items: Items<2>,
    ghosts: Items<1>,
    capacity: u64,
    charge: Charge,
}

impl ItemS3Fifo {
    pub fn new(capacity: u64, charge: Charge) -> Self {
        Self { items: Items::new(), ghosts: Items::new(), capacity, charge }
    }

    fn evict(&mut self) {
        if self.items.bytes[0] > self.capacity / 10 || self.items.oldest[1] == NONE {
            let node = self.items.oldest[0];
            let Node { hits, bytes, .. } = self.items.nodes[node as usize];
            if hits > 1 {
                self.items.nodes[node as usize].hits = 0;
                self.items.unlink(node);
                self.items.push(1, node);
                return;
            }
            let key = self.items.remove(node);
            self.ghosts.insert(0, key, bytes);
            while self.ghosts.total() > self.capacity * 9 / 10 {
                self.ghosts.remove(self.ghosts.oldest[0]);
            }
            return;
        }
        let node = self.items.oldest[1];
        let hits = &mut self.items.nodes[node as usize].hits;
        if *hits > 0 {
            *hits -= 1;
            self.items.unlink(node);
            self.items.push(1, node);
        } else {
            self.items.remove(node);
        }
    }
}

impl Model for ItemS3Fifo {
    fn request(&mut self, request: Request) -> bool {
        if let Some(&node) = self.items.index.get(&request.key) {
            let hits = &mut self.items.nodes[node as usize].hits;
            *hits = (*hits + 1).min(3);
            return true;
        }
        let ghost = self.ghosts.index.get(&request.key).copied();
        if let Some(node) = ghost {
            self.ghosts.remove(node);
        }
        self.items.insert(usize::from(ghost.is_some()), request.key, (self.charge)(request.size));
        while self.items.total() > self.capacity {
            self.evict();
        }
        false
    }
}

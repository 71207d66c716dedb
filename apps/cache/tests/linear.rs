//! Many clients over a bad cable: what each of them saw of a key can be put into one order.
//!
//! Every operation has a beginning (the request was written) and an end (the answer was heard). A history is linearisable
//! (Herlihy and Wing, 1990) if there is an order of all operations that respects these times and in which each answer is
//! what a single map would have given. The checker looks for that order, one key at a time.
#![allow(clippy::unwrap_used)]

mod lab;

use std::collections::HashSet;
use std::ops::RangeInclusive;

use freeway::port::FaultConfig;
use freeway::{Duration, PostConfig, Rng, Seed};
use lab::{Lab, config};

#[derive(Clone, PartialEq, Debug)]
enum Op {
    Set(u32),
    Add(u32),
    Get,
    Incr(u32),
    Delete,
}

/// What was answered, as far as the order of operations decides it.
#[derive(Clone, PartialEq, Debug)]
enum Answer {
    Stored,
    NotStored,
    Value(u32),
    Nothing,
    Deleted,
}

#[derive(Clone, Debug)]
struct Event {
    key: usize,
    op: Op,
    answer: Answer,
    begun: u64,
    ended: u64,
}

/// What a map makes of an operation on a key that has `state`.
fn step(state: Option<u32>, op: &Op) -> (Option<u32>, Answer) {
    match (op, state) {
        (Op::Set(value), _) => (Some(*value), Answer::Stored),
        (Op::Add(value), None) => (Some(*value), Answer::Stored),
        (Op::Add(_), held) => (held, Answer::NotStored),
        (Op::Get, Some(value)) => (state, Answer::Value(value)),
        (Op::Get | Op::Delete | Op::Incr(_), None) => (None, Answer::Nothing),
        (Op::Incr(by), Some(value)) => (Some(value + by), Answer::Value(value + by)),
        (Op::Delete, Some(_)) => (None, Answer::Deleted),
    }
}

/// Whether an order explains what each client saw of one key. `histories` has the events of each client in its own order.
fn is_linearisable(histories: &[Vec<Event>]) -> bool {
    let mut seen = HashSet::new();
    let mut open = vec![(vec![0_usize; histories.len()], None)];
    while let Some((done, state)) = open.pop() {
        let next = |client: usize| histories[client].get(done[client]);
        let pending: Vec<usize> = (0..histories.len()).filter(|&client| next(client).is_some()).collect();
        if pending.is_empty() {
            return true;
        }
        // Whatever comes next began before every other one ended.
        let first_end = pending.iter().map(|&client| next(client).unwrap().ended).min().unwrap();
        for &client in &pending {
            let event = next(client).unwrap();
            if event.begun > first_end {
                continue;
            }
            let (after, answer) = step(state, &event.op);
            if answer == event.answer {
                let mut done = done.clone();
                done[client] += 1;
                if seen.insert((done.clone(), after)) {
                    open.push((done, after));
                }
            }
        }
    }
    false
}

fn request(key: usize, op: &Op) -> String {
    match op {
        Op::Set(value) => format!("set key{key} 0 0 {}\r\n{value}\r\n", value.to_string().len()),
        Op::Add(value) => format!("ms key{key} {} ME\r\n{value}\r\n", value.to_string().len()),
        Op::Get => format!("get key{key}\r\n"),
        Op::Incr(by) => format!("incr key{key} {by}\r\n"),
        Op::Delete => format!("delete key{key}\r\n"),
    }
}

/// The answer, when it has arrived whole.
fn parse(op: &Op, heard: &[u8]) -> Option<Answer> {
    let text = std::str::from_utf8(heard).unwrap();
    if !text.ends_with("\r\n") || (*op == Op::Get && !text.ends_with("END\r\n")) {
        return None;
    }
    let number = |text: &str| Answer::Value(text.trim().parse().unwrap());
    Some(match text.lines().next().unwrap() {
        "STORED" | "HD" => Answer::Stored,
        "NS" => Answer::NotStored,
        "END" | "NOT_FOUND" => Answer::Nothing,
        "DELETED" => Answer::Deleted,
        head if head.starts_with("VALUE") => number(text.lines().nth(1).unwrap()),
        other => number(other),
    })
}

const CLIENTS: usize = 8;
const KEYS: usize = 3;

/// What every client saw of every key, over a cable that loses, doubles, delays and reorders frames.
fn history(seed: u64, cores: u32) -> Vec<Vec<Event>> {
    let faults = FaultConfig {
        loss_ratio: 0.03,
        duplicate_ratio: 0.02,
        reorder_ratio: 0.05,
        delay_mean: Duration::from_micros(150),
        jitter: Duration::from_micros(100),
        ..FaultConfig::NONE
    };
    let ring = PostConfig { slots: 2, slot_size: 10_240 };
    let mut lab = Lab::build(&config(4 << 20), CLIENTS, faults, Seed(seed), (cores, ring));
    let mut rng = Rng::new(Seed(seed));
    let mut events: Vec<Vec<Event>> = vec![Vec::new(); CLIENTS];
    let mut pending: Vec<Option<(usize, Op, u64)>> = vec![None; CLIENTS];
    let mut turn = 0;
    loop {
        // What was begun is waited for: it may have been done though nobody heard.
        let enough = events.iter().map(Vec::len).sum::<usize>() >= 600;
        if enough && pending.iter().all(Option::is_none) {
            return events;
        }
        turn += 1;
        assert!(turn < 2_000_000, "the clients do not get on: seed {seed}");
        for client in 0..CLIENTS {
            if let Some((key, op, begun)) = pending[client].take() {
                let heard = std::mem::take(&mut lab.line(client).heard);
                match parse(&op, &heard) {
                    Some(answer) => events[client].push(Event { key, op, answer, begun, ended: turn }),
                    None => {
                        lab.line(client).heard = heard;
                        pending[client] = Some((key, op, begun));
                    }
                }
            } else if !enough && rng.below(4) == 0 {
                let (key, value) = (rng.below(KEYS as u32) as usize, rng.below(1_000_000));
                let op = match rng.below(6) {
                    0 => Op::Set(value),
                    1 => Op::Add(value),
                    2 => Op::Incr(1 + value % 9),
                    3 => Op::Delete,
                    _ => Op::Get,
                };
                lab.line(client).to_say.extend(request(key, &op).as_bytes());
                pending[client] = Some((key, op, turn));
            }
        }
        lab.turns(1);
    }
}

#[test]
fn what_clients_see_of_a_key_is_one_order() {
    one_order(1..=6, 1);
}

#[test]
fn what_clients_see_of_a_key_is_one_order_on_two_cores() {
    one_order(11..=16, 2);
}

fn one_order(seeds: RangeInclusive<u64>, cores: u32) {
    for seed in seeds {
        let events = history(seed, cores);
        for key in 0..KEYS {
            let of_key: Vec<Vec<Event>> = events
                .iter()
                .map(|events| events.iter().filter(|event| event.key == key).cloned().collect())
                .collect();
            assert!(of_key.iter().flatten().count() > 50);
            assert!(is_linearisable(&of_key), "key {key} of seed {seed}");
        }
    }
}

#[test]
fn the_checker_finds_what_is_out_of_order() {
    let event = |op: Op, answer, begun, ended| Event { key: 0, op, answer, begun, ended };
    let stale = [
        vec![event(Op::Set(1), Answer::Stored, 0, 10), event(Op::Set(2), Answer::Stored, 20, 30)],
        vec![event(Op::Get, Answer::Value(2), 25, 28), event(Op::Get, Answer::Value(1), 40, 50)],
    ];
    assert!(!is_linearisable(&stale));
    let fine = [
        vec![event(Op::Set(1), Answer::Stored, 0, 10), event(Op::Set(2), Answer::Stored, 20, 60)],
        vec![event(Op::Get, Answer::Value(1), 25, 28), event(Op::Get, Answer::Value(2), 40, 50)],
    ];
    assert!(is_linearisable(&fine));
    let twice = [vec![
        event(Op::Set(5), Answer::Stored, 0, 1),
        event(Op::Incr(1), Answer::Value(6), 2, 3),
        event(Op::Get, Answer::Value(7), 4, 5),
    ]];
    assert!(!is_linearisable(&twice));
}

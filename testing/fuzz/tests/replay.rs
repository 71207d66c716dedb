//! Every target with every input of its corpus, and with mutations of them that are the same in every run.

#![allow(clippy::unwrap_used)]

use freeway_base::{Rng, Seed};
use freeway_fuzz::corpus;
use freeway_fuzz::mutate::mutate;
use freeway_fuzz::targets::{TARGETS, Target};

/// Mutations of each parser's corpus.
const MUTATIONS: u32 = 20_000;
/// The same of a whole host's, which is built anew for each.
const HOST_MUTATIONS: u32 = 4_000;

/// Runs a target; when it panics, says what with.
fn run(name: &str, target: Target, input: &[u8]) {
    struct Blame<'a>(&'a str, &'a [u8]);
    impl Drop for Blame<'_> {
        fn drop(&mut self) {
            if std::thread::panicking() {
                eprintln!("the target {} fails with {:02x?}", self.0, self.1);
            }
        }
    }
    let _blame = Blame(name, input);
    target(input);
}

#[test]
fn corpus_passes() {
    for (name, target) in TARGETS {
        let inputs = corpus::read(name).unwrap();
        assert!(!inputs.is_empty(), "{name} has no corpus");
        run(name, *target, &[]);
        for input in &inputs {
            run(name, *target, input);
        }
    }
}

#[test]
fn mutations_of_the_corpus_pass() {
    for (number, (name, target)) in TARGETS.iter().enumerate() {
        let inputs = corpus::read(name).unwrap();
        let mut rng = Rng::new(Seed(number as u64));
        let mutations = if matches!(*name, "net" | "stack") { HOST_MUTATIONS } else { MUTATIONS };
        for _ in 0..mutations {
            let pick = |rng: &mut Rng| rng.below(inputs.len() as u32) as usize;
            let mut input = inputs[pick(&mut rng)].clone();
            let other = &inputs[pick(&mut rng)];
            mutate(&mut input, other, &mut rng);
            run(name, *target, &input);
        }
    }
}

#[test]
fn inputs_of_the_corpus_are_small() {
    for (name, _) in TARGETS {
        let inputs = corpus::read(name).unwrap();
        assert!(inputs.len() <= 250, "{name} keeps {} inputs; minimise them", inputs.len());
        assert!(inputs.iter().all(|input| input.len() <= 2048), "{name} keeps an input over 2 KiB");
    }
}

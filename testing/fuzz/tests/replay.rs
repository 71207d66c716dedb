//! Every target with every input of its corpus, and with mutations of them that are the same in every run.

#![allow(clippy::unwrap_used)]

use freeway_base::{Rng, Seed};
use freeway_fuzz::corpus;
use freeway_fuzz::mutate::mutate;
use freeway_fuzz::targets::TARGETS;

/// Mutations of each target's corpus.
const MUTATIONS: u32 = 20_000;

#[test]
fn corpus_passes() {
    for (name, target) in TARGETS {
        let inputs = corpus::read(name).unwrap();
        assert!(!inputs.is_empty(), "{name} has no corpus");
        target(&[]);
        for input in &inputs {
            target(input);
        }
    }
}

#[test]
fn mutations_of_the_corpus_pass() {
    for (number, (name, target)) in TARGETS.iter().enumerate() {
        let inputs = corpus::read(name).unwrap();
        let mut rng = Rng::new(Seed(number as u64));
        for _ in 0..MUTATIONS {
            let pick = |rng: &mut Rng| rng.below(inputs.len() as u32) as usize;
            let mut input = inputs[pick(&mut rng)].clone();
            let other = &inputs[pick(&mut rng)];
            mutate(&mut input, other, &mut rng);
            target(&input);
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

//! Whole conversations: every byte arrives once and in order, both ends finish, and nothing hangs.

use freeway_base::{Duration, Instant};
use freeway_wire::tcp::SeqNumber;
use proptest::prelude::*;

use super::world::{Faults, Plan, World};
use crate::{Config, Events, State};

const CLIENT: Plan = Plan { iss: SeqNumber(1), total: 200_000, write: 10_000, lazy: 0, opens: true };
const SERVER: Plan = Plan { iss: SeqNumber(9_000), total: 100_000, write: 3_000, lazy: 0, opens: false };

fn converse(config: Config, plans: [Plan; 2], faults: Faults, seed: u64) -> World {
    let mut world = World::new([config; 2], plans, faults, seed);
    world.run(Duration::from_secs(3_600));
    assert_eq!(world.ends[0].received, plans[1].total);
    assert_eq!(world.ends[1].received, plans[0].total);
    for end in &world.ends {
        assert!(end.events.contains(Events::ESTABLISHED | Events::PEER_FIN), "{:?}", end.events);
        assert!(
            !end.events.intersects(Events::RESET | Events::TIMED_OUT | Events::REFUSED),
            "{:?}",
            end.events
        );
    }
    world
}

#[test]
fn without_faults_nothing_is_sent_twice() {
    let world = converse(Config::default(), [CLIENT, SERVER], Faults::NONE, 1);
    assert_eq!(world.ends[0].retransmitted + world.ends[1].retransmitted, 0);
    assert!(world.now - Instant::from_secs(1_000) < Duration::from_secs(1), "{:?}", world.now);
}

#[test]
fn sequence_numbers_wrap_around_in_the_middle() {
    for back in [0, 1, 2, 1_000, 65_536, 100_000] {
        let client = Plan { iss: SeqNumber(u32::MAX - back), ..CLIENT };
        let server = Plan { iss: SeqNumber(u32::MAX - back / 2), ..SERVER };
        converse(Config::default(), [client, server], Faults { loss: 5, ..Faults::NONE }, u64::from(back));
    }
}

#[test]
fn both_open_at_once() {
    for seed in 0..20 {
        let server = Plan { opens: true, ..SERVER };
        let faults = if seed == 0 { Faults::NONE } else { Faults { loss: 15, ..Faults::NONE } };
        // A time-out that has doubled often lasts longer than TIME-WAIT usually does.
        let config = Config {
            fin_wait_2: None,
            time_wait: Duration::from_secs(600),
            user_timeout: Duration::from_secs(1_000),
            ..Config::default()
        };
        converse(config, [CLIENT, server], faults, seed);
    }
}

#[test]
fn both_close_at_once() {
    let plan = |opens, iss| Plan { total: 0, opens, iss: SeqNumber(iss), ..CLIENT };
    let world = converse(Config::default(), [plan(true, 5), plan(true, 50)], Faults::NONE, 1);
    assert_eq!(world.ends.each_ref().map(super::world::End::state), [State::TimeWait; 2]);
}

#[test]
fn a_reader_that_hardly_reads_only_slows_it_down() {
    for lazy in [20_000, 60_000, 64_000] {
        let config = Config { receive_window: 64_000, window_scale: false, ..Config::default() };
        let server = Plan { lazy, ..SERVER };
        converse(config, [CLIENT, server], Faults { loss: 3, ..Faults::NONE }, 3);
    }
}

#[test]
fn a_clean_path_of_ten_megabytes_grows_its_window() {
    let client = Plan { total: 10_000_000, write: 65_536, ..CLIENT };
    let server = Plan { total: 0, ..SERVER };
    let world = converse(Config::default(), [client, server], Faults::NONE, 1);
    // 64 KiB of send queue over 10 ms of round trip: about 6.5 MB/s at best.
    assert!(world.now - Instant::from_secs(1_000) < Duration::from_secs(3), "{:?}", world.now);
}

prop_compose! {
    fn configs()(
        mss in 100u16..2_000,
        receive_window in prop_oneof![200u32..4_000, 4_000u32..70_000, 70_000u32..4_000_000],
        timestamps: bool,
        window_scale: bool,
        nagle: bool,
        delayed in proptest::option::of(1u64..200),
        quick_acks in 0u8..20,
    ) -> Config {
        Config {
            mss,
            receive_window,
            timestamps,
            window_scale,
            nagle,
            quick_acks,
            delayed_ack: delayed.map(Duration::from_millis),
            user_timeout: Duration::from_secs(2_000),
            ..Config::default()
        }
    }
}

prop_compose! {
    fn plans(opens: bool)(iss: u32, total in 0u32..60_000, write in 1u32..5_000, lazy in 0u32..5_000) -> Plan {
        Plan { iss: SeqNumber(iss), total, write: write.max(total / 50), lazy, opens }
    }
}

prop_compose! {
    fn faults()(
        loss in 0u8..30,
        duplication in 0u8..20,
        reordering in 0u8..60,
        marking in 0u8..30,
        delay in 1u64..200,
    ) -> Faults {
        Faults { loss, loss_permille: 0, duplication, reordering, marking, delay: Duration::from_millis(delay) }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_byte_arrives_once_and_in_order(
        a in configs(),
        b in configs(),
        client in plans(true),
        server in prop_oneof![plans(false), plans(true)],
        faults in faults(),
        seed: u64,
    ) {
        let mut a = a;
        let mut b = b;
        // Many losses in a row end an attempt or a close: not what is looked at here.
        for config in [&mut a, &mut b] {
            config.syn_retries = 40;
            config.syn_ack_retries = 40;
            config.fin_wait_2 = None;
        }
        let mut world = World::new([a, b], [client, server], faults, seed);
        world.run(Duration::from_secs(100_000));
        prop_assert_eq!(world.ends[0].received, server.total);
        prop_assert_eq!(world.ends[1].received, client.total);
    }
}

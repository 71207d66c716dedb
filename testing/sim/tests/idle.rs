//! Many silent connections for many hours. The million: `cargo run --release -p freeway-sim -- idle`.

#[test]
fn twenty_thousand_connections_are_held_for_hours() {
    let report = freeway_sim::idle::run(20_000, 4).expect("all is as it was");
    assert_eq!(report.open.connections.0, 20_000);
}

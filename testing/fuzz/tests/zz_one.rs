#[test]
fn one() {
    let Ok(path) = std::env::var("FUZZ_INPUT") else { return };
    let target = std::env::var("FUZZ_TARGET").unwrap();
    let f = freeway_fuzz::targets::TARGETS.iter().find(|t| t.0 == target).unwrap().1;
    let data = std::fs::read(path).unwrap();
    f(&data);
}

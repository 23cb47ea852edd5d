//! The `gatehouse` program.
fn main() {}

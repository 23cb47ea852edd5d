//! The `nomation` program.
fn main() {}

//! Tells cargo that the migrations are part of the program: without it, a new file would not be
//! embedded until something else changes.

fn main() {
    println!("cargo:rerun-if-changed=../migrations");
}

//! Project tasks: setup, demo, test, bench, codegen, tidy, ci.

fn main() {}

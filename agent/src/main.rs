//! The per-node agent.

fn main() {}

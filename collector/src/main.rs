//! The collector: takes evidence in, answers questions.

fn main() {}

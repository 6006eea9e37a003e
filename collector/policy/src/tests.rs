//! Semantics as tables.

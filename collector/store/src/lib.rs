//! Keeps the evidence of the last minutes on disk.

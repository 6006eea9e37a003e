//! Loads the BPF programs and reads what they saw.

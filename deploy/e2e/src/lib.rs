//! Story tests: the three binaries as processes, in the lab.

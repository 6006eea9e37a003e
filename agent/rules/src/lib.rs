//! Reads netfilter rule sets and walks a packet through them as the kernel would.

//! Endpoints from slices and from pods.

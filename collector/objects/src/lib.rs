//! Reads, validates and resolves Kubernetes objects.

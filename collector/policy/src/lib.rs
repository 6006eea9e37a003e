//! Evaluates NetworkPolicies and names the nearest miss.

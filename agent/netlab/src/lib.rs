//! A cluster's network in namespaces: nodes, pods, rules, listeners, faults.

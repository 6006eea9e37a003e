//! Reads this machine's kernel state: rules, addresses, routes, sockets, namespaces.

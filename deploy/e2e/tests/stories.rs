//! The stories, in the lab and in a real Kubernetes with each kind of kube-proxy.

#![expect(clippy::unwrap_used, reason = "a failed step of a story is a failed test")]

#[path = "support/rendering.rs"]
mod rendering;
mod support;
#[path = "support/told.rs"]
mod told;

mod lab {
    crate::told::all!(crate::support::Setting::Lab);
}

mod iptables {
    crate::told::all!(crate::support::Setting::Iptables);
}

mod nftables {
    crate::told::all!(crate::support::Setting::Nftables);
}

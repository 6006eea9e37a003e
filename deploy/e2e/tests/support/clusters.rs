//! Real clusters for stories: one for each kind of kube-proxy, made when the first story needs it, ended with the test
//! program. A story has its cluster for itself.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use e2e::process::binary;
use kubelab::programs::Programs;
use kubelab::{Cluster, Kind, ProxyMode, Spec};

/// A cluster, and the right to use it.
pub struct Turn {
    pub cluster: Arc<Cluster>,
    _guard: MutexGuard<'static, ()>,
}

/// A cluster that is made once.
struct Shared {
    made: OnceLock<Result<Arc<Cluster>, String>>,
    turn: Mutex<()>,
}

impl Shared {
    const fn new() -> Self {
        Self { made: OnceLock::new(), turn: Mutex::new(()) }
    }
}

static IPTABLES: Shared = Shared::new();
static NFTABLES: Shared = Shared::new();

/// Waits for the cluster of this mode.
pub fn take(mode: ProxyMode) -> Turn {
    let (shared, name) = match mode {
        ProxyMode::Iptables => (&IPTABLES, "iptables"),
        ProxyMode::Nftables => (&NFTABLES, "nftables"),
        ProxyMode::IptablesLegacy => panic!("no story has a cluster of the old back-end"),
    };
    // A failed story does not spoil the cluster for the next one, which begins by clearing it.
    let guard = shared.turn.lock().unwrap_or_else(PoisonError::into_inner);
    let made = shared.made.get_or_init(|| {
        let spec = Spec::light(format!("stories-{name}-{}", std::process::id())).mode(mode);
        let program = binary("kubelab").map_err(|error| format!("{error:#}"))?;
        Cluster::up(&program, &spec).map(Arc::new).map_err(|error| format!("{error:#}"))
    });
    match made {
        Ok(cluster) => Turn { cluster: Arc::clone(cluster), _guard: guard },
        Err(text) => panic!("{text}"),
    }
}

/// Whether clusters can be made here. Says so loudly if not; in CI a lack is a failure.
pub fn can_run(test: &str) -> bool {
    let missing = Programs::new(None).missing(Kind::Light);
    if missing.is_empty() {
        return true;
    }
    let lack = format!("needs {}; `cargo xtask cluster programs --light` gets them", missing.join(", "));
    assert!(std::env::var_os("CI").is_none(), "{test}: {lack}, and CI must not skip it");
    eprintln!("skipped: {test}: {lack}");
    false
}

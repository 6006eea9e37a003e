//! Puts the programs into the kernel and keeps them there.
//!
//! Everything that can be wrong with a node for this purpose becomes a [`LoadError`] that says what is missing;
//! reading the results is `drain`.

use std::collections::HashSet;

use abi::{DropKey, DropValue, Layout, MAX_SCOPE, TotalKey};
use aya::maps::{Array, HashMap, MapData, MapError, PerCpuArray, PerCpuHashMap};
use aya::programs::{BtfTracePoint, ProgramError};
use aya::{Ebpf, EbpfError, EbpfLoader, include_bytes_aligned};
use nix::sys::resource::{Resource, setrlimit};

use crate::btf::{Btf, BtfError, KERNEL_BTF};
use crate::layout::{self, LayoutError};
use crate::ledger::Ledger;
use crate::pod::Record;
use crate::preflight;
use crate::reasons::Reasons;
use crate::symbols::Symbols;

/// The programs, built from agent-ebpf by `cargo xtask codegen`.
static OBJECT: &[u8] = include_bytes_aligned!("../../../agent-ebpf/why-dropped.bpf.o");

/// Which network namespaces count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All of this kernel: for an agent in the machine's initial namespace.
    All,
    /// Only those given to [`Tracer::set_scope`]; none until then.
    Only,
}

/// What can be chosen.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// Which network namespaces count.
    pub scope: Scope,
}

/// Why drops cannot be traced here. Whatever it is, the rest of an agent works without: rules, routes and sockets
/// still show what the kernel was told to do, and only what it did is missing.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The kernel was built without type information, or /sys is not mounted.
    #[error("read {KERNEL_BTF}: drops need a kernel built with CONFIG_DEBUG_INFO_BTF and /sys mounted")]
    ReadBtf(#[source] std::io::Error),
    /// It is there but not understood.
    #[error("understand {KERNEL_BTF}")]
    ParseBtf(#[source] BtfError),
    /// The BPF library does not understand it.
    #[error("understand {KERNEL_BTF} as the BPF loader does")]
    LoaderBtf(#[source] aya::BtfError),
    /// This kernel differs in a way that the programs cannot follow.
    #[error("fit the drop programs to this kernel")]
    Layout(#[from] LayoutError),
    /// The process may not.
    #[error(
        "load the drop programs: this process lacks {missing}; give the container those capabilities, or SYS_ADMIN"
    )]
    Capabilities {
        /// The capabilities, joined for reading.
        missing: String,
    },
    /// The object or its maps.
    #[error("create the maps of the drop programs")]
    Object(#[source] EbpfError),
    /// The object lacks a part: it was built from another version.
    #[error("the drop programs have no {name}; rebuild the object with `cargo xtask codegen`")]
    Missing {
        /// Program or map.
        name: &'static str,
    },
    /// A map is not of the expected shape: the object was built from another version.
    #[error("open the map {name} of the drop programs")]
    Map {
        /// Map.
        name: &'static str,
        /// What is wrong with it.
        #[source]
        source: MapError,
    },
    /// The kernel's verifier refused the program, or attaching it.
    #[error("load {name} into the kernel")]
    Program {
        /// Program.
        name: &'static str,
        /// The kernel's answer.
        #[source]
        source: ProgramError,
    },
}

/// Why a scope could not be set.
#[derive(Debug, thiserror::Error)]
pub enum ScopeError {
    /// More namespaces than the map holds; those beyond it do not count.
    #[error("{asked} network namespaces are in scope and only {MAX_SCOPE} fit: the rest are not traced")]
    TooMany {
        /// How many were asked for.
        asked: usize,
    },
    /// The kernel refused.
    #[error("change the network namespaces that are traced")]
    Update(#[from] MapError),
}

/// The programs in the kernel. They go with it.
pub struct Tracer {
    /// Owns programs and links: dropping it detaches them.
    programs: Ebpf,
    scope: HashMap<MapData, u64, u8>,
    in_scope: HashSet<u64>,
    pub(crate) active: Array<MapData, u32>,
    pub(crate) drops: [HashMap<MapData, Record<DropKey>, Record<DropValue>>; 2],
    pub(crate) totals: PerCpuHashMap<MapData, Record<TotalKey>, u64>,
    pub(crate) counters: PerCpuArray<MapData, u64>,
    pub(crate) reasons: Reasons,
    pub(crate) symbols: Symbols,
    pub(crate) ledger: Ledger,
}

const PROGRAM: &str = "kfree_skb";

impl Tracer {
    /// Loads and attaches the programs. Counting starts before this returns.
    pub fn load(config: &Config) -> Result<Self, LoadError> {
        let bytes = std::fs::read(KERNEL_BTF).map_err(LoadError::ReadBtf)?;
        let loader_btf = aya::Btf::parse(&bytes, aya::Endianness::default()).map_err(LoadError::LoaderBtf)?;
        let btf = Btf::parse(bytes).map_err(LoadError::ParseBtf)?;
        let found = layout::find(&btf, config.scope == Scope::Only)?;
        drop(btf);

        let missing = preflight::missing_capabilities();
        if !missing.is_empty() {
            return Err(LoadError::Capabilities { missing: missing.join(" and ") });
        }
        lift_memory_lock_limit();

        let layout: Record<Layout> = Record(found.layout);
        let mut programs = EbpfLoader::new()
            .btf(Some(&loader_btf))
            .override_global("LAYOUT", &layout, true)
            .load(OBJECT)
            .map_err(LoadError::Object)?;

        let scope = open(&mut programs, "SCOPE", HashMap::try_from)?;
        let active = open(&mut programs, "ACTIVE", Array::try_from)?;
        let first = open(&mut programs, "DROPS_FIRST", HashMap::try_from)?;
        let second = open(&mut programs, "DROPS_SECOND", HashMap::try_from)?;
        let totals = open(&mut programs, "TOTALS", PerCpuHashMap::try_from)?;
        let counters = open(&mut programs, "COUNTERS", PerCpuArray::try_from)?;

        let program: &mut BtfTracePoint = programs
            .program_mut(PROGRAM)
            .ok_or(LoadError::Missing { name: PROGRAM })?
            .try_into()
            .map_err(|source| LoadError::Program { name: PROGRAM, source })?;
        program
            .load("kfree_skb", &loader_btf)
            .and_then(|()| program.attach().map(drop))
            .map_err(|source| LoadError::Program { name: PROGRAM, source })?;

        Ok(Self {
            programs,
            scope,
            in_scope: HashSet::new(),
            active,
            drops: [first, second],
            totals,
            counters,
            reasons: found.reasons,
            symbols: Symbols::default(),
            ledger: Ledger::default(),
        })
    }

    /// Makes exactly these network namespaces, by net cookie, count from now on. Without effect under [`Scope::All`].
    pub fn set_scope(&mut self, cookies: impl IntoIterator<Item = u64>) -> Result<(), ScopeError> {
        let wanted: HashSet<u64> = cookies.into_iter().collect();
        // Room first: the map may be full of namespaces that are gone.
        for cookie in self.in_scope.difference(&wanted).copied().collect::<Vec<_>>() {
            self.scope.remove(&cookie)?;
            self.in_scope.remove(&cookie);
        }
        for &cookie in &wanted {
            if self.in_scope.contains(&cookie) {
                continue;
            }
            if self.in_scope.len() >= MAX_SCOPE as usize {
                return Err(ScopeError::TooMany { asked: wanted.len() });
            }
            self.scope.insert(cookie, 1, 0)?;
            self.in_scope.insert(cookie);
        }
        Ok(())
    }

    /// The program's file descriptor in this process, for its statistics.
    pub(crate) fn program_fd(&self) -> Option<i32> {
        use std::os::fd::{AsFd, AsRawFd};

        let fd = self.programs.program(PROGRAM)?.fd().ok()?;
        Some(fd.as_fd().as_raw_fd())
    }
}

fn open<T>(
    programs: &mut Ebpf,
    name: &'static str,
    convert: impl FnOnce(aya::maps::Map) -> Result<T, MapError>,
) -> Result<T, LoadError> {
    let map = programs.take_map(name).ok_or(LoadError::Missing { name })?;
    convert(map).map_err(|source| LoadError::Map { name, source })
}

/// Before Linux 5.11 maps count against the limit of locked memory, 64 KiB by default. A process that may not raise
/// it gets the kernel's own error at the first map.
fn lift_memory_lock_limit() {
    if let Err(error) = setrlimit(Resource::RLIMIT_MEMLOCK, libc::RLIM_INFINITY, libc::RLIM_INFINITY) {
        tracing::debug!(%error, "RLIMIT_MEMLOCK stays as it is");
    }
}

/// An agent gives it a thread of its own.
const _: () = {
    const fn can_be_sent<T: Send>() {}
    can_be_sent::<Tracer>();
};

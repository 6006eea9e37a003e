//! The maps, and how one packet is counted in them.
//!
//! Two drop maps take turns: user space turns [`ACTIVE`], waits until no program can still be using the other one,
//! and empties it at leisure. Nothing is sent packet by packet: waking a reader costs ten times the work itself.

use core::intrinsics::{AtomicOrdering, atomic_xadd};

use abi::{Counter, DropKey, DropValue, MAX_DROPS, MAX_SCOPE, MAX_TOTALS, TotalKey};
use aya_ebpf::bindings::BPF_NOEXIST;
use aya_ebpf::macros::map;
use aya_ebpf::maps::{Array, HashMap, PerCpuArray, PerCpuHashMap};

/// Net cookies that count, where only some do.
#[map]
static SCOPE: HashMap<u64, u8> = HashMap::with_max_entries(MAX_SCOPE, 0);

/// Which drop map is written: 0 the first, 1 the second.
#[map]
static ACTIVE: Array<u32> = Array::with_max_entries(1, 0);

/// Drops in detail. Plain hashes and not LRU: when full, a new drop is refused and counted, and a known one goes on
/// counting, while an LRU would evict silently.
#[map]
static DROPS_FIRST: HashMap<DropKey, DropValue> = HashMap::with_max_entries(MAX_DROPS, 0);
#[map]
static DROPS_SECOND: HashMap<DropKey, DropValue> = HashMap::with_max_entries(MAX_DROPS, 0);

/// Packets by namespace and reason, never taken away.
#[map]
static TOTALS: PerCpuHashMap<TotalKey, u64> = PerCpuHashMap::with_max_entries(MAX_TOTALS, 0);

/// See [`Counter`].
#[map]
static COUNTERS: PerCpuArray<u64> = PerCpuArray::with_max_entries(Counter::LEN, 0);

/// Whether packets of this namespace count.
#[inline(always)]
pub fn in_scope(netns: u64) -> bool {
    if netns == 0 {
        bump(Counter::NoNetns);
        return false;
    }
    SCOPE.get_ptr(netns).is_some()
}

/// Counts one packet: in the totals, in the counter of the active map, and in that map.
#[inline(always)]
pub fn count(key: &DropKey, value: &DropValue) {
    total(&TotalKey { netns: key.netns, reason: key.reason, padding: 0 });
    if ACTIVE.get(0).copied().unwrap_or(0) == 0 {
        bump(Counter::SeenFirst);
        detail(&DROPS_FIRST, key, value);
    } else {
        bump(Counter::SeenSecond);
        detail(&DROPS_SECOND, key, value);
    }
}

#[inline(always)]
fn detail(drops: &HashMap<DropKey, DropValue>, key: &DropKey, value: &DropValue) {
    if add(drops, key, value) {
        return;
    }
    if drops.insert(key, value, u64::from(BPF_NOEXIST)).is_err() {
        // Either another CPU was first, or the map is full.
        if !add(drops, key, value) {
            bump(Counter::NoRoom);
        }
    }
}

/// Adds a packet to a drop that is in the map already.
#[inline(always)]
fn add(drops: &HashMap<DropKey, DropValue>, key: &DropKey, value: &DropValue) -> bool {
    let Some(known) = drops.get_ptr_mut(key) else { return false };
    // SAFETY: a pointer into a map value stays valid until the program ends. Other CPUs may write the same value:
    // the count is added atomically, and of the rest any writer's "latest" is true enough.
    unsafe {
        // The result is unused, so this is BPF_XADD, which every kernel has, and not the fetching form of 5.12.
        atomic_xadd::<u64, u64, { AtomicOrdering::Relaxed }>(&raw mut (*known).count, 1);
        (&raw mut (*known).last_ns).write_volatile(value.last_ns);
        (&raw mut (*known).mark).write_volatile(value.mark);
        (&raw mut (*known).in_ifindex).write_volatile(value.in_ifindex);
        (&raw mut (*known).ifindex).write_volatile(value.ifindex);
        (&raw mut (*known).client_port).write_volatile(value.client_port);
    }
    true
}

#[inline(always)]
fn total(key: &TotalKey) {
    if let Some(count) = TOTALS.get_ptr_mut(key) {
        // SAFETY: per-CPU, and a program cannot interrupt itself on the same CPU.
        unsafe { *count += 1 };
    } else if TOTALS.insert(key, 1, u64::from(BPF_NOEXIST)).is_err() {
        // Another CPU made the entry between the two calls, or the map is full.
        match TOTALS.get_ptr_mut(key) {
            // SAFETY: as above.
            Some(count) => unsafe { *count += 1 },
            None => bump(Counter::NoRoomInTotals),
        }
    }
}

#[inline(always)]
fn bump(counter: Counter) {
    if let Some(count) = COUNTERS.get_ptr_mut(counter.index()) {
        // SAFETY: as above.
        unsafe { *count += 1 };
    }
}

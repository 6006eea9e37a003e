//! What reading the rules of 10,000 Services allocates at its peak; apart, because counting slows everything down.

mod cluster;

use divan::counter::BytesCount;
use divan::{AllocProfiler, Bencher};
use model::flow::Family;
use model::walk::Backend;

#[global_allocator]
static ALLOCATIONS: AllocProfiler = AllocProfiler::system();

fn main() {
    divan::main();
}

/// The copy of the text is part of it: the peak is that of text and rules together.
#[divan::bench(sample_count = 3)]
fn parse(bencher: Bencher<'_, '_>) {
    let text = cluster::rules();
    bencher
        .counter(BytesCount::of_str(&text))
        .bench(|| rules::iptables::parse(Backend::IptablesNft, Family::Ipv4, &*text));
}

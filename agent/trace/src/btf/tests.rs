//! The BTF reader on well-formed and on hostile bytes.

use proptest::prelude::*;

use super::*;

/// Writes BTF, so that other modules' tests can describe a kernel.
pub(crate) struct Builder {
    types: Vec<u8>,
    strings: Vec<u8>,
    count: u32,
}

impl Builder {
    pub(crate) fn new() -> Self {
        Self { types: Vec::new(), strings: vec![0], count: 0 }
    }

    fn string(&mut self, text: &str) -> u32 {
        if text.is_empty() {
            return 0;
        }
        let offset = u32::try_from(self.strings.len()).expect("small");
        self.strings.extend(text.as_bytes());
        self.strings.push(0);
        offset
    }

    fn words(&mut self, words: &[u32]) {
        self.types.extend(words.iter().flat_map(|word| word.to_ne_bytes()));
    }

    fn add(&mut self, name: &str, kind: u8, flag: bool, len: usize, reference: u32, body: &[u32]) -> u32 {
        let name = self.string(name);
        let info = u32::from(flag) << 31 | u32::from(kind) << 24 | u32::try_from(len).expect("small");
        self.words(&[name, info, reference]);
        self.words(body);
        self.count += 1;
        self.count
    }

    pub(crate) fn int(&mut self, name: &str) -> u32 {
        self.add(name, kind::INT, false, 0, 8, &[64])
    }

    pub(crate) fn reference(&mut self, kind: u8, name: &str, to: u32) -> u32 {
        self.add(name, kind, false, 0, to, &[])
    }

    pub(crate) fn pointer(&mut self, to: u32) -> u32 {
        self.reference(kind::PTR, "", to)
    }

    /// Members as (name, type, offset in bytes).
    pub(crate) fn aggregate(&mut self, kind: u8, name: &str, members: &[(&str, u32, u32)]) -> u32 {
        let body: Vec<u32> =
            members.iter().flat_map(|&(name, id, offset)| [self.string(name), id, offset * 8]).collect();
        self.add(name, kind, false, members.len(), 0, &body)
    }

    pub(crate) fn structure(&mut self, name: &str, members: &[(&str, u32, u32)]) -> u32 {
        self.aggregate(kind::STRUCT, name, members)
    }

    pub(crate) fn enumeration(&mut self, name: &str, values: &[(&str, u32)]) -> u32 {
        let body: Vec<u32> = values.iter().flat_map(|&(name, value)| [self.string(name), value]).collect();
        self.add(name, kind::ENUM, false, values.len(), 4, &body)
    }

    /// A tracepoint with these arguments after the context pointer.
    pub(crate) fn tracepoint(&mut self, name: &str, arguments: &[u32]) -> u32 {
        let void = self.pointer(0);
        let body: Vec<u32> = [void].iter().chain(arguments).flat_map(|&id| [0, id]).collect();
        let function = self.add("", kind::FUNC_PROTO, false, arguments.len() + 1, 0, &body);
        let pointer = self.pointer(function);
        self.reference(kind::TYPEDEF, &format!("btf_trace_{name}"), pointer)
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let len = |bytes: &[u8]| u32::try_from(bytes.len()).expect("small").to_ne_bytes();
        let mut all = Vec::new();
        all.extend(MAGIC.to_ne_bytes());
        all.extend([1, 0]);
        all.extend(24_u32.to_ne_bytes());
        all.extend(0_u32.to_ne_bytes());
        all.extend(len(&self.types));
        all.extend(len(&self.types));
        all.extend(len(&self.strings));
        all.extend(&self.types);
        all.extend(&self.strings);
        all
    }

    pub(crate) fn build(&self) -> Btf {
        Btf::parse(self.bytes()).expect("what was built is readable")
    }
}

#[test]
fn fields_are_found_through_anonymous_members_and_typedefs() {
    let mut builder = Builder::new();
    let int = builder.int("u64");
    let inner = builder.aggregate(kind::UNION, "", &[("dev", int, 0), ("rbnode", int, 8)]);
    let named = builder.structure("possible_net_t", &[("net", int, 24)]);
    let alias = builder.reference(kind::TYPEDEF, "alias", named);
    let constant = builder.reference(kind::CONST, "", alias);
    builder.structure("sk_buff", &[("first", int, 0), ("", inner, 16), ("nd_net", constant, 64)]);
    let btf = builder.build();

    assert_eq!(btf.offset("sk_buff", &["first"]), Ok(0));
    assert_eq!(btf.offset("sk_buff", &["rbnode"]), Ok(24));
    assert_eq!(btf.offset("sk_buff", &["nd_net", "net"]), Ok(88));
    assert_eq!(
        btf.offset("sk_buff", &["nd_net", "gone"]).map_err(|error| error.to_string()),
        Err("the kernel's struct sk_buff has no addressable field nd_net.gone".to_owned())
    );
    assert_eq!(
        btf.offset("gone", &["first"]).map_err(|error| error.to_string()),
        Err("the kernel has no struct gone".to_owned())
    );
}

#[test]
fn a_bit_field_has_no_offset() {
    let mut builder = Builder::new();
    let int = builder.int("u8");
    let names = [builder.string("whole"), builder.string("bits")];
    let [whole, bits] = names;
    builder.add("flags", kind::STRUCT, true, 2, 0, &[whole, int, 16, bits, int, 0x0300_0018]);
    let btf = builder.build();
    assert_eq!(btf.offset("flags", &["whole"]), Ok(2));
    assert!(btf.offset("flags", &["bits"]).is_err());
}

#[test]
fn a_tracepoint_tells_its_arguments() {
    let mut builder = Builder::new();
    let skb = builder.structure("sk_buff", &[]);
    let pointer = builder.pointer(skb);
    let location = builder.pointer(0);
    let reason = builder.enumeration("skb_drop_reason", &[("SKB_NOT_DROPPED_YET", 0)]);
    builder.tracepoint("kfree_skb", &[pointer, location, reason]);
    let btf = builder.build();
    assert_eq!(
        btf.tracepoint("kfree_skb"),
        Some(vec![
            Parameter::PointerTo("sk_buff".to_owned()),
            Parameter::Other,
            Parameter::Enum("skb_drop_reason".to_owned())
        ])
    );
    assert_eq!(btf.tracepoint("icmp_send"), None);
}

#[test]
fn a_member_that_contains_itself_ends() {
    let mut builder = Builder::new();
    // Type 1 has an anonymous member of type 1; type 2 is a typedef of itself.
    builder.structure("loop", &[("", 1, 0)]);
    builder.reference(kind::TYPEDEF, "btf_trace_loop", 2);
    let btf = builder.build();
    assert!(btf.offset("loop", &["x"]).is_err());
    assert_eq!(btf.tracepoint("loop"), None);
}

#[test]
fn many_anonymous_members_of_themselves_end_soon() {
    let mut builder = Builder::new();
    let members = vec![("", 1, 0); 64];
    builder.structure("bush", &members);
    let btf = builder.build();
    assert!(btf.offset("bush", &["x"]).is_err());
}

#[test]
fn what_is_no_btf_is_refused() {
    let good = {
        let mut builder = Builder::new();
        builder.int("u64");
        builder.bytes()
    };
    assert_eq!(Btf::parse(Vec::new()).err(), Some(BtfError::Header));
    assert_eq!(Btf::parse(good[..20].to_vec()).err(), Some(BtfError::Header));
    let mut swapped = good.clone();
    swapped.swap(0, 1);
    assert_eq!(Btf::parse(swapped).err(), Some(BtfError::Header), "the other byte order");
    let mut outside = good.clone();
    outside[12..16].copy_from_slice(&u32::MAX.to_ne_bytes());
    assert_eq!(Btf::parse(outside).err(), Some(BtfError::Header));
    let mut unknown = good;
    unknown[31] = 31;
    assert_eq!(Btf::parse(unknown).err(), Some(BtfError::Type { id: 1, at: 0, kind: 31 }));
}

/// Everything the crate asks, of whatever these bytes are.
fn ask_everything(bytes: Vec<u8>) {
    if let Ok(btf) = Btf::parse(bytes) {
        let _ = crate::layout::find(&btf, true);
        let _ = btf.tracepoint("kfree_skb");
        let _ = btf.enum_values("skb_drop_reason");
        let _ = btf.enums_ending("reason");
    }
}

proptest! {
    #[test]
    fn any_bytes_are_answered(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
        ask_everything(bytes);
    }

    #[test]
    fn damaged_btf_is_answered(damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8)) {
        let mut bytes = crate::layout::tests::kernel(true, true).bytes();
        for (index, value) in damage {
            let at = index.index(bytes.len());
            bytes[at] = value;
        }
        ask_everything(bytes);
    }
}

#[test]
fn this_kernels_own_is_understood() {
    let Ok(bytes) = std::fs::read(super::KERNEL_BTF) else {
        eprintln!("skipped: this kernel has no BTF");
        return;
    };
    let btf = Btf::parse(bytes).expect("readable");
    let found = crate::layout::find(&btf, false).expect("all fields are there");
    assert_ne!(found.layout.net_cookie, 0);
    assert!(btf.offset("sk_buff", &["cloned"]).is_err(), "a bit field");
}

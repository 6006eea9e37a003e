//! The schema keeps what is promised of it: names and values of the answer, enums alone, no 64-bit integers in answers,
//! committed descriptors that belong to the committed `.proto` files.

use std::path::Path;

use prost_reflect::{DescriptorPool, EnumDescriptor, Kind, MessageDescriptor};
use proto::DESCRIPTORS;

const FILES: [&str; 3] =
    ["whydropped/v1/evidence.proto", "whydropped/v1/agent.proto", "whydropped/v1/query.proto"];

fn pool() -> DescriptorPool {
    DescriptorPool::decode(DESCRIPTORS).expect("descriptors decode")
}

fn message(pool: &DescriptorPool, name: &str) -> MessageDescriptor {
    pool.get_message_by_name(&format!("whydropped.v1.{name}")).unwrap_or_else(|| panic!("no message {name}"))
}

#[test]
fn the_answer_has_the_promised_fields() {
    let pool = pool();
    for (name, fields) in [
        ("Explanation", "summary verdict certainty basis question findings paths policy ruledOut notChecked"),
        ("Finding", "id cause title certainty effect at objects because fixes affects"),
        ("Place", "node netnsOwner stage"),
        ("ObjectReference", "apiVersion kind namespace name field"),
        ("Reason", "text evidence source observedAt ageMs"),
        ("Fix", "text command"),
        ("Affects", "backends of"),
        ("Path", "backends backendCount family verdict hops"),
        ("Hop", "stage node state detail rule"),
        ("Rule", "backend family table chain handle rule owner object"),
        ("DirectionVerdict", "effect isolated policies"),
        ("PolicyPart", "kind policy effect rule nearMiss"),
        ("RuledOut", "id cause why"),
        ("NotChecked", "what why remedy"),
        ("Node", "name connected lastSeenAgeMs agentVersion kernel serviceProxy sources lost"),
        ("SourceState", "name state detail"),
        ("ExplainRequest", "source destination namespace via since at connect trace timeout"),
    ] {
        let found: Vec<_> = message(&pool, name).fields().map(|field| field.json_name().to_owned()).collect();
        assert_eq!(found.join(" "), fields, "{name}");
    }
}

#[test]
fn enums_have_the_promised_values() {
    let pool = pool();
    for (name, values) in [
        ("Verdict", "UNSPECIFIED DELIVERED PARTIAL DROPPED REJECTED UNRESOLVED INCONCLUSIVE"),
        ("Certainty", "UNSPECIFIED POSSIBLE LIKELY PROVEN"),
        ("Basis", "UNSPECIFIED OBJECTS PROGRAMMED OBSERVED"),
        ("Effect", "UNSPECIFIED STOPS SOME LATER NOTE"),
        ("HopState", "UNSPECIFIED PASS STOP UNKNOWN"),
        ("PolicyVerdict", "UNSPECIFIED ALLOW DENY UNKNOWN"),
        ("PolicyEffect", "UNSPECIFIED ALLOWS DENIES PASSES PEER_MISMATCH PORT_MISMATCH NO_RULES"),
        ("ServiceProxy", "UNSPECIFIED IPTABLES IPTABLES_LEGACY NFTABLES IPVS OTHER NONE"),
        ("SourceHealth", "UNSPECIFIED OK DEGRADED UNAVAILABLE"),
    ] {
        let holder = message(&pool, name);
        let found: Vec<_> = holder
            .child_enums()
            .flat_map(|kind| kind.values().map(|value| value.name().to_owned()).collect::<Vec<_>>())
            .collect();
        assert_eq!(found.join(" "), values, "{name}");
    }
}

#[test]
fn every_enum_stands_alone_and_starts_unspecified() {
    let pool = pool();
    for kind in pool.all_enums().filter(|kind: &EnumDescriptor| kind.package_name() == "whydropped.v1") {
        let holder = kind.parent_message().unwrap_or_else(|| panic!("{} is not nested", kind.full_name()));
        assert_eq!((kind.name(), holder.fields().len()), ("Value", 0), "{}", kind.full_name());
        assert_eq!(
            kind.get_value(0).map(|value| value.name().to_owned()).as_deref(),
            Some("UNSPECIFIED"),
            "{}",
            kind.full_name()
        );
    }
}

#[test]
fn answers_hold_no_64_bit_integers() {
    let pool = pool();
    let service = pool.get_service_by_name("whydropped.v1.WhyDropped").expect("the service");
    let mut pending: Vec<_> =
        service.methods().flat_map(|method| [method.input(), method.output()]).collect();
    let mut seen = std::collections::BTreeSet::new();
    while let Some(message) = pending.pop() {
        if !seen.insert(message.full_name().to_owned()) {
            continue;
        }
        for field in message.fields() {
            match field.kind() {
                Kind::Message(inner) => pending.push(inner),
                Kind::Int64 | Kind::Uint64 | Kind::Sint64 | Kind::Fixed64 | Kind::Sfixed64 => {
                    panic!("{} is a 64-bit integer", field.full_name())
                }
                _ => {}
            }
        }
    }
    assert!(seen.contains("whydropped.v1.Rule"), "the search reached the answer's depths: {seen:?}");
}

#[test]
fn descriptors_belong_to_the_schema_files() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut compiler = protox::Compiler::new([root]).expect("the schema's folder");
    compiler
        .include_imports(true)
        .open_files(FILES.map(|file| root.join(file)))
        .expect("the schema compiles");
    let compiled = DescriptorPool::from_file_descriptor_set(compiler.file_descriptor_set()).expect("a pool");
    let render = |pool: &DescriptorPool| {
        let mut lines: Vec<_> = pool
            .all_messages()
            .flat_map(|message| {
                message
                    .fields()
                    .map(|field| format!("{} {} {:?}", field.full_name(), field.number(), field.kind()))
                    .collect::<Vec<_>>()
            })
            .collect();
        lines.extend(pool.all_enums().flat_map(|kind| {
            kind.values().map(|value| format!("{} {}", value.full_name(), value.number())).collect::<Vec<_>>()
        }));
        lines.extend(
            pool.services().flat_map(|service| {
                service.methods().map(|method| format!("{method:?}")).collect::<Vec<_>>()
            }),
        );
        lines
    };
    assert_eq!(render(&compiled), render(&pool()), "run `cargo xtask codegen`");
}

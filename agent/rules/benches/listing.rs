//! What `nft -j list ruleset` prints for kube-proxy's Services with five endpoints each (1.33 to 1.35: a chain for each
//! endpoint).

use std::fmt::Write as _;

const ENDPOINTS: u32 = 5;

/// A Service's address.
pub(crate) fn address(service: u32) -> String {
    format!("10.96.{}.{}", service / 250, service % 250 + 1)
}

/// The listing of so many Services.
pub(crate) fn listing(services: u32) -> String {
    let mut chains = String::new();
    let mut rules = String::new();
    let mut elements = String::new();
    let mut addresses = String::new();
    let mut handle = 100;
    for service in 0..services {
        let name = format!("ULMVA6XW-shop-{}/service-{service}/tcp/http", service % 50);
        let vip = address(service);
        let comma = if service == 0 { "" } else { "," };
        let _ = write!(
            elements,
            r#"{comma}[{{"concat":["{vip}","tcp",80]}},{{"goto":{{"target":"service-{name}"}}}}]"#
        );
        let _ = write!(addresses, r#"{comma}"{vip}""#);
        let _ = write!(chains, "{}", chain(&format!("service-{name}"), &mut handle, ""));
        let mut ways = String::new();
        for number in 0..ENDPOINTS {
            let ip = format!("10.{}.{}.{}", 128 + service % 100, service / 250, service % 250 + number + 1);
            let endpoint = format!("endpoint-GTK6MW7G{}__{ip}/8080", &name[8..]);
            let comma = if number == 0 { "" } else { "," };
            let _ = write!(ways, r#"{comma}[{number},{{"goto":{{"target":"{endpoint}"}}}}]"#);
            let _ = write!(chains, "{}", chain(&endpoint, &mut handle, ""));
            let hairpin = format!(
                r#"{{"match":{{"op":"==","left":{{"payload":{{"protocol":"ip","field":"saddr"}}}},"right":"{ip}"}}}},{{"jump":{{"target":"mark-for-masquerade"}}}}"#
            );
            let _ = write!(rules, "{}", rule(&endpoint, &mut handle, &hairpin));
            let dnat = format!(
                r#"{{"match":{{"op":"==","left":{{"meta":{{"key":"l4proto"}}}},"right":"tcp"}}}},{{"dnat":{{"addr":"{ip}","port":8080}}}}"#
            );
            let _ = write!(rules, "{}", rule(&endpoint, &mut handle, &dnat));
        }
        let outside = format!(
            r#"{{"match":{{"op":"==","left":{{"payload":{{"protocol":"ip","field":"daddr"}}}},"right":"{vip}"}}}},{{"match":{{"op":"!=","left":{{"payload":{{"protocol":"ip","field":"saddr"}}}},"right":{{"prefix":{{"addr":"10.244.0.0","len":16}}}}}}}},{{"jump":{{"target":"mark-for-masquerade"}}}}"#
        );
        let _ = write!(rules, "{}", rule(&format!("service-{name}"), &mut handle, &outside));
        let choice = format!(
            r#"{{"vmap":{{"key":{{"numgen":{{"mode":"random","mod":{ENDPOINTS},"offset":0}}}},"data":{{"set":[{ways}]}}}}}}"#
        );
        let _ = write!(rules, "{}", rule(&format!("service-{name}"), &mut handle, &choice));
    }
    let nat = r#","type":"nat","hook":"prerouting","prio":-100,"policy":"accept""#;
    let key = r#"{"concat":[{"payload":{"protocol":"ip","field":"daddr"}},{"meta":{"key":"l4proto"}},{"payload":{"protocol":"th","field":"dport"}}]}"#;
    let mark = r#"{"mangle":{"key":{"meta":{"key":"mark"}},"value":{"|":[{"meta":{"key":"mark"}},16384]}}}"#;
    let table = [
        r#"{"metainfo":{"version":"1.0.6","json_schema_version":1}},{"table":{"family":"ip","name":"kube-proxy","handle":1}}"#,
        &format!(r#",{{"set":{{"family":"ip","name":"cluster-ips","table":"kube-proxy","type":"ipv4_addr","handle":2,"elem":[{addresses}]}}}}"#),
        &format!(r#",{{"map":{{"family":"ip","name":"service-ips","table":"kube-proxy","type":["ipv4_addr","inet_proto","inet_service"],"handle":3,"map":"verdict","elem":[{elements}]}}}}"#),
        &chain("nat-prerouting", &mut handle, nat),
        &chain("services", &mut handle, ""),
        &chain("mark-for-masquerade", &mut handle, ""),
        &chains,
        &rule("nat-prerouting", &mut handle, r#"{"jump":{"target":"services"}}"#),
        &rule("services", &mut handle, &format!(r#"{{"vmap":{{"key":{key},"data":"@service-ips"}}}}"#)),
        &rule("mark-for-masquerade", &mut handle, mark),
        &rules,
    ]
    .concat();
    format!(r#"{{"nftables":[{table}]}}"#)
}

fn chain(name: &str, handle: &mut u32, hook: &str) -> String {
    *handle += 1;
    format!(r#",{{"chain":{{"family":"ip","table":"kube-proxy","name":"{name}","handle":{handle}{hook}}}}}"#)
}

fn rule(chain: &str, handle: &mut u32, statements: &str) -> String {
    *handle += 1;
    format!(
        r#",{{"rule":{{"family":"ip","table":"kube-proxy","chain":"{chain}","handle":{handle},"expr":[{statements}]}}}}"#
    )
}

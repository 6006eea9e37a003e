//! Listings, and the rules that are made of them. What then becomes of packets is tested with the walker.

use super::*;
use crate::ir::Target;

/// The same virtual servers in the three listings of Linux 6.1 and ipvsadm 1.31.
const SAVED: &str = "\
-A -t 10.96.0.1:80 -s rr
-a -t 10.96.0.1:80 -r 10.0.0.2:8080 -m -w 1
-a -t 10.96.0.1:80 -r 10.0.0.3:8080 -m -w 0
-A -t 10.96.0.2:443 -s rr -p 10800
-A -t 10.96.0.3:443 -s sh -p 300 -M 255.255.255.0
-a -t 10.96.0.3:443 -r 10.0.0.2:443 -g -w 1
-a -t 10.96.0.3:443 -r 10.0.0.9:443 -i -w 1 --tun-type gue --tun-port 6080 --tun-nocsum
-a -t 10.96.0.3:443 -r 10.0.9.1:443 -m -w 1
-A -t 10.96.0.5:443 -s mh -b mh-fallback,mh-port
-A -t 10.96.0.7:0 -s rr -p 60
-a -t 10.96.0.7:0 -r 10.0.0.2:0 -m -w 1
-A -u 10.96.0.10:53 -s rr -o
-a -u 10.96.0.10:53 -r 10.0.0.2:53 -m -w 1
-A --sctp-service 10.96.0.11:5000 -s wrr
-a --sctp-service 10.96.0.11:5000 -r 10.0.0.2:5000 -m -w 7
-A -t [fd00:96::1]:80 -s rr -p 60 -M 64
-a -t [fd00:96::1]:80 -r [fd00::2]:8080 -m -w 1
-A -t [fd00:96::1]:81 -s lc
-A -f 1 -s rr
-a -f 1 -r 10.0.0.2:0 -m -w 1
-A -f 2 -6 -s rr -p 60 -M 64
-a -f 2 -6 -r [fd00::2]:0 -m -w 1
-A -f 3 -s rr
";

const PROC: &str = "\
IP Virtual Server version 1.2.1 (size=4096)
Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port Forward Weight ActiveConn InActConn
TCP  [fd00:0096:0000:0000:0000:0000:0000:0001]:0051 lc\x20
TCP  [fd00:0096:0000:0000:0000:0000:0000:0001]:0050 rr persistent 15000 40000000
  -> [fd00:0000:0000:0000:0000:0000:0000:0002]:1F90      Masq    1      0          0\x20\x20\x20\x20\x20\x20\x20\x20\x20
TCP  0A600005:01BB mh  \n\
TCP  0A600002:01BB rr  persistent 2700000 FFFFFFFF
TCP  0A600003:01BB sh  persistent 75000 FFFFFF00
  -> 0A000009:01BB      Tunnel  1      0          0         \n\
  -> 0A000901:01BB      Masq    1      0          0         \n\
  -> 0A000002:01BB      Route   1      0          0         \n\
TCP  0A600001:0050 rr  \n\
  -> 0A000003:1F90      Masq    0      0          0         \n\
  -> 0A000002:1F90      Masq    1      0          0         \n\
TCP  0A600007:0000 rr  persistent 15000 FFFFFFFF
  -> 0A000002:0000      Masq    1      0          0         \n\
SCTP  0A60000B:1388 wrr  \n\
  -> 0A000002:1388      Masq    7      0          0         \n\
UDP  0A60000A:0035 rr ops  \n\
  -> 0A000002:0035      Masq    1      0          0         \n\
FWM  00000001 rr \n\
  -> 0A000002:0000      Masq    1      0          0         \n\
FWM  00000002 rr persistent 15000 40000000
  -> [fd00:0000:0000:0000:0000:0000:0000:0002]:0000      Masq    1      0          0         \n\
FWM  00000003 rr \n";

const LISTED: &str = "\
IP Virtual Server version 1.2.1 (size=4096)
Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn
TCP  10.96.0.1:80 rr
  -> 10.0.0.2:8080                Masq    1      0          0         \n\
  -> 10.0.0.3:8080                Masq    0      0          0         \n\
TCP  10.96.0.2:443 rr persistent 10800
TCP  10.96.0.3:443 sh persistent 300 mask 255.255.255.0
  -> 10.0.0.2:443                 Route   1      0          0         \n\
  -> 10.0.0.9:443                 Tunnel  1      0          0         \n\
  -> 10.0.9.1:443                 Masq    1      0          0         \n\
TCP  10.96.0.5:443 mh (mh-fallback,mh-port)
TCP  10.96.0.7:0 rr persistent 60
  -> 10.0.0.2:0                   Masq    1      0          0         \n\
UDP  10.96.0.10:53 rr ops
  -> 10.0.0.2:53                  Masq    1      0          0         \n\
SCTP 10.96.0.11:5000 wrr
  -> 10.0.0.2:5000                Masq    7      0          0         \n\
TCP  [fd00:96::1]:80 rr persistent 60 mask 64
  -> [fd00::2]:8080               Masq    1      0          0         \n\
TCP  [fd00:96::1]:81 lc
FWM  1 rr
  -> 10.0.0.2:0                   Masq    1      0          0         \n\
FWM  2 IPv6 rr persistent 60 mask 64
  -> [fd00::2]:0                  Masq    1      0          0         \n\
FWM  3 rr
";

fn parsed(text: &str) -> VirtualServers {
    let servers = VirtualServers::parse(text);
    assert_eq!(servers.problems, []);
    servers
}

#[test]
fn what_ipvsadm_saves_is_read() {
    let servers = parsed(SAVED).servers;
    assert_eq!(servers.len(), 12);
    let of = |name: &str| servers.iter().find(|server| server.key.name() == name).unwrap();
    let web = of("TCP 10.96.0.1:80");
    assert_eq!(
        (web.scheduler.as_str(), web.persistent, web.line.as_str()),
        ("rr", false, "-A -t 10.96.0.1:80 -s rr")
    );
    let real: Vec<_> =
        web.destinations.iter().map(|real| (real.address.to_string(), real.method, real.weight)).collect();
    let masquerade = Method::Masquerade;
    assert_eq!(real, [("10.0.0.2:8080".into(), masquerade, 1), ("10.0.0.3:8080".into(), masquerade, 0)]);
    let methods: Vec<_> = of("TCP 10.96.0.3:443").destinations.iter().map(|real| real.method).collect();
    assert_eq!(methods, [Method::Route, Method::Tunnel, Method::Masquerade]);
    assert_eq!(of("TCP 10.96.0.5:443").flags, Some(vec!["mh-fallback".to_owned(), "mh-port".to_owned()]));
    assert_eq!(of("FWM 2").key, Key::Mark { mark: 2, family: Some(Family::Ipv6) });
    assert_eq!(of("SCTP 10.96.0.11:5000").address(), Some((132, "10.96.0.11".parse().unwrap(), 5000)));
}

#[test]
fn the_three_listings_say_the_same() {
    let saved = parsed(SAVED);
    assert_eq!(parsed(LISTED).servers.len(), saved.servers.len());
    // `-Ln` shows neither how a tunnel is made.
    let without_tunnels = |servers: &VirtualServers| {
        let mut servers = servers.servers.clone();
        for real in servers.iter_mut().flat_map(|server| &mut server.destinations) {
            if let Some((line, _)) = real.line.split_once(" --tun-type") {
                real.line = line.to_owned();
            }
        }
        servers
    };
    assert_eq!(without_tunnels(&parsed(LISTED)), without_tunnels(&saved));
    // Nor does the file show flags, and times in ticks alone; and of marks' servers without real ones no family.
    let bare = |servers: &VirtualServers| {
        let mut servers = without_tunnels(servers);
        for server in &mut servers {
            server.flags = None;
            server.line.clear();
            if let Key::Mark { mark: 3, family } = &mut server.key {
                *family = None;
            }
        }
        servers.sort();
        servers
    };
    assert_eq!(bare(&parsed(PROC)), bare(&saved));
    let lines: Vec<_> = parsed(PROC).servers.into_iter().map(|server| server.line).collect();
    assert!(lines.contains(&"-A -t 10.96.0.3:443 -s sh -p".to_owned()), "{lines:?}");
    assert!(lines.contains(&"-A -u 10.96.0.10:53 -s rr -o".to_owned()), "{lines:?}");
}

#[test]
fn what_cannot_be_read_is_told() {
    let text = "-A -t web:http -s rr\n-a -t 10.96.0.1:80 -r 10.0.0.1:80 -m\n-A -t 10.96.0.2:80\n-A -x 1 -s rr\n\
                -A -t 10.96.0.3:80 -s rr --new\nhello\nTCP  0A60000Z:0050 rr\n  -> 0A000002:1F90 Masq 1 0 0\n\
                TCP  0A600001:0050 rr strange\n";
    let servers = VirtualServers::parse(text);
    let told: Vec<_> = servers.problems.iter().map(|problem| (problem.line, problem.what.as_str())).collect();
    assert_eq!(
        told,
        [
            (1, "an address and port that are no numbers"),
            (2, "a real server without a virtual one"),
            (3, "a virtual server without a scheduler"),
            (4, "a virtual server of a kind that is not known"),
            (5, "an option of a virtual server that is not known"),
            (6, "not a line of a listing of virtual servers"),
            (7, "an address and port that are no hexadecimal numbers"),
            (8, "a real server without a virtual one"),
            (9, "a word about a virtual server that is not known"),
        ]
    );
    assert_eq!(servers.servers, []);
}

/// Chains and what their rules read, in order.
fn chains(text: &str, family: Family) -> Vec<(String, Vec<String>)> {
    let set = parsed(text).lower(family, "");
    let Some(table) = set.tables.first() else { return Vec::new() };
    let words = |target: &Target| match target {
        Target::Goto(chain) => format!(" => {}", set.text(table.chains[*chain as usize].name)),
        Target::Reject(_) => " => refused".to_owned(),
        _ => String::new(),
    };
    let chains = table.chains.iter().map(|chain| {
        let rules =
            table.rules_of(chain).iter().map(|rule| set.text(rule.text).to_owned() + &words(&rule.target));
        (set.text(chain.name).to_owned(), rules.collect())
    });
    chains.collect()
}

#[test]
fn marks_are_looked_up_first_and_what_answers_to_all_ports_last() {
    let text = "-A -t 10.96.0.7:0 -s rr -p 60\n-A -t 10.96.0.7:80 -s rr\n-A -f 9 -s rr\n-A -u 10.96.0.7:80 -s rr\n\
                -A -t [fd00::7]:80 -s rr\n";
    let found = chains(text, Family::Ipv4);
    let names: Vec<_> = found.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(
        names,
        ["INPUT", "OUTPUT", "FWM 9", "TCP 10.96.0.7:80", "UDP 10.96.0.7:80", "TCP 10.96.0.7:0"]
    );
    assert_eq!(
        found[0].1,
        [
            "-A -f 9 -s rr => FWM 9",
            "-A -t 10.96.0.7:80 -s rr => TCP 10.96.0.7:80",
            "-A -u 10.96.0.7:80 -s rr => UDP 10.96.0.7:80",
            "-A -t 10.96.0.7:0 -s rr -p 60 => TCP 10.96.0.7:0",
        ]
    );
    assert_eq!(found[0].1, found[1].1, "both hooks ask the same");
    assert_eq!(chains(text, Family::Ipv6)[2].0, "TCP [fd00::7]:80");
    assert_eq!(chains("", Family::Ipv4), []);
}

#[test]
fn weight_0_takes_no_new_connections() {
    let servers = |scheduler: &str, weights: &[u32]| {
        let real = |(number, weight): (usize, &u32)| {
            format!("-a -t 10.96.0.1:80 -r 10.0.0.{number}:80 -m -w {weight}\n")
        };
        let real: Vec<String> = weights.iter().enumerate().map(real).collect();
        let text = format!("-A -t 10.96.0.1:80 -s {scheduler}\n{}", real.concat());
        let rules = chains(&text, Family::Ipv4).pop().unwrap().1;
        rules
            .iter()
            .map(|rule| {
                if rule.ends_with(" => refused") {
                    "refused".to_owned()
                } else {
                    rule.split(' ').nth(4).unwrap().to_owned()
                }
            })
            .collect::<Vec<_>>()
    };
    assert_eq!(servers("rr", &[1, 0, 2]), ["10.0.0.0:80", "10.0.0.2:80"]);
    assert_eq!(servers("rr", &[0, 0]), ["refused"]);
    assert_eq!(servers("rr", &[]), ["refused"]);
    assert_eq!(servers("dh", &[1, 0]), ["refused", "10.0.0.0:80"], "a client whose hash falls on it");
    assert_eq!(servers("sh", &[1, 0]), ["refused", "10.0.0.0:80"]);
    assert_eq!(servers("sh -b sh-fallback", &[1, 0]), ["10.0.0.0:80"]);
    assert_eq!(servers("mh -b mh-port", &[1, 0]), ["refused", "10.0.0.0:80"]);
    assert_eq!(servers("mh -b flag-1,flag-2", &[1, 0]), ["10.0.0.0:80"]);
    assert_eq!(servers("fo", &[1, 3, 3, 0]), ["10.0.0.1:80", "10.0.0.2:80"], "the heaviest alone");
}

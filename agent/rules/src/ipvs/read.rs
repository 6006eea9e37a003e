//! Reads listings of virtual servers. What they mean is the business of `lower`.
//!
//! Three kinds: `/proc/net/ip_vs` (`ip_vs_info_seq_show` in ip_vs_ctl.c: hexadecimal), `ipvsadm -Ln` (the same with
//! decimal numbers) and `ipvsadm -Sn` (the options that would make them again). They are told apart line by line.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::SplitAsciiWhitespace;

use hashbrown::HashMap;
use model::flow::Family;

use super::{Destination, Key, Method, Server, VirtualServers};
use crate::iptables::{MAX_PROBLEMS, excerpt};
use crate::ir::Problem;

/// Virtual and real servers kept, some 70 MB of them at the most. 10,000 Services of five endpoints are 60,000, as often as
/// the node has addresses for their node ports.
const MAX_LINES: usize = 500_000;

type Refusal = &'static str;

pub(super) fn parse(text: &str) -> VirtualServers {
    let mut reader = Reader {
        servers: Vec::new(),
        places: HashMap::new(),
        latest: None,
        decimal: false,
        problems: Vec::new(),
        suppressed: 0,
        kept: 0,
        cut: 0,
    };
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim_ascii();
        if let Err(what) = reader.line(line) {
            reader.problem(number, line, what);
        }
    }
    reader.finish()
}

struct Reader {
    servers: Vec<Server>,
    /// Where servers are that real ones name.
    places: HashMap<Key, usize>,
    /// The virtual server whose real ones follow.
    latest: Option<usize>,
    /// Whether numbers are decimal, as in `ipvsadm -Ln`.
    decimal: bool,
    problems: Vec<Problem>,
    suppressed: usize,
    kept: usize,
    cut: usize,
}

impl Reader {
    fn finish(mut self) -> VirtualServers {
        let more = |what: String| Problem { line: 0, excerpt: String::new(), what };
        if self.cut > 0 {
            self.problems
                .push(more(format!("{} servers beyond the first {MAX_LINES} were left out", self.cut)));
        }
        if self.suppressed > 0 {
            self.problems.push(more(format!("{} more lines could not be read", self.suppressed)));
        }
        let mut servers = self.servers;
        for server in &mut servers {
            // Listings have them in the order of lists and hashes, and none in the same.
            server.destinations.sort();
            if let Key::Mark { mark, family: None } = server.key {
                // /proc/net/ip_vs does not say of which family a mark's server is; its real servers do.
                let family = server.destinations.first().map(|real| Family::of(real.address.ip()));
                let (before, after) = (server.key.option(), Key::Mark { mark, family }.option());
                let lines = server.destinations.iter_mut().map(|real| &mut real.line);
                for line in lines.chain([&mut server.line]) {
                    *line = line.replacen(&before, &after, 1);
                }
                server.key = Key::Mark { mark, family };
            }
        }
        servers.sort_by_key(|server| server.key);
        VirtualServers { servers, problems: self.problems }
    }

    fn line(&mut self, line: &str) -> Result<(), Refusal> {
        let mut words = line.split_ascii_whitespace();
        let Some(first) = words.next() else { return Ok(()) };
        if self.kept >= MAX_LINES {
            self.cut += 1;
            return Ok(());
        }
        match first {
            // The heading: of three lines, the last of which differs between the two listings.
            "IP" | "Prot" => return Ok(()),
            "->" if line.contains("RemoteAddress:Port") => {
                self.decimal = !line.contains("RemoteAddress:Port Forward");
                return Ok(());
            }
            "-A" => self.add_server(line, &mut words)?,
            "-a" => self.add_destination(line, &mut words)?,
            "TCP" | "UDP" | "SCTP" | "FWM" => self.server(first, &mut words)?,
            "->" => self.destination(&mut words)?,
            _ => return Err("not a line of a listing of virtual servers"),
        }
        self.kept += 1;
        Ok(())
    }

    /// `TCP 0A600001:0050 rr persistent 15000 FFFFFFFF`, `FWM 00000001 rr ops`, or the same in decimal numbers.
    fn server(&mut self, protocol: &str, words: &mut SplitAsciiWhitespace<'_>) -> Result<(), Refusal> {
        self.latest = None;
        let name = words.next().ok_or("a virtual server without an address")?;
        let key = if protocol == "FWM" {
            let mark = if self.decimal { name.parse().ok() } else { u32::from_str_radix(name, 16).ok() };
            let ipv6 = words.clone().next() == Some("IPv6");
            if ipv6 {
                words.next();
            }
            let family = self.decimal.then_some(if ipv6 { Family::Ipv6 } else { Family::Ipv4 });
            Key::Mark { mark: mark.ok_or("a mark that is no number")?, family }
        } else {
            let protocol = protocol_number(protocol).ok_or("a protocol that is not known")?;
            Key::Address { protocol, address: self.address(name)? }
        };
        let scheduler = words.next().ok_or("a virtual server without a scheduler")?;
        let mut server = Server {
            key,
            scheduler: scheduler.to_owned(),
            persistent: false,
            // `-Ln` prints them in parentheses if there are some.
            flags: self.decimal.then(Vec::new),
            line: String::new(),
            destinations: Vec::new(),
        };
        let mut options = vec![format!("-A {} -s {scheduler}", key.option())];
        while let Some(word) = words.next() {
            options.push(match word {
                "persistent" => {
                    server.persistent = true;
                    let time = words.next().ok_or("a time that is missing")?;
                    if self.decimal {
                        format!("-p {time}")
                    } else {
                        // Counted in ticks, whose length the file does not tell; a mask follows, which decides nothing.
                        words.next().ok_or("a mask that is missing")?;
                        "-p".to_owned()
                    }
                }
                "mask" => format!("-M {}", words.next().ok_or("a mask that is missing")?),
                "ops" => "-o".to_owned(),
                "pe" => format!("--pe {}", words.next().ok_or("an engine without its name")?),
                word => {
                    let flags = word.strip_prefix('(').and_then(|word| word.strip_suffix(')'));
                    let flags = flags.ok_or("a word about a virtual server that is not known")?;
                    server.flags = Some(flags.split(',').map(str::to_owned).collect());
                    format!("-b {flags}")
                }
            });
        }
        server.line = options.join(" ");
        self.latest = Some(self.servers.len());
        self.servers.push(server);
        Ok(())
    }

    /// `-> 0A000002:1F90 Masq 1 0 0`
    fn destination(&mut self, words: &mut SplitAsciiWhitespace<'_>) -> Result<(), Refusal> {
        let name = words.next().ok_or("a real server without an address")?;
        let method = match words.next() {
            Some("Masq") => Method::Masquerade,
            Some("Route") => Method::Route,
            Some("Tunnel") => Method::Tunnel,
            Some("Local") => Method::Local,
            _ => return Err("a way to a real server that is not known"),
        };
        let weight = words.next().and_then(|word| word.parse().ok()).ok_or("a weight that is no number")?;
        let address = self.address(name)?;
        let latest = self.latest.and_then(|index| self.servers.get_mut(index));
        let server = latest.ok_or("a real server without a virtual one")?;
        let option = match method {
            Method::Masquerade => "-m",
            // There is no option for the second: the kernel makes it of `-g` to an address of its own.
            Method::Route | Method::Local => "-g",
            Method::Tunnel => "-i",
        };
        let line = format!("-a {} -r {address} {option} -w {weight}", server.key.option());
        server.destinations.push(Destination { address, method, weight, line });
        Ok(())
    }

    /// `-A -t 10.96.0.1:80 -s rr -p 300 -M 255.255.255.0 -o -b flags`
    fn add_server(&mut self, line: &str, words: &mut SplitAsciiWhitespace<'_>) -> Result<(), Refusal> {
        let key = saved_key(words)?;
        let mut server = Server {
            key,
            scheduler: String::new(),
            persistent: false,
            flags: Some(Vec::new()),
            line: line.to_owned(),
            destinations: Vec::new(),
        };
        while let Some(option) = words.next() {
            match option {
                "-s" => value(words)?.clone_into(&mut server.scheduler),
                "-p" => {
                    server.persistent = true;
                    value(words)?;
                }
                "-b" => server.flags = Some(value(words)?.split(',').map(str::to_owned).collect()),
                "-M" | "--pe" => {
                    value(words)?;
                }
                "-o" => {}
                _ => return Err("an option of a virtual server that is not known"),
            }
        }
        if server.scheduler.is_empty() {
            return Err("a virtual server without a scheduler");
        }
        self.places.insert(key, self.servers.len());
        self.servers.push(server);
        Ok(())
    }

    /// `-a -t 10.96.0.1:80 -r 10.0.0.2:8080 -m -w 1 -x 0 -y 0 --tun-type ipip`
    fn add_destination(&mut self, line: &str, words: &mut SplitAsciiWhitespace<'_>) -> Result<(), Refusal> {
        let key = saved_key(words)?;
        let (mut address, mut method, mut weight) = (None, Method::Route, 1);
        while let Some(option) = words.next() {
            match option {
                "-r" => address = Some(decimal(value(words)?)?),
                "-m" => method = Method::Masquerade,
                "-g" => method = Method::Route,
                "-i" => method = Method::Tunnel,
                "-w" => weight = value(words)?.parse().map_err(|_| "a weight that is no number")?,
                "-x" | "-y" | "--tun-type" | "--tun-port" => {
                    value(words)?;
                }
                "--tun-nocsum" | "--tun-csum" | "--tun-remcsum" => {}
                _ => return Err("an option of a real server that is not known"),
            }
        }
        let address = address.ok_or("a real server without an address")?;
        let server = self.places.get(&key).and_then(|index| self.servers.get_mut(*index));
        let server = server.ok_or("a real server without a virtual one")?;
        server.destinations.push(Destination { address, method, weight, line: line.to_owned() });
        Ok(())
    }

    fn address(&self, text: &str) -> Result<SocketAddr, Refusal> {
        if self.decimal { decimal(text) } else { hexadecimal(text) }
    }

    fn problem(&mut self, line: u32, text: &str, what: Refusal) {
        if self.problems.len() < MAX_PROBLEMS {
            self.problems.push(Problem { line, excerpt: excerpt(text), what: what.to_owned() });
        } else {
            self.suppressed += 1;
        }
    }
}

/// The option that names a virtual server.
fn saved_key(words: &mut SplitAsciiWhitespace<'_>) -> Result<Key, Refusal> {
    let option = words.next().ok_or("a virtual server without an address")?;
    let protocol = match option {
        "-t" => 6,
        "-u" => 17,
        "--sctp-service" => 132,
        "-f" => {
            let mark = value(words)?.parse().map_err(|_| "a mark that is no number")?;
            let ipv6 = words.clone().next() == Some("-6");
            if ipv6 {
                words.next();
            }
            let family = Some(if ipv6 { Family::Ipv6 } else { Family::Ipv4 });
            return Ok(Key::Mark { mark, family });
        }
        _ => return Err("a virtual server of a kind that is not known"),
    };
    Ok(Key::Address { protocol, address: decimal(value(words)?)? })
}

fn value<'t>(words: &mut SplitAsciiWhitespace<'t>) -> Result<&'t str, Refusal> {
    words.next().ok_or("an option without its value")
}

/// `10.96.0.1:80` or `[fd00::1]:80`; names mean that `-n` was left out.
fn decimal(text: &str) -> Result<SocketAddr, Refusal> {
    text.parse().map_err(|_| "an address and port that are no numbers")
}

/// `0A600001:0050` or `[fd00:0096:0000:0000:0000:0000:0000:0001]:0050`.
fn hexadecimal(text: &str) -> Result<SocketAddr, Refusal> {
    const REFUSAL: Refusal = "an address and port that are no hexadecimal numbers";
    let (address, port) = text.rsplit_once(':').ok_or(REFUSAL)?;
    let port = u16::from_str_radix(port, 16).map_err(|_| REFUSAL)?;
    let address = match address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(address) => IpAddr::V6(address.parse::<Ipv6Addr>().map_err(|_| REFUSAL)?),
        None => IpAddr::V4(Ipv4Addr::from_bits(u32::from_str_radix(address, 16).map_err(|_| REFUSAL)?)),
    };
    Ok(SocketAddr::new(address, port))
}

fn protocol_number(name: &str) -> Option<u8> {
    match name {
        "TCP" => Some(6),
        "UDP" => Some(17),
        "SCTP" => Some(132),
        _ => None,
    }
}

pub(super) const fn protocol_name(number: u8) -> &'static str {
    match number {
        6 => "TCP",
        17 => "UDP",
        _ => "SCTP",
    }
}

//! Listeners as text: `tcp:8080`, `tcp:127.0.0.1:8080`, `tcp:[::]:9090,backlog=1,deaf`, `udp:53`.
//!
//! A port alone means every address of both families. The answer has no text form; parsing leaves it empty.

use std::fmt;
use std::net::{Ipv6Addr, SocketAddr};
use std::str::FromStr;

use model::Protocol;

use super::Listen;
use crate::error::Error;

/// The longest queue that can be asked for; the kernel cuts at `net.core.somaxconn`, 4096 unless changed (since 5.4).
const MAX_BACKLOG: i32 = 4096;

impl Listen {
    /// Reads the text form.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let refuse = |what: String| Error::ListenText { text: text.to_owned(), what };
        let mut words = text.split(',');
        let first = words.next().unwrap_or_default();
        let (protocol, place) =
            first.split_once(':').ok_or_else(|| refuse("there is no `:` after the protocol".into()))?;
        let protocol = match protocol {
            "tcp" => Protocol::Tcp,
            "udp" => Protocol::Udp,
            "sctp" => {
                return Err(Error::Unsupported { object: format!("listener {text}"), what: "SCTP".into() });
            }
            other => return Err(refuse(format!("there is no protocol `{other}`"))),
        };
        let address = match place.parse::<u16>() {
            Ok(port) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)),
            Err(_) => place.parse().map_err(|_| refuse(format!("`{place}` is no port or address:port")))?,
        };
        if address.port() == 0 {
            return Err(refuse("port 0 is no port".into()));
        }
        let mut listen = Self { protocol, address, ..Self::on_all(0, "") };
        let mut seen = Vec::new();
        for word in words {
            let (name, value) =
                word.split_once('=').map_or((word, None), |(name, value)| (name, Some(value)));
            if seen.contains(&name) {
                return Err(refuse(format!("`{name}` is there twice")));
            }
            seen.push(name);
            match (name, value) {
                ("deaf", None) => listen.accept = false,
                ("v6only", None) if address.is_ipv6() => listen.v6only = true,
                ("v6only", None) => return Err(refuse(format!("`v6only` is not for {}", address.ip()))),
                ("backlog", Some(_)) if protocol != Protocol::Tcp => {
                    return Err(refuse("`backlog` is for TCP alone".into()));
                }
                ("backlog", Some(value)) => {
                    let number = value.parse().ok().filter(|number| (0..=MAX_BACKLOG).contains(number));
                    listen.backlog =
                        number.ok_or_else(|| refuse(format!("`{value}` is not 0 to {MAX_BACKLOG}")))?;
                }
                _ => return Err(refuse(format!("there is no option `{word}`"))),
            }
        }
        Ok(listen)
    }
}

impl FromStr for Listen {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Self::parse(text)
    }
}

/// The shortest text that is read as the same.
impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { protocol, address, v6only, backlog, accept, answer: _ } = self;
        let everywhere = address.ip() == Ipv6Addr::UNSPECIFIED && !v6only;
        match address {
            _ if everywhere => write!(f, "{}:{}", protocol.lower(), address.port())?,
            address => write!(f, "{}:{address}", protocol.lower())?,
        }
        if *protocol == Protocol::Tcp && *backlog != Self::BACKLOG {
            write!(f, ",backlog={backlog}")?;
        }
        if *v6only && address.is_ipv6() {
            f.write_str(",v6only")?;
        }
        if !accept {
            f.write_str(",deaf")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, SocketAddrV6};

    use proptest::prelude::*;

    use super::*;

    fn any_listen() -> impl Strategy<Value = Listen> {
        let address = prop_oneof![
            (any::<IpAddr>(), 1_u16..).prop_map(|(address, port)| SocketAddr::new(address, port)),
            (1_u16..).prop_map(|port| SocketAddr::from((Ipv6Addr::UNSPECIFIED, port))),
            (any::<Ipv6Addr>(), 1_u16.., any::<u32>())
                .prop_map(|(address, port, scope)| SocketAddrV6::new(address, port, 0, scope).into()),
        ];
        (any::<bool>(), address, any::<bool>(), 0..=MAX_BACKLOG, any::<bool>()).prop_map(
            |(tcp, address, v6only, backlog, accept)| Listen {
                protocol: if tcp { Protocol::Tcp } else { Protocol::Udp },
                address,
                v6only: v6only && address.is_ipv6(),
                backlog: if tcp { backlog } else { Listen::BACKLOG },
                accept,
                answer: Vec::new(),
            },
        )
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_as_the_same(listen in any_listen()) {
            let text = listen.to_string();
            prop_assert_eq!(Listen::parse(&text).map_err(|error| error.to_string()), Ok(listen), "{}", text);
        }

        #[test]
        fn any_text_is_read_or_refused(text in "(tcp|udp|sctp|x)?:?[0-9a-f:.\\[\\]%]{0,20}(,[a-z0-9=-]{0,12}){0,3}") {
            if let Ok(listen) = Listen::parse(&text) {
                prop_assert_eq!(Listen::parse(&listen.to_string()).map_err(|error| error.to_string()), Ok(listen));
            }
        }
    }

    #[test]
    fn the_forms_of_the_documentation_mean_what_it_says() {
        let parse = |text: &str| Listen::parse(text).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(parse("tcp:8080"), Listen::on_all(8080, ""));
        assert_eq!(parse("tcp:0.0.0.0:8080"), Listen::on(8080, ""));
        assert_eq!(parse("tcp:127.0.0.1:8080"), Listen::on_loopback(8080, ""));
        assert_eq!(parse("udp:53"), Listen::on_all(53, "").udp());
        let deaf = Listen { backlog: 1, accept: false, ..Listen::on_all(9090, "") };
        assert_eq!(parse("tcp:[::]:9090,backlog=1,deaf"), deaf);
        assert_eq!(deaf.to_string(), "tcp:9090,backlog=1,deaf");
        assert_eq!(parse("udp:[::]:53,v6only").to_string(), "udp:[::]:53,v6only");
    }

    #[test]
    fn what_is_wrong_is_named_with_what_is_allowed() {
        for (text, reason) in [
            ("8080", "there is no `:` after the protocol"),
            ("", "there is no `:` after the protocol"),
            ("http:80", "there is no protocol `http`"),
            ("tcp:", "`` is no port or address:port"),
            ("tcp:70000", "`70000` is no port or address:port"),
            ("tcp:::1:80", "`::1:80` is no port or address:port"),
            ("tcp:0", "port 0 is no port"),
            ("tcp:80,mute", "there is no option `mute`"),
            ("tcp:80,deaf=1", "there is no option `deaf=1`"),
            ("tcp:80,deaf,deaf", "`deaf` is there twice"),
            ("tcp:80,backlog=-1", "`-1` is not 0 to 4096"),
            ("udp:80,backlog=1", "`backlog` is for TCP alone"),
            ("tcp:127.0.0.1:80,v6only", "`v6only` is not for 127.0.0.1"),
        ] {
            let error = Listen::parse(text).expect_err(text).to_string();
            let allowed = "allowed is tcp or udp, `:`, a port or ADDRESS:PORT or [ADDRESS]:PORT, then any of \
                           `,backlog=N` (tcp), `,v6only` (an IPv6 address) and `,deaf`";
            assert_eq!(error, format!("listener `{text}`: {reason}; {allowed}"));
        }
        let error = Listen::parse("sctp:80").expect_err("refused");
        assert!(matches!(error, Error::Unsupported { .. }));
        assert_eq!(error.to_string(), "listener sctp:80: SCTP is not supported by the lab");
    }
}

//! `PORT[/tcp|udp|sctp]` as typed.

use model::Protocol;

use crate::error::CliError;

/// One port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Port {
    /// Its number.
    pub number: u16,
    /// Its protocol.
    pub protocol: Protocol,
}

impl Port {
    /// Reads one.
    pub fn parse(text: &str) -> Result<Self, CliError> {
        let (number, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
        let wrong = |why: String| CliError::Usage { what: format!("--port `{text}`: {why}") };
        let protocol = protocol.parse::<Protocol>().map_err(|error| wrong(error.to_string()))?;
        match number.parse::<u16>() {
            Ok(number) if number != 0 => Ok(Self { number, protocol }),
            _ => Err(wrong(format!("`{number}` is no port (1 to 65535)"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_have_a_protocol() {
        let of = |text: &str| Port::parse(text).ok().map(|port| (port.number, port.protocol));
        assert_eq!(of("80"), Some((80, Protocol::Tcp)));
        assert_eq!(of("53/UDP"), Some((53, Protocol::Udp)));
        for bad in ["0", "70000", "http", "80/icmp", ""] {
            assert_eq!(of(bad), None, "{bad}");
        }
    }
}

//! From a configured URL to an open HTTP/2 channel: addresses, TLS, the token. One attempt; who tries again is `link`.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Uri};

use super::LinkError;
use crate::config::{CollectorUrl, Config};

/// A resolver that needs longer is as good as none: remembered addresses are tried next.
const RESOLVE_WITHIN: Duration = Duration::from_secs(5);
/// Two SYN retransmissions (1 s, 3 s) fit; what has not answered by then is not there.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// Addresses of one name that are tried in one round.
const MOST_ADDRESSES: usize = 8;
/// Far above a token (about 1 KB) or a bundle of private issuers.
const MOST_FILE_BYTES: u64 = 1024 * 1024;

/// One address to try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Candidate {
    /// The URL it stands for: its host name is what the certificate is checked against.
    pub(super) url: CollectorUrl,
    /// Where to connect.
    pub(super) address: SocketAddr,
    /// Whether it comes from the state directory rather than from the resolver.
    pub(super) remembered: bool,
}

impl fmt::Display for Candidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.url.text)?;
        if self.url.host.parse::<IpAddr>().is_err() {
            write!(f, " ({})", self.address)?;
        }
        Ok(())
    }
}

/// The addresses a URL stands for now.
pub(super) async fn resolve(url: &CollectorUrl) -> Result<Vec<Candidate>, LinkError> {
    let wrong = |problem: String| LinkError::Resolve { host: url.host.clone(), problem };
    let lookup = tokio::net::lookup_host((url.host.as_str(), url.port));
    let addresses = tokio::time::timeout(RESOLVE_WITHIN, lookup)
        .await
        .map_err(|_| wrong(format!("no answer within {} s", RESOLVE_WITHIN.as_secs())))?
        .map_err(|error| wrong(error.to_string()))?;
    let candidates: Vec<Candidate> = addresses
        .take(MOST_ADDRESSES)
        .map(|address| Candidate { url: url.clone(), address, remembered: false })
        .collect();
    if candidates.is_empty() {
        return Err(wrong("the name has no address".to_owned()));
    }
    Ok(candidates)
}

/// Opens a channel to one address.
pub(super) async fn connect(candidate: &Candidate, config: &Config) -> Result<Channel, LinkError> {
    let url = &candidate.url;
    let wrong = |problem: String| LinkError::Connect { to: candidate.to_string(), problem };
    let scheme = if url.tls { "https" } else { "http" };
    let origin: Uri = url.text.parse().map_err(|_| wrong("not a URL".to_owned()))?;
    // Dialled by address so that the address is known afterwards; named by URL to the other side.
    let mut endpoint = Endpoint::from_shared(format!("{scheme}://{}", candidate.address))
        .map_err(|error| wrong(reason(&error)))?
        .origin(origin)
        .connect_timeout(CONNECT_WITHIN)
        .tcp_nodelay(true);
    if url.tls {
        let Some(ca_file) = &config.ca_file else {
            return Err(wrong("https without --ca-file".to_owned()));
        };
        let pem = read_small("certificates", ca_file)?;
        let tls =
            ClientTlsConfig::new().ca_certificate(Certificate::from_pem(pem)).domain_name(url.host.clone());
        endpoint = endpoint.tls_config(tls).map_err(|error| wrong(reason(&error)))?;
    }
    // tonic's own bound covers TCP only; this one the TLS handshake too.
    tokio::time::timeout(CONNECT_WITHIN * 2, endpoint.connect())
        .await
        .map_err(|_| wrong(format!("no connection within {} s", CONNECT_WITHIN.as_secs() * 2)))?
        .map_err(|error| wrong(reason(&error)))
}

/// The `authorization` header, if a token is configured. Read each time: projected tokens are renewed in place.
pub(super) fn authorization(config: &Config) -> Result<Option<MetadataValue<Ascii>>, LinkError> {
    let Some(path) = &config.token_file else { return Ok(None) };
    let bytes = read_small("token", path)?;
    let wrong = |problem: &str| LinkError::File {
        what: "token",
        path: path.display().to_string(),
        problem: problem.to_owned(),
    };
    let token = std::str::from_utf8(&bytes).map_err(|_| wrong("not text"))?.trim();
    if token.is_empty() {
        return Err(wrong("the file is empty"));
    }
    let mut value: MetadataValue<Ascii> = format!("Bearer {token}")
        .parse()
        .map_err(|_| wrong("not a token: it has characters no header may have"))?;
    value.set_sensitive(true);
    Ok(Some(value))
}

fn read_small(what: &'static str, path: &Path) -> Result<Vec<u8>, LinkError> {
    let wrong = |problem: String| LinkError::File { what, path: path.display().to_string(), problem };
    let length = std::fs::metadata(path).map_err(|error| wrong(error.to_string()))?.len();
    if length > MOST_FILE_BYTES {
        return Err(wrong(format!("larger than {MOST_FILE_BYTES} bytes")));
    }
    std::fs::read(path).map_err(|error| wrong(error.to_string()))
}

/// The innermost error: tonic's own text is "transport error" for everything.
fn reason(error: &tonic::transport::Error) -> String {
    let mut innermost: &dyn std::error::Error = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string().escape_debug().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(token: Option<&Path>) -> Config {
        Config {
            collectors: Vec::new(),
            node: "node-1".to_owned(),
            admin: SocketAddr::from(([127, 0, 0, 1], 0)),
            token_file: token.map(Path::to_owned),
            ca_file: None,
            state_dir: None,
            log: String::new(),
        }
    }

    #[test]
    fn a_renewed_token_is_read_again() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("token");
        std::fs::write(&file, "one\n").expect("writes");
        let config = config(Some(&file));
        let first = authorization(&config).expect("reads").expect("there is one");
        assert_eq!(first.to_str().ok(), Some("Bearer one"));
        std::fs::write(&file, "two").expect("writes");
        let second = authorization(&config).expect("reads").expect("there is one");
        assert_eq!(second.to_str().ok(), Some("Bearer two"));
        assert!(!format!("{second:?}").contains("two"), "a token must not be printable: {second:?}");
    }

    #[test]
    fn a_bad_token_file_is_told_by_name() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("token");
        for (content, part) in [("", "empty"), ("a\nb", "no header")] {
            std::fs::write(&file, content).expect("writes");
            let text = authorization(&config(Some(&file))).expect_err("unusable").to_string();
            assert!(text.contains(part) && text.contains("token"), "{text}");
        }
        std::fs::remove_file(&file).expect("removes");
        let text = authorization(&config(Some(&file))).expect_err("absent").to_string();
        assert!(text.contains("No such file"), "{text}");
    }

    #[tokio::test]
    async fn a_refused_connection_says_so() {
        // Bound and dropped: nothing listens there now.
        let address = std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("binds");
        let url = CollectorUrl::parse(&format!("http://{address}")).expect("a URL");
        let candidates = resolve(&url).await.expect("an address resolves to itself");
        assert_eq!(candidates[0].address, address);
        let error = connect(&candidates[0], &config(None)).await.expect_err("nothing listens");
        assert!(error.to_string().contains("refused"), "{error}");
    }
}

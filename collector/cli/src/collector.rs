//! Speaking to the collector.

use std::net::IpAddr;
use std::time::Duration;

use proto::v1::why_dropped_client::WhyDroppedClient;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Uri};
use tonic::{Code, Request, Status};

use crate::args::Args;
use crate::error::CliError;

/// How long a connection may take to come about; a collector that is there answers in milliseconds.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a list may take where `--timeout` does not say.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// What `tonic` says where this end gave up waiting.
const TIMED_OUT: &str = "Timeout expired";

/// What `tonic` says where a web server answered that knows nothing of gRPC.
const NO_STATUS: &str = "grpc-status header missing";

/// Answers stay under 4 MB; lists of drops are bounded by the collector. Twice that leaves room for a later version.
const MESSAGE_MAX: usize = 8 << 20;

/// A client that carries the token.
pub type Client = WhyDroppedClient<InterceptedService<Channel, Token>>;

/// Puts the token to every call.
#[derive(Clone, Debug)]
pub struct Token(Option<MetadataValue<Ascii>>);

impl Interceptor for Token {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(token) = &self.0 {
            request.metadata_mut().insert("authorization", token.clone());
        }
        Ok(request)
    }
}

/// Connects to the collector for a command that needs one.
pub async fn needed(args: &Args, command: &'static str) -> Result<Client, CliError> {
    let url = args.collector.as_deref().filter(|url| !url.is_empty());
    connect(args, url.ok_or(CliError::NoCollector { command })?).await
}

/// Connects to the collector at a URL.
pub async fn connect(args: &Args, url: &str) -> Result<Client, CliError> {
    let refuse = |why: &str| CliError::Url { url: crate::render::escape(url), why: why.to_owned() };
    let uri: Uri = url.parse().map_err(|_| refuse("not a URL; write it like http://127.0.0.1:7443"))?;
    let encrypted = match uri.scheme_str() {
        Some("https") => true,
        Some("http") => false,
        _ => return Err(refuse("write it with http:// or https://")),
    };
    let token = match &args.token {
        Some(_) if !encrypted && !loopback(&uri) => {
            return Err(refuse("a token is not sent unencrypted to another machine; use https://"));
        }
        Some(token) => {
            let value =
                format!("Bearer {}", token.trim()).parse().map_err(|_| refuse("the token is no token"))?;
            Some(value)
        }
        None => None,
    };
    let mut endpoint = Endpoint::from(uri).connect_timeout(CONNECT_TIMEOUT);
    let failed = |source| CliError::Connect { url: crate::render::escape(url), source };
    if encrypted {
        // No authority is built in: a collector's certificate is signed inside its cluster.
        let Some(path) = &args.ca_file else {
            return Err(refuse(
                "https:// needs --ca-file, the authority that signed the collector's certificate",
            ));
        };
        let pem = std::fs::read(path).map_err(|source| CliError::File { path: path.clone(), source })?;
        let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(pem));
        endpoint = endpoint.tls_config(tls).map_err(failed)?;
    }
    let channel = endpoint.connect().await.map_err(failed)?;
    Ok(WhyDroppedClient::with_interceptor(channel, Token(token)).max_decoding_message_size(MESSAGE_MAX))
}

/// A request that does not wait for ever.
pub fn request<T>(args: &Args, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(args.timeout.unwrap_or(ANSWER_TIMEOUT));
    request
}

/// What a call brought, or what the collector said, or what became of the connection.
pub fn taken<T>(args: &Args, outcome: Result<tonic::Response<T>, Status>) -> Result<T, CliError> {
    outcome.map(tonic::Response::into_inner).map_err(|status| failed(args, status))
}

/// Why a call failed. What the collector says arrives without a source; what this end saw has one.
pub fn failed(args: &Args, status: Status) -> CliError {
    let url = || crate::render::escape(args.collector.as_deref().unwrap_or_default());
    let timed_out = status.code() == Code::DeadlineExceeded
        || (status.code() == Code::Cancelled && status.message() == TIMED_OUT);
    if timed_out {
        CliError::Silent { url: url() }
    } else if std::error::Error::source(&status).is_some() || status.message().starts_with(NO_STATUS) {
        CliError::Broken { url: url(), why: status.message().to_owned() }
    } else {
        CliError::Refused { status: Box::new(status) }
    }
}

fn loopback(uri: &Uri) -> bool {
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

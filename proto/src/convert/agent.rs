//! What an agent says of itself.

use model::{NodeReport, ServiceProxy, SourceHealth, SourceState};

use super::ConvertError;
use super::read::{self, Read};
use super::walk::{service_proxy, service_proxy_to_model};
use crate::v1;

/// An agent's state for the wire.
pub fn status(sources: &[SourceState], lost: u64, proxy: Option<ServiceProxy>) -> v1::Status {
    v1::Status {
        sources: sources.iter().map(source_state).collect(),
        lost,
        service_proxy: proxy.map(|proxy| service_proxy(proxy).into()),
    }
}

/// Puts an agent's state from the wire into what is known of its node. On an error nothing is changed.
pub fn apply_status(report: &mut NodeReport, sent: v1::Status) -> Result<(), ConvertError> {
    let sources = read::list(sent.sources, read::LINES_MAX, "sources", source_state_to_model)?;
    let service_proxy =
        sent.service_proxy.map(|value| service_proxy_to_model(value, "service_proxy")).transpose()?;
    report.sources = sources;
    report.lost = sent.lost;
    report.service_proxy = service_proxy;
    Ok(())
}

pub(super) fn source_state(source: &SourceState) -> v1::SourceState {
    v1::SourceState {
        name: source.name.clone(),
        state: match source.health {
            SourceHealth::Ok => v1::source_health::Value::Ok,
            SourceHealth::Degraded => v1::source_health::Value::Degraded,
            SourceHealth::Unavailable => v1::source_health::Value::Unavailable,
        }
        .into(),
        detail: source.detail.clone(),
    }
}

fn source_state_to_model(sent: v1::SourceState) -> Read<SourceState> {
    Ok(SourceState {
        name: read::name(sent.name, "name")?,
        health: read::value(sent.state, "state", |value| match value {
            v1::source_health::Value::Unspecified => None,
            v1::source_health::Value::Ok => Some(SourceHealth::Ok),
            v1::source_health::Value::Degraded => Some(SourceHealth::Degraded),
            v1::source_health::Value::Unavailable => Some(SourceHealth::Unavailable),
        })?,
        detail: read::text(sent.detail, "detail")?,
    })
}

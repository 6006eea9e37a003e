//! The two requests that are made: one page of a list, and a watch.

use futures_util::Stream;
use http::Request;
use kube::Client;
use kube::api::{ListParams, WatchParams};
use kube::core::WatchEvent;
use kube::core::request::Request as Path;
use serde::Deserialize;
use serde_json::Value;

use crate::status::Kind;

/// Objects of one page: what kubectl and client-go ask for.
const PAGE: u32 = 500;

/// Seconds after which the server ends a watch. Bookmarks come once a minute and for kinds that change; the orderly end
/// of a watch says of every kind that nothing was missed, so an answer's objects are never known to be older than this.
pub(super) const WATCH_SECONDS: u32 = 30;

/// One page of a list, objects as they came.
#[derive(Debug, Deserialize)]
pub(super) struct Page {
    pub(super) metadata: PageMeta,
    #[serde(default, deserialize_with = "null_as_empty")]
    pub(super) items: Vec<Value>,
}

/// What a page says about itself.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PageMeta {
    #[serde(default)]
    pub(super) resource_version: String,
    #[serde(default, rename = "continue")]
    pub(super) continue_token: String,
}

/// One page of all objects of a kind.
pub(super) async fn list_page(client: &Client, kind: Kind, token: &str) -> kube::Result<Page> {
    let mut params = ListParams::default().limit(PAGE);
    if !token.is_empty() {
        params = params.continue_token(token);
    }
    client.request(request(Path::new(path(kind)).list(&params))?).await
}

/// Whether the API server has the kind at all; every account may ask that (`system:discovery`), unlike for a list,
/// which is forbidden rather than not found to an account without a right to it.
pub(super) async fn served(client: &Client, kind: Kind) -> kube::Result<bool> {
    #[derive(Deserialize)]
    struct Resources {
        #[serde(default, deserialize_with = "null_as_empty")]
        resources: Vec<Value>,
    }
    let built = Request::get(format!("/{}", root(kind))).body(Vec::new());
    let request = built.map_err(kube::core::request::Error::BuildRequest);
    match client.request::<Resources>(self::request(request)?).await {
        Ok(found) => Ok(found.resources.iter().any(|resource| resource["name"] == kind.resource())),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(false),
        Err(error) => Err(error),
    }
}

/// The changes of a kind since a resource version.
pub(super) async fn watch(
    client: &Client,
    kind: Kind,
    version: &str,
) -> kube::Result<impl Stream<Item = kube::Result<WatchEvent<Value>>> + Send + use<>> {
    let params = WatchParams::default().timeout(WATCH_SECONDS);
    client.request_events(request(Path::new(path(kind)).watch(&params, version))?).await
}

fn path(kind: Kind) -> String {
    format!("/{}/{}", root(kind), kind.resource())
}

/// `api/v1`, `apis/networking.k8s.io/v1`.
fn root(kind: Kind) -> String {
    let root = if kind.group().is_empty() { "api" } else { "apis" };
    format!("{root}/{}", kind.api_version())
}

fn request(built: Result<Request<Vec<u8>>, kube::core::request::Error>) -> kube::Result<Request<Vec<u8>>> {
    built.map_err(kube::Error::BuildRequest)
}

/// Old servers write an empty list as null.
fn null_as_empty<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<Value>, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_those_of_the_api() {
        assert_eq!(path(Kind::Pods), "/api/v1/pods");
        assert_eq!(path(Kind::EndpointSlices), "/apis/discovery.k8s.io/v1/endpointslices");
        assert_eq!(path(Kind::NetworkPolicies), "/apis/networking.k8s.io/v1/networkpolicies");
    }

    #[test]
    fn a_page_may_have_no_items() {
        let page: Page =
            serde_json::from_str(r#"{"metadata":{"resourceVersion":"7"},"items":null}"#).unwrap();
        assert_eq!((page.items.len(), page.metadata.resource_version.as_str()), (0, "7"));
        assert_eq!(page.metadata.continue_token, "");
    }
}

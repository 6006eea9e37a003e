//! `why-dropped drops`: recent drops, or drops as they come.

use objects::nearest;
use proto::v1::drop_event::Event;
use proto::{json, v1};

use crate::args::{self, Args, DropsArgs, Format};
use crate::causes;
use crate::collector::{self, ANSWER_TIMEOUT};
use crate::error::CliError;
use crate::explain::WINDOW;
use crate::output;
use crate::render;

/// Lists, or watches until the collector or the reader ends it.
pub async fn run(args: &Args, filter: &DropsArgs) -> Result<u8, CliError> {
    let request = v1::ListDropsRequest {
        since: args::wire(Some(args.since.unwrap_or(WINDOW))),
        node: filter.node.clone().unwrap_or_default(),
        pod: qualified(args, "pod", filter.pod.as_deref())?,
        service: qualified(args, "service", filter.service.as_deref())?,
        namespace: args.namespace.clone().unwrap_or_default(),
        reason: filter.reason.clone().unwrap_or_default(),
        cause: filter.cause.clone().unwrap_or_default(),
    };
    let mut client = collector::needed(args, "drops").await?;
    if filter.watch {
        return watch(args, client, request).await;
    }
    let drops = collector::taken(args, client.list_drops(collector::request(args, request)).await)?;
    if drops.drops.is_empty() {
        names_exist(args, filter, &mut client).await?;
    }
    output::print(&match args.output {
        Format::Json => json::pretty(&drops) + "\n",
        Format::Text => render::drops(&drops, &nothing(args, filter), output::look(args)),
    })?;
    Ok(0)
}

/// A name with its namespace, which `-n` gives where it has none.
fn qualified(args: &Args, option: &'static str, name: Option<&str>) -> Result<String, CliError> {
    match (name, &args.namespace) {
        (None | Some(""), _) => Ok(String::new()),
        (Some(name), _) if name.contains('/') => Ok(name.to_owned()),
        (Some(name), Some(namespace)) => Ok(format!("{namespace}/{name}")),
        (Some(name), None) => Err(CliError::Unqualified { option, name: name.to_owned() }),
    }
}

/// Nothing of a node or cause that does not exist is no answer but a mistake in the question.
async fn names_exist(
    args: &Args,
    filter: &DropsArgs,
    client: &mut collector::Client,
) -> Result<(), CliError> {
    if let Some(cause) = &filter.cause {
        causes::known(cause)?;
    }
    let Some(name) = &filter.node else { return Ok(()) };
    let request = collector::request(args, v1::ListNodesRequest {});
    let list = collector::taken(args, client.list_nodes(request).await)?;
    let nodes: Vec<String> = list.nodes.into_iter().map(|node| node.name).collect();
    if nodes.contains(name) {
        return Ok(());
    }
    let near = nearest::nearest(name, nodes.iter().map(String::as_str)).map(str::to_owned);
    Err(CliError::NoNode { name: name.clone(), near, nodes })
}

/// What an empty list says: of what time, and whether of everything.
fn nothing(args: &Args, filter: &DropsArgs) -> String {
    let narrowed =
        [&filter.node, &filter.pod, &filter.service, &filter.reason, &filter.cause, &args.namespace]
            .into_iter()
            .any(Option::is_some);
    let window = render::span(args.since.unwrap_or(WINDOW));
    format!("no {}drops in the last {window}", if narrowed { "such " } else { "" })
}

async fn watch(
    args: &Args,
    mut client: collector::Client,
    request: v1::ListDropsRequest,
) -> Result<u8, CliError> {
    // The stream goes on for ever, but it must begin.
    let beginning = client.watch_drops(request);
    let silent = |_| tonic::Status::deadline_exceeded("");
    let begun = tokio::time::timeout(args.timeout.unwrap_or(ANSWER_TIMEOUT), beginning);
    let mut events = collector::taken(args, begun.await.map_err(silent).flatten())?;
    let look = output::look(args);
    loop {
        let event = events.message().await.map_err(|status| collector::failed(args, status))?;
        let Some(event) = event.and_then(|event| event.event) else { return Ok(0) };
        let going_on = match (event, args.output) {
            (Event::Missed(count), _) => {
                output::complain(&format!("warning: {count} drops came too fast to be shown\n"));
                true
            }
            (Event::Drop(drop), Format::Json) => output::print_next(&(json::line(&drop) + "\n"))?,
            (Event::Drop(drop), Format::Text) => output::print_next(&render::watched_drop(&drop, look))?,
        };
        if !going_on {
            return Ok(0);
        }
    }
}

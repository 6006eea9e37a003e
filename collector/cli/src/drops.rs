//! `why-dropped drops`: recent drops, or drops as they come.

use proto::v1::drop_event::Event;
use proto::{json, v1};

use crate::args::{self, Args, DropsArgs, Format};
use crate::collector;
use crate::error::CliError;
use crate::output;
use crate::render;

/// Lists, or watches until the collector or the reader ends it.
pub async fn run(args: &Args, filter: &DropsArgs) -> Result<u8, CliError> {
    let mut client = collector::needed(args, "drops").await?;
    let request = v1::ListDropsRequest {
        since: args::wire(args.since),
        node: filter.node.clone().unwrap_or_default(),
        pod: filter.pod.clone().unwrap_or_default(),
        service: filter.service.clone().unwrap_or_default(),
        namespace: args.namespace.clone().unwrap_or_default(),
        reason: filter.reason.clone().unwrap_or_default(),
        cause: filter.cause.clone().unwrap_or_default(),
    };
    if filter.watch {
        return watch(args, client, request).await;
    }
    let mut request = tonic::Request::new(request);
    if let Some(timeout) = args.timeout {
        request.set_timeout(timeout);
    }
    let drops = collector::taken(client.list_drops(request).await)?;
    output::print(&match args.output {
        Format::Json => json::pretty(&drops) + "\n",
        Format::Text => render::drops(&drops, output::look(args)),
    })?;
    Ok(0)
}

async fn watch(
    args: &Args,
    mut client: collector::Client,
    request: v1::ListDropsRequest,
) -> Result<u8, CliError> {
    let mut events = collector::taken(client.watch_drops(request).await)?;
    let look = output::look(args);
    loop {
        let event =
            events.message().await.map_err(|status| CliError::Refused { status: Box::new(status) })?;
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

//! `why-dropped nodes`: the agents, and what each can see.

use proto::{json, v1};

use crate::args::{Args, Format};
use crate::collector;
use crate::error::CliError;
use crate::output;
use crate::render;

/// Lists them.
pub async fn run(args: &Args) -> Result<u8, CliError> {
    let mut client = collector::needed(args, "nodes").await?;
    let request = collector::request(args, v1::ListNodesRequest {});
    let nodes = collector::taken(args, client.list_nodes(request).await)?;
    output::print(&match args.output {
        Format::Json => json::pretty(&nodes) + "\n",
        Format::Text => render::nodes(&nodes, output::look(args)),
    })?;
    Ok(0)
}

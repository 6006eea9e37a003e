//! `why-dropped audit`: where a node's saved rules do something else than the objects want.

use std::fmt::Write as _;
use std::net::IpAddr;

use model::ObjectSet;
use model::drift::{Difference, Drift};
use objects::intent;
use rules::Host;
use rules::drift::Comparison;
use serde::Serialize;

use crate::args::{Args, AuditArgs, Format};
use crate::error::CliError;
use crate::explain::from_files;
use crate::output;
use crate::render::{self, Look, Paint};
use crate::walk::directory;

/// Endpoints named in one line of text; the rest is counted.
const SHOWN: usize = 5;

/// Compares, prints, and says how it ends.
pub async fn run(args: &Args, asked: &AuditArgs) -> Result<u8, CliError> {
    let set = from_files(&asked.objects).await?;
    let mut state = directory::read(&asked.node)?;
    let own: Vec<IpAddr> = state.addresses.iter().map(|address| address.address.addr()).collect();
    let name = match &asked.node_name {
        Some(name) => name.clone(),
        None => node_of(&set, &own).ok_or_else(|| CliError::Usage {
            what: "no node among the objects has an address of the directory: --node-name NAME is needed"
                .to_owned(),
        })?,
    };
    let host = Host::taking(&mut state);
    let found = host.drift(&intent::intended(&set, &name), &own);
    output::print(&match args.output {
        Format::Json => serde_json::to_string_pretty(&Told::of(&name, &found)).unwrap_or_default() + "\n",
        Format::Text => text(&name, &found, output::look(args)),
    })?;
    Ok(match (found.drifts.is_empty(), found.compared) {
        (false, _) => 1,
        (true, 0) => 3,
        (true, _) => 0,
    })
}

fn node_of(set: &ObjectSet, own: &[IpAddr]) -> Option<String> {
    let is_own = |address: &IpAddr| own.contains(address);
    set.nodes.iter().find(|(_, node)| node.addresses.iter().any(is_own)).map(|(name, _)| name.clone())
}

fn text(node: &str, found: &Comparison, look: Look) -> String {
    let mut out = String::new();
    let compared = format!("{} addresses of Services compared", found.compared);
    let (paint, said) = match found.drifts.len() {
        0 if found.compared == 0 => (Paint::Unsure, "nothing could be compared".to_owned()),
        0 => (Paint::Good, "the rules are what the objects want".to_owned()),
        1 => (Paint::Bad, "1 difference".to_owned()),
        count => (Paint::Bad, format!("{count} differences")),
    };
    render::item(
        &mut out,
        look,
        "",
        0,
        &format!("{}: {}, {compared}", render::escape(node), look.paint(paint, &said)),
    );
    for drift in &found.drifts {
        render::item(&mut out, look, "  - ", 4, &render::escape(&words(drift)));
    }
    if !found.gaps.is_empty() {
        let _ = writeln!(out, "{}", look.paint(Paint::Heading, "not checked"));
        for gap in &found.gaps {
            render::item(&mut out, look, "  - ", 4, &render::escape(&format!("{}: {}", gap.what, gap.why)));
        }
    }
    out
}

fn words(drift: &Drift) -> String {
    let kind = drift.kind.map(|kind| format!("{kind} ")).unwrap_or_default();
    let at = if drift.at.ip().is_unspecified() { drift.at.port().to_string() } else { drift.at.to_string() };
    let at = format!("{kind}{at}/{}", drift.protocol);
    let service = if drift.service.is_empty() { "no Service" } else { &drift.service };
    match &drift.difference {
        Difference::Missing => format!("{service}: the rules do not know {at}"),
        Difference::Stopped => format!("{service}: the rules refuse {at}, which has endpoints"),
        Difference::LeftOver => format!("{service}: the rules serve {at}, which no Service has"),
        Difference::Endpoints { missing, surplus } => {
            let mut told = format!("{service}: {at}");
            if !missing.is_empty() {
                let _ = write!(told, " is not sent to {}", some(missing));
            }
            if !surplus.is_empty() {
                let and = if missing.is_empty() { "" } else { ", but" };
                let _ = write!(told, "{and} is sent to {}", some(surplus));
            }
            told
        }
    }
}

fn some(endpoints: &[std::net::SocketAddr]) -> String {
    let mut shown: Vec<String> = endpoints.iter().take(SHOWN).map(ToString::to_string).collect();
    if endpoints.len() > shown.len() {
        shown.push(format!("{} more", endpoints.len() - shown.len()));
    }
    shown.join(", ")
}

#[derive(Serialize)]
struct Told<'a> {
    node: &'a str,
    compared: u32,
    differences: Vec<ToldDrift<'a>>,
    gaps: Vec<ToldGap<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ToldDrift<'a> {
    service: &'a str,
    kind: Option<String>,
    address: String,
    protocol: &'static str,
    difference: &'static str,
    missing: Vec<String>,
    surplus: Vec<String>,
}

#[derive(Serialize)]
struct ToldGap<'a> {
    what: &'a str,
    why: &'a str,
}

impl<'a> Told<'a> {
    fn of(node: &'a str, found: &'a Comparison) -> Self {
        Self {
            node,
            compared: found.compared,
            differences: found.drifts.iter().map(ToldDrift::of).collect(),
            gaps: found.gaps.iter().map(|gap| ToldGap { what: &gap.what, why: &gap.why }).collect(),
        }
    }
}

impl<'a> ToldDrift<'a> {
    fn of(drift: &'a Drift) -> Self {
        let texts = |list: &[std::net::SocketAddr]| list.iter().map(ToString::to_string).collect();
        let (difference, missing, surplus) = match &drift.difference {
            Difference::Missing => ("MISSING", Vec::new(), Vec::new()),
            Difference::Stopped => ("STOPPED", Vec::new(), Vec::new()),
            Difference::LeftOver => ("LEFT_OVER", Vec::new(), Vec::new()),
            Difference::Endpoints { missing, surplus } => ("ENDPOINTS", texts(missing), texts(surplus)),
        };
        Self {
            service: &drift.service,
            kind: drift.kind.map(|kind| kind.to_string()),
            address: drift.at.to_string(),
            protocol: drift.protocol.upper(),
            difference,
            missing,
            surplus,
        }
    }
}

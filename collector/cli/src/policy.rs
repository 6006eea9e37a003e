//! `why-dropped policy`: what policies say of connections, from objects alone and about nothing else.

pub mod asked;
mod diff;
mod line;
mod matrix;
mod ports;
mod progress;
mod text;

use ::policy::PolicyIndex;
use model::ObjectSet;
use model::explanation::PolicyVerdict;

use crate::args::{Args, Format, PolicyArgs, PolicyCommand};
use crate::batch;
use crate::error::CliError;
use crate::explain::from_files;
use crate::output;
use asked::Judged;
use line::{Asked, Told};

pub use text::of_pair;

/// Judges one connection, or one for each line; or looks at all of them.
pub async fn run(args: &Args, asked: &PolicyArgs) -> Result<u8, CliError> {
    match &asked.command {
        Some(PolicyCommand::Matrix(asked)) => return matrix::run(args, asked).await,
        Some(PolicyCommand::Diff(asked)) => return diff::run(args, asked).await,
        None => {}
    }
    let mut words = PolicyArgs {
        command: None,
        words: asked.words.clone(),
        objects: asked.objects.clone(),
        batch: asked.batch.clone(),
    };
    let ends = words.ends().map_err(|what| CliError::Usage { what })?;
    let both = |paths: &[std::path::PathBuf]| paths.iter().any(|path| path.as_os_str() == "-");
    if both(&words.objects) && words.batch.as_ref().is_some_and(|path| path.as_os_str() == "-") {
        return Err(CliError::Usage {
            what: "objects and lines cannot both come from standard input".to_owned(),
        });
    }
    let set = from_files(&words.objects).await?;
    let index = PolicyIndex::new(&set);
    if let Some(path) = &words.batch {
        tell_others(&set);
        return batch::run(path, |asked: Asked| asked.judge(&set, &index));
    }
    let (source, destination) = ends.unwrap_or_default();
    let judged = Judged::of(&index, &asked::ask(args, source, destination))?;
    output::print(&match args.output {
        Format::Json => {
            let told = Told::with_patches(&judged.worst().detailed);
            serde_json::to_string_pretty(&told).unwrap_or_default() + "\n"
        }
        Format::Text => text::render(&judged, output::look(args)),
    })?;
    Ok(exit_code(judged.verdict()))
}

/// 0 allowed, 1 denied, 3 not known.
const fn exit_code(verdict: PolicyVerdict) -> u8 {
    match verdict {
        PolicyVerdict::Allow => 0,
        PolicyVerdict::Deny => 1,
        PolicyVerdict::Unknown => 3,
    }
}

/// Says which kinds of policies are not evaluated, where lines have no room for it.
pub fn tell_others(set: &ObjectSet) {
    let mut kinds: Vec<&str> = set.other_policies.keys().map(|(kind, _)| kind.as_str()).collect();
    kinds.dedup();
    if !kinds.is_empty() {
        output::complain(&format!(
            "note: policies of these kinds are not evaluated, and verdicts they could change are UNKNOWN: {}\n",
            crate::render::escape(&kinds.join(", "))
        ));
    }
}

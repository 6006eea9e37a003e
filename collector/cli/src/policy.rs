//! `why-dropped policy`: what NetworkPolicies say of connections, from objects alone and about nothing else.

mod line;
mod text;

use ::policy::PolicyIndex;
use model::explanation::PolicyVerdict;
use objects::resolve::Ask;

use crate::args::{Args, Format, PolicyArgs};
use crate::batch;
use crate::error::CliError;
use crate::explain::{WINDOW, from_files, milliseconds, now, offline};
use crate::output;
use line::{Asked, Told};

/// Judges one connection, or one for each line.
pub async fn run(args: &Args, asked: &PolicyArgs) -> Result<u8, CliError> {
    let mut words =
        PolicyArgs { words: asked.words.clone(), objects: asked.objects.clone(), batch: asked.batch.clone() };
    let ends = words.ends().map_err(|what| CliError::Usage { what })?;
    let both = |paths: &[std::path::PathBuf]| paths.iter().any(|path| path.as_os_str() == "-");
    if both(&words.objects) && words.batch.as_ref().is_some_and(|path| path.as_os_str() == "-") {
        return Err(CliError::Usage {
            what: "objects and lines cannot both come from standard input".to_owned(),
        });
    }
    let set = from_files(&words.objects).await?;
    if let Some(path) = &words.batch {
        let index = PolicyIndex::new(&set);
        return batch::run(path, |asked: Asked| asked.judge(&set, &index));
    }
    let (source, destination) = ends.unwrap_or_default();
    let ask = Ask {
        source,
        destination,
        namespace: args.namespace.clone(),
        via: None,
        since: None,
        now: now(),
        default_window: milliseconds(WINDOW),
    };
    let explanation = offline(&ask, set)?;
    let Some(policy) = explanation.policy else {
        return Err(CliError::NoPolicy { why: explanation.summary });
    };
    let told = Told::of(policy.clone());
    output::print(&match args.output {
        Format::Json => serde_json::to_string_pretty(&told).unwrap_or_default() + "\n",
        Format::Text => text::render(&explanation.question, &policy, told.verdict(), output::look(args)),
    })?;
    Ok(exit_code(told.verdict()))
}

/// 0 allowed, 1 denied, 3 not known.
const fn exit_code(verdict: PolicyVerdict) -> u8 {
    match verdict {
        PolicyVerdict::Allow => 0,
        PolicyVerdict::Deny => 1,
        PolicyVerdict::Unknown => 3,
    }
}

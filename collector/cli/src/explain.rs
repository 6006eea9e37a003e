//! One question: where its answer comes from, and what it means for the exit code.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use model::explanation::Explanation;
use model::{Case, ObjectSet, Timestamp};
use objects::Reader;
use objects::resolve::{self, Ask};
use proto::{convert, json, v1};
use tokio::io::AsyncReadExt as _;
use tonic::Request;

use crate::args::{self, Args, Format};
use crate::collector;
use crate::error::CliError;
use crate::output;
use crate::render;

/// How far to look back where `--since` does not say.
pub const WINDOW: Duration = Duration::from_mins(10);

/// How long an answer may take where `--timeout` does not say.
const TIMEOUT: Duration = Duration::from_secs(5);

/// What the collector answers at its deadline must still get here.
const ON_THE_WAY: Duration = Duration::from_secs(2);

/// Standard input is read like a file: this much at most.
const INPUT_MAX: u64 = 256 << 20;

/// Asks, prints, and says how it ends.
pub async fn run(args: &Args) -> Result<u8, CliError> {
    let mut answer = answer(args).await?;
    let text = match args.output {
        Format::Json => json::pretty(&answer) + "\n",
        Format::Text => {
            // A collector's files are on its own machine.
            if !args.objects.is_empty()
                && let Ok(here) = std::env::current_dir()
            {
                relative(&mut answer, &here);
            }
            render::explanation(&answer, output::look(args))
        }
    };
    output::print(&text)?;
    Ok(exit_code(answer.verdict()))
}

/// 0 delivered, 1 not or not everywhere, 3 not known.
const fn exit_code(verdict: v1::verdict::Value) -> u8 {
    match verdict {
        v1::verdict::Value::Delivered => 0,
        v1::verdict::Value::Partial
        | v1::verdict::Value::Dropped
        | v1::verdict::Value::Rejected
        | v1::verdict::Value::Unresolved => 1,
        v1::verdict::Value::Inconclusive | v1::verdict::Value::Unspecified => 3,
    }
}

async fn answer(args: &Args) -> Result<v1::Explanation, CliError> {
    if !args.objects.is_empty() {
        let set = from_files(&args.objects).await?;
        return predict(args, set);
    }
    if let Some(url) = args.collector.as_deref().filter(|url| !url.is_empty()) {
        return ask(args, url).await;
    }
    let set = from_api(args).await?;
    output::complain("note: no collector was named; this answer rests on the API server's objects alone\n");
    predict(args, set)
}

/// The objects of files, or, without any, of the kubeconfig's API server.
pub async fn objects(args: &Args, paths: &[PathBuf]) -> Result<ObjectSet, CliError> {
    if paths.is_empty() { from_api(args).await } else { from_files(paths).await }
}

async fn from_api(args: &Args) -> Result<ObjectSet, CliError> {
    let timeout = args.timeout.unwrap_or(TIMEOUT);
    let reading = cluster::read_once(args.kubeconfig.as_deref(), args.context.as_deref());
    let read = tokio::time::timeout(timeout, reading).await;
    Ok(read.map_err(|_| CliError::ApiTimeout { seconds: timeout.as_secs() })??)
}

async fn ask(args: &Args, url: &str) -> Result<v1::Explanation, CliError> {
    let mut client = collector::connect(args, url).await?;
    let mut request = Request::new(v1::ExplainRequest {
        source: args.source.clone().unwrap_or_default(),
        destination: args.destination.clone().unwrap_or_default(),
        namespace: args.namespace.clone().unwrap_or_default(),
        via: args.via.clone().unwrap_or_default(),
        since: args::wire(args.since),
        timeout: args::wire(args.timeout),
        ..Default::default()
    });
    request.set_timeout(args.timeout.unwrap_or(TIMEOUT) + ON_THE_WAY);
    collector::taken(args, client.explain(request).await)
}

/// The objects of files and directories, or of standard input; warnings are told.
pub async fn from_files(paths: &[PathBuf]) -> Result<ObjectSet, CliError> {
    let input = paths.iter().any(|path| path.as_os_str() == "-");
    let read = if input {
        if paths.len() > 1 {
            return Err(CliError::InputNotAlone);
        }
        let mut text = String::new();
        let failed = |source| CliError::Input { source };
        tokio::io::stdin().take(INPUT_MAX).read_to_string(&mut text).await.map_err(failed)?;
        let mut reader = Reader::new(now());
        reader.add("standard input", now(), &text);
        reader.finish().map_err(cluster::FilesError::Refused)?
    } else {
        cluster::read_files(paths, now())?
    };
    for warning in &read.warnings {
        output::complain(&format!("warning: {}\n", render::escape(&warning.to_string())));
        if let Some(hint) = &warning.hint {
            output::complain(&format!("hint: {}\n", render::escape(hint)));
        }
    }
    Ok(read.set)
}

/// The answer of objects alone.
fn predict(args: &Args, set: ObjectSet) -> Result<v1::Explanation, CliError> {
    let ask = Ask {
        source: args.source.clone().unwrap_or_default(),
        destination: args.destination.clone().unwrap_or_default(),
        namespace: args.namespace.clone(),
        via: args.via.clone(),
        since: args.since.map(|span| now().minus_ms(milliseconds(span))),
        now: now(),
        default_window: milliseconds(WINDOW),
    };
    Ok(convert::explanation(&offline(&ask, set)?))
}

/// What objects alone say of a question.
pub fn offline(ask: &Ask, set: ObjectSet) -> Result<Explanation, CliError> {
    let question = resolve::question(&set, ask)?;
    let case = Case {
        now: ask.now,
        question,
        objects: Arc::new(set),
        nodes: BTreeMap::new(),
        live: false,
        answers: Vec::new(),
        drops: Vec::new(),
        gaps: Vec::new(),
    };
    Ok(diagnose::diagnose(&case))
}

/// Names files below a directory as seen from there.
fn relative(answer: &mut v1::Explanation, here: &Path) {
    for reason in answer.findings.iter_mut().flat_map(|finding| &mut finding.because) {
        if let Ok(below) = Path::new(&reason.source).strip_prefix(here) {
            reason.source = below.display().to_string();
        }
    }
}

pub fn milliseconds(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

pub fn now() -> Timestamp {
    Timestamp(milliseconds(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_are_the_promised_ones() {
        for (verdict, code) in [
            (v1::verdict::Value::Delivered, 0),
            (v1::verdict::Value::Partial, 1),
            (v1::verdict::Value::Dropped, 1),
            (v1::verdict::Value::Rejected, 1),
            (v1::verdict::Value::Unresolved, 1),
            (v1::verdict::Value::Inconclusive, 3),
            (v1::verdict::Value::Unspecified, 3),
        ] {
            assert_eq!(exit_code(verdict), code, "{verdict:?}");
        }
    }

    #[test]
    fn files_below_are_named_from_here() {
        let reason = |source: &str| v1::Reason { source: source.into(), ..Default::default() };
        let mut answer = v1::Explanation {
            findings: vec![v1::Finding {
                because: vec![reason("/a/b/c.yaml"), reason("/a/bc.yaml"), reason("API")],
                ..Default::default()
            }],
            ..Default::default()
        };
        relative(&mut answer, Path::new("/a/b"));
        let sources: Vec<&str> =
            answer.findings[0].because.iter().map(|reason| reason.source.as_str()).collect();
        assert_eq!(sources, ["c.yaml", "/a/bc.yaml", "API"]);
    }
}

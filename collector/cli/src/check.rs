//! `why-dropped check`: whether policies allow and deny what a file expects.

mod file;

use std::path::Path;

use ::policy::PolicyIndex;
use model::explanation::PolicyVerdict;
use serde::Serialize;
use tokio::io::AsyncReadExt as _;

use crate::args::{Args, CheckArgs, Format};
use crate::error::CliError;
use crate::explain;
use crate::output;
use crate::policy::asked::{self, Judged};
use crate::policy::{of_pair, tell_others};
use crate::render::{self, Look, Paint};
use file::{Expectation, Expected};

/// Expectations are a page or two.
const FILE_MAX: u64 = 16 << 20;

/// How one expectation fares.
enum Fares {
    Holds,
    /// What the policies say instead.
    Fails(Judged),
    NotKnown(Judged),
    /// It cannot be asked.
    Nonsense(CliError),
}

/// Checks them all, prints, and says how it ends.
pub async fn run(args: &Args, asked: &CheckArgs) -> Result<u8, CliError> {
    let text = read(&asked.file).await?;
    let expectations = file::read(&asked.file, &text)?;
    if asked.file.as_os_str() == "-" && asked.objects.iter().any(|path| path.as_os_str() == "-") {
        return Err(CliError::Usage {
            what: "objects and expectations cannot both come from standard input".to_owned(),
        });
    }
    let set = explain::objects(args, &asked.objects).await?;
    tell_others(&set);
    let index = PolicyIndex::new(&set);
    let fare = |expectation: &Expectation| {
        let ask = asked::ask(args, expectation.from.clone(), expectation.to.clone());
        match Judged::of(&index, &ask) {
            Ok(judged) => expectation.fares(judged),
            Err(error) => Fares::Nonsense(error),
        }
    };
    let all: Vec<(&Expectation, Fares)> =
        expectations.iter().map(|expectation| (expectation, fare(expectation))).collect();
    output::print(&match args.output {
        Format::Json => {
            let told: Vec<Told<'_>> =
                all.iter().map(|(expectation, fares)| Told::of(expectation, fares)).collect();
            serde_json::to_string_pretty(&told).unwrap_or_default() + "\n"
        }
        Format::Text => text_of(&all, output::look(args)),
    })?;
    let any = |is: fn(&Fares) -> bool| all.iter().any(|(_, fares)| is(fares));
    Ok(match () {
        () if any(|fares| matches!(fares, Fares::Nonsense(_))) => 2,
        () if any(|fares| matches!(fares, Fares::Fails(_))) => 1,
        () if any(|fares| matches!(fares, Fares::NotKnown(_))) => 3,
        () => 0,
    })
}

async fn read(path: &Path) -> Result<String, CliError> {
    let failed = |source| CliError::File { path: path.to_owned(), source };
    let mut text = String::new();
    if path.as_os_str() == "-" {
        tokio::io::stdin().take(FILE_MAX).read_to_string(&mut text).await.map_err(failed)?;
    } else {
        let file = tokio::fs::File::open(path).await.map_err(failed)?;
        file.take(FILE_MAX).read_to_string(&mut text).await.map_err(failed)?;
    }
    Ok(text)
}

impl Expectation {
    /// It is expected of every backend of a Service.
    fn fares(&self, judged: Judged) -> Fares {
        let (wanted, contrary) = match self.expect {
            Expected::Allowed => (PolicyVerdict::Allow, PolicyVerdict::Deny),
            Expected::Denied => (PolicyVerdict::Deny, PolicyVerdict::Allow),
        };
        let verdicts = || judged.targets.iter().map(|target| target.detailed.verdict());
        if verdicts().any(|verdict| verdict == contrary) {
            Fares::Fails(judged)
        } else if verdicts().all(|verdict| verdict == wanted) {
            Fares::Holds
        } else {
            Fares::NotKnown(judged)
        }
    }

    fn words(&self) -> String {
        let expect = match self.expect {
            Expected::Allowed => "allowed",
            Expected::Denied => "denied",
        };
        let name = self.name.as_ref().map(|name| format!("{name}: ")).unwrap_or_default();
        format!("{name}{} to {} {expect}", self.from, self.to)
    }
}

fn text_of(all: &[(&Expectation, Fares)], look: Look) -> String {
    let mut out = String::new();
    let (mut holds, mut fails, mut unknown, mut nonsense) = (0_u32, 0_u32, 0_u32, 0_u32);
    for (expectation, fares) in all {
        let mut head = |paint, word: &str| {
            let said = look.paint(paint, word);
            let line = format!("{said}  {}", render::escape(&expectation.words()));
            render::item(&mut out, look, "", 0, &line);
        };
        match fares {
            Fares::Holds => {
                holds += 1;
                if look.verbose {
                    head(Paint::Good, "ok     ");
                }
            }
            Fares::Fails(judged) => {
                fails += 1;
                head(Paint::Bad, "FAILS  ");
                let contrary = match expectation.expect {
                    Expected::Allowed => PolicyVerdict::Deny,
                    Expected::Denied => PolicyVerdict::Allow,
                };
                told(&mut out, judged, contrary, look);
            }
            Fares::NotKnown(judged) => {
                unknown += 1;
                head(Paint::Unsure, "UNKNOWN");
                told(&mut out, judged, PolicyVerdict::Unknown, look);
            }
            Fares::Nonsense(error) => {
                nonsense += 1;
                head(Paint::Bad, "ERROR  ");
                for line in error.report().lines() {
                    render::item(&mut out, look, "  ", 2, line);
                }
            }
        }
    }
    let total = u32::try_from(all.len()).unwrap_or(u32::MAX);
    let mut parts = vec![format!("{holds} hold{}", if holds == 1 { "s" } else { "" })];
    for (count, one, many) in [
        (fails, "fails", "fail"),
        (unknown, "is not known", "are not known"),
        (nonsense, "cannot be asked", "cannot be asked"),
    ] {
        if count > 0 {
            parts.push(format!("{count} {}", if count == 1 { one } else { many }));
        }
    }
    let count = render::counted(total, "expectation", "expectations");
    render::item(&mut out, look, "", 0, &format!("{count}: {}", parts.join(", ")));
    out
}

/// The first destination of a verdict, in full.
fn told(out: &mut String, judged: &Judged, verdict: PolicyVerdict, look: Look) {
    if let Some(target) = judged.targets.iter().find(|target| target.detailed.verdict() == verdict) {
        let line = if judged.by_service() {
            format!("{}, {}", judged.heading(), target.name)
        } else {
            judged.heading()
        };
        render::item(out, look, "  ", 2, &render::escape(&line));
        of_pair(out, &target.detailed, look);
    }
}

/// For programs.
#[derive(Serialize)]
struct Told<'t> {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'t str>,
    from: &'t str,
    to: &'t str,
    expect: &'static str,
    /// Null where it is not known.
    holds: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    verdict: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

impl<'t> Told<'t> {
    fn of(expectation: &'t Expectation, fares: &Fares) -> Self {
        let expect = match expectation.expect {
            Expected::Allowed => "allowed",
            Expected::Denied => "denied",
        };
        let word = |judged: &Judged| match judged.verdict() {
            PolicyVerdict::Allow => "ALLOW",
            PolicyVerdict::Deny => "DENY",
            PolicyVerdict::Unknown => "UNKNOWN",
        };
        let (holds, verdict, error) = match fares {
            Fares::Holds => (Some(true), None, None),
            Fares::Fails(judged) => (Some(false), Some(word(judged)), None),
            Fares::NotKnown(judged) => (None, Some(word(judged)), None),
            Fares::Nonsense(error) => (None, None, Some(error.to_string())),
        };
        let Expectation { name, from, to, .. } = expectation;
        Self { name: name.as_deref(), from, to, expect, holds, verdict, error }
    }
}

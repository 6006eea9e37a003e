//! How others ask a running cluster for its state and do things to its programs: one JSON line each way on a socket.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use crate::components::{Components, Status};
use crate::place::Place;

/// Every request is answered at once; a cluster that does not is broken.
const PATIENCE: Duration = Duration::from_secs(10);

/// What can be asked for.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "lowercase")]
pub enum Request {
    /// The states of all programs.
    Status,
    /// End a program.
    Stop {
        /// Its name.
        component: String,
    },
    /// Start it again.
    Start {
        /// Its name.
        component: String,
    },
    /// Stop it where it is.
    Pause {
        /// Its name.
        component: String,
    },
    /// Let it go on.
    Resume {
        /// Its name.
        component: String,
    },
}

/// The answer.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Reply {
    #[serde(default)]
    states: BTreeMap<String, Status>,
    #[serde(default)]
    error: Option<String>,
}

/// Asks the cluster at this place.
pub fn ask(place: &Place, request: &Request) -> Result<BTreeMap<String, Status>> {
    let path = place.control_socket();
    let attempt = || -> Result<Reply> {
        let mut stream = UnixStream::connect(&path)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        writeln!(stream, "{}", serde_json::to_string(request)?)?;
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line)?;
        Ok(serde_json::from_str(&line)?)
    };
    let reply =
        attempt().with_context(|| format!("ask cluster `{}` through {}", place.name(), path.display()))?;
    match reply.error {
        None => Ok(reply.states),
        Some(error) => bail!("cluster `{}`: {error}", place.name()),
    }
}

/// Answers requests on a thread of its own for as long as the process lives.
pub fn serve(place: &Place, components: Arc<Components>) -> Result<()> {
    let path = place.control_socket();
    let listener = UnixListener::bind(&path).with_context(|| format!("listen on {}", path.display()))?;
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // Whoever went away without its answer does not want it.
            let _ = answer(&stream, &components);
        }
    });
    Ok(())
}

fn answer(stream: &UnixStream, components: &Components) -> Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line)?;
    let done = serde_json::from_str(&line)
        .map_err(anyhow::Error::from)
        .and_then(|request| perform(&request, components));
    let reply = match done {
        Ok(()) => Reply { states: components.states(), error: None },
        Err(error) => Reply { states: BTreeMap::new(), error: Some(format!("{error:#}")) },
    };
    let mut stream = stream;
    writeln!(stream, "{}", serde_json::to_string(&reply)?)?;
    Ok(())
}

fn perform(request: &Request, components: &Components) -> Result<()> {
    match request {
        Request::Status => Ok(()),
        Request::Stop { component } => components.stop(component),
        Request::Start { component } => components.start_again(component),
        Request::Pause { component } => components.pause(component),
        Request::Resume { component } => components.resume(component),
    }
}

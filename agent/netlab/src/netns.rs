//! One named network namespace of a lab: running programs in it, and code on a thread that entered it.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

use nix::sched::{CloneFlags, setns};

use crate::error::Error;

/// A network namespace below /run/netns. Dropping it removes nothing; the lab does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Netns {
    name: String,
}

impl Netns {
    pub(crate) fn create(name: String) -> Result<Self, Error> {
        run(&["ip", "netns", "add", &name], None)?;
        Ok(Self { name })
    }

    /// Its name, as `ip netns` shows it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its file.
    pub fn path(&self) -> PathBuf {
        Path::new("/run/netns").join(&self.name)
    }

    /// A command that will run inside. `ip netns exec` becomes the program, so the child's pid is the program's.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name]).arg(program);
        command
    }

    /// Runs a command inside and returns what it printed.
    pub fn run(&self, command: &[&str]) -> Result<String, Error> {
        run(&[&["ip", "netns", "exec", &self.name], command].concat(), None)
    }

    /// Runs a command inside with a text on its standard input.
    pub fn feed(&self, command: &[&str], input: &str) -> Result<String, Error> {
        run(&[&["ip", "netns", "exec", &self.name], command].concat(), Some(input))
    }

    /// Runs many `ip` commands at once, one a line without the word `ip`.
    pub fn ip(&self, batch: &str) -> Result<(), Error> {
        run(&["ip", "-n", &self.name, "-batch", "-"], Some(batch)).map(drop)
    }

    /// Sets a sysctl by its dotted name; names whose parts hold dots (interfaces) are not for this.
    pub fn sysctl(&self, name: &str, value: &str) -> Result<(), Error> {
        let path = Path::new("/proc/sys").join(name.replace('.', "/"));
        let text = value.to_owned();
        self.enter(move || {
            fs::write(&path, text).map_err(|source| Error::File { operation: "write", path, source })
        })?
    }

    /// Runs code inside, on a thread that ends with it.
    pub fn enter<T, F>(&self, run: F) -> Result<T, Error>
    where
        T: Send,
        F: FnOnce() -> T + Send,
    {
        thread::scope(|scope| {
            scope
                .spawn(|| {
                    self.enter_this_thread()?;
                    Ok(run())
                })
                .join()
                .map_err(|_| Error::Thread { netns: self.name.clone() })?
        })
    }

    /// Moves the calling thread inside for good. Only for threads that end there.
    pub(crate) fn enter_this_thread(&self) -> Result<(), Error> {
        let path = self.path();
        let file = File::open(&path).map_err(|source| Error::File { operation: "open", path, source })?;
        setns(&file, CloneFlags::CLONE_NEWNET)
            .map_err(|errno| Error::Enter { netns: self.name.clone(), source: errno.into() })
    }

    pub(crate) fn delete(&self) -> Result<(), Error> {
        run(&["ip", "netns", "del", &self.name], None).map(drop)
    }
}

/// Runs a command to its end; a failure carries what it complained of.
pub(crate) fn run(command: &[&str], input: Option<&str>) -> Result<String, Error> {
    let words = command.join(" ");
    let (program, arguments) = command.split_first().unwrap_or((&"", &[]));
    let start = |source| Error::Start { command: words.clone(), source };
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(start)?;
    if let (Some(input), Some(mut stdin)) = (input, child.stdin.take()) {
        let text = input.to_owned();
        // On a thread of its own: a tool that prints before it has read everything must not block both.
        thread::spawn(move || {
            // A tool that stops reading says why itself.
            let _ = stdin.write_all(text.as_bytes());
        });
    }
    let done = child.wait_with_output().map_err(start)?;
    if done.status.success() {
        return Ok(String::from_utf8_lossy(&done.stdout).into_owned());
    }
    Err(Error::Command {
        command: words,
        status: done.status.to_string(),
        stderr: String::from_utf8_lossy(&done.stderr).trim().to_owned(),
    })
}

//! One network namespace: running programs in it, and code on a thread that entered it.
//!
//! Known by the path of a file that stands for it and not by a name that `ip` would look up: a lab may live in a mount
//! namespace of its own, where only the way through `/proc/PID/root` leads to its files.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

use nix::sched::{CloneFlags, setns};

use crate::error::Error;

/// Where `ip netns` keeps namespaces (`NETNS_RUN_DIR` of iproute2).
pub(crate) const DIRECTORY: &str = "/run/netns";

/// A network namespace. Dropping it removes nothing; of those below /run/netns that a lab made, the lab does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Netns {
    name: String,
    path: PathBuf,
}

impl Netns {
    /// The namespace a file stands for: `/run/netns/NAME`, `/proc/PID/ns/net`, `/proc/PID/root/run/netns/NAME`. The file
    /// is opened when the namespace is used and not before, so it may still be missing.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
        Self { name, path }
    }

    pub(crate) fn create(name: &str) -> Result<Self, Error> {
        run(&["ip", "netns", "add", name], None)?;
        Ok(Self::at(Path::new(DIRECTORY).join(name)))
    }

    /// Its file's name; for those a lab made, what `ip netns` shows.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A command that will run inside. `nsenter` becomes the program, so the child's pid is the program's; and unlike
    /// `ip netns exec` it leaves the mounts alone, so /sys and what is mounted below it stay the caller's.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut net = OsStr::new("--net=").to_owned();
        net.push(&self.path);
        let mut command = Command::new("nsenter");
        command.arg(net).arg("--").arg(program);
        command
    }

    /// Runs a command inside and returns what it printed.
    pub fn run(&self, command: &[&str]) -> Result<String, Error> {
        self.run_with(command, None)
    }

    /// Runs a command inside with a text on its standard input.
    pub fn feed(&self, command: &[&str], input: &str) -> Result<String, Error> {
        self.run_with(command, Some(input))
    }

    /// Runs many `ip` commands at once, one a line without the word `ip`. At the first that fails the rest is left.
    pub fn ip(&self, batch: &str) -> Result<(), Error> {
        self.feed(&["ip", "-batch", "-"], batch).map(drop)
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
        let file = File::open(&self.path).map_err(|source| Error::File {
            operation: "open",
            path: self.path.clone(),
            source,
        })?;
        setns(&file, CloneFlags::CLONE_NEWNET)
            .map_err(|errno| Error::Enter { netns: self.name.clone(), source: errno.into() })
    }

    /// Removes it, which takes the interfaces in it and the peers of their veths along. Only for those `create` made.
    pub(crate) fn delete(&self) -> Result<(), Error> {
        run(&["ip", "netns", "del", &self.name], None).map(drop)
    }

    fn run_with(&self, command: &[&str], input: Option<&str>) -> Result<String, Error> {
        let (program, arguments) = command.split_first().unwrap_or((&"", &[]));
        let mut inside = self.command(program);
        inside.args(arguments);
        finish(inside, format!("nsenter --net={} -- {}", self.path.display(), command.join(" ")), input)
    }
}

/// Runs a command to its end; a failure carries what it complained of.
pub(crate) fn run(command: &[&str], input: Option<&str>) -> Result<String, Error> {
    let (program, arguments) = command.split_first().unwrap_or((&"", &[]));
    let mut outside = Command::new(program);
    outside.args(arguments);
    finish(outside, command.join(" "), input)
}

/// `words` are the command for messages.
fn finish(mut command: Command, words: String, input: Option<&str>) -> Result<String, Error> {
    let start = |source| Error::Start { command: words.clone(), source };
    let mut child = command
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

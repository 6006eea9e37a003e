//! The program `kubelab` as a user runs it.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStderr, Command, ExitStatus, Output, Stdio};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// A command of it.
pub fn kubelab(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kubelab"));
    command.args(arguments).stdin(Stdio::null());
    command
}

/// Runs one to its end: exit code, standard output, standard error.
pub fn run(arguments: &[&str]) -> Result<(i32, String, String)> {
    let Output { status, stdout, stderr } = kubelab(arguments).output().context("run kubelab")?;
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    let code = status.code().with_context(|| format!("kubelab {arguments:?}: {status}"))?;
    Ok((code, text(stdout), text(stderr)))
}

/// Runs one that has to succeed; its standard output.
pub fn succeed(arguments: &[&str]) -> Result<String> {
    match run(arguments)? {
        (0, stdout, _) => Ok(stdout),
        (code, stdout, stderr) => bail!("kubelab {arguments:?} ended with {code}:\n{stdout}{stderr}"),
    }
}

/// `kubelab up` at work.
pub struct Up {
    child: Child,
    stderr: BufReader<ChildStderr>,
    said: String,
}

impl Up {
    /// Starts it for a light cluster.
    pub fn start(arguments: &[&str]) -> Result<Self> {
        Self::start_for(Stdio::piped(), arguments)
    }

    /// The same with somebody else at the other end of its standard input.
    pub fn start_for(owner: Stdio, arguments: &[&str]) -> Result<Self> {
        Self::run(owner, kubelab(&["up", "--light"]).args(arguments))
    }

    /// Starts it for a full cluster.
    pub fn start_full(arguments: &[&str]) -> Result<Self> {
        Self::run(Stdio::piped(), kubelab(&["up"]).args(arguments))
    }

    fn run(owner: Stdio, command: &mut Command) -> Result<Self> {
        let mut child = command
            .stdin(owner)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("start kubelab up")?;
        let stderr = BufReader::new(child.stderr.take().context("its standard error")?);
        Ok(Self { child, stderr, said: String::new() })
    }

    /// Waits until it has told so many steps.
    pub fn steps(&mut self, wanted: usize) -> Result<()> {
        let mut seen = 0;
        while seen < wanted {
            let mut line = String::new();
            if self.stderr.read_line(&mut line).context("read what kubelab up says")? == 0 {
                bail!("kubelab up ended after {seen} of {wanted} steps; it said:\n{}", self.said);
            }
            // `  1.2 s  API server`
            if line.trim_start().split_once(" s  ").is_some_and(|(seconds, _)| seconds.parse::<f64>().is_ok())
            {
                seen += 1;
            }
            self.said.push_str(&line);
        }
        Ok(())
    }

    /// Waits until an owned cluster's command says that it is ready.
    pub fn ready(&mut self) -> Result<()> {
        let mut line = String::new();
        let stdout = self.child.stdout.take().context("its standard output")?;
        BufReader::new(stdout).read_line(&mut line).context("read what kubelab up says")?;
        if line.trim() != kubelab::cli::READY {
            bail!("kubelab up says `{line}` and {:?}", self.wait());
        }
        Ok(())
    }

    /// Its process.
    pub fn pid(&self) -> Result<i32> {
        i32::try_from(self.child.id()).context("a process number")
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        kill(Pid::from_raw(self.pid()?), signal).context("signal kubelab up")
    }

    /// Waits until it ends: how, and everything it said.
    pub fn wait(&mut self) -> Result<(ExitStatus, String)> {
        self.stderr.read_to_string(&mut self.said).context("read what kubelab up says")?;
        Ok((self.child.wait().context("wait for kubelab up")?, self.said.clone()))
    }
}

/// A test that failed in the middle must not leave a command behind that nobody ends.
impl Drop for Up {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
    }
}

//! The product's binaries as child processes: built once, logged to a file, ended on every path.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// How long a child may take to end by itself after SIGTERM.
const GRACE: Duration = Duration::from_secs(3);

/// A running child. Dropping it ends it.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `command` with stdout and stderr in a log file.
    pub fn start(name: &str, mut command: Command, log: &Path) -> Result<Self> {
        let file = File::create(log).with_context(|| format!("create log {}", log.display()))?;
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone().context("share the log file")?)
            .stderr(file)
            .spawn()
            .with_context(|| format!("start {name}"))?;
        Ok(Self { name: name.to_owned(), child, log: log.to_owned() })
    }

    /// What it logged so far.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Fails, with its log, if it ended.
    pub fn check_alive(&mut self) -> Result<()> {
        match self.child.try_wait().with_context(|| format!("look after {}", self.name))? {
            None => Ok(()),
            Some(status) => Err(anyhow!("{} ended early ({status}); its log:\n{}", self.name, self.log())),
        }
    }

    /// Ends it at once, as a crash would.
    pub fn crash(&mut self) -> Result<()> {
        self.child.kill().with_context(|| format!("kill {}", self.name))?;
        self.child.wait().with_context(|| format!("wait for {}", self.name))?;
        Ok(())
    }

    /// Asks it to end and waits.
    pub fn stop(&mut self) -> Result<ExitStatus> {
        if let Some(status) = self.child.try_wait()? {
            return Ok(status);
        }
        let pid = i32::try_from(self.child.id()).context("pid out of range")?;
        kill(Pid::from_raw(pid), Signal::SIGTERM).with_context(|| format!("end {}", self.name))?;
        let begun = Instant::now();
        while begun.elapsed() < GRACE {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        self.child.kill()?;
        self.child.wait()?;
        bail!("{} did not end within {} s of SIGTERM; its log:\n{}", self.name, GRACE.as_secs(), self.log())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.stop().is_err() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// Where the three binaries are: in `WHY_DROPPED_BINARIES`, else beside this program, built if they are not up to date.
pub fn binary(name: &str) -> Result<PathBuf> {
    static DIRECTORY: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let directory = DIRECTORY.get_or_init(|| build().map_err(|error| format!("{error:#}")));
    match directory {
        Ok(directory) => Ok(directory.join(name)),
        Err(text) => bail!("build the binaries: {text}"),
    }
}

/// The directory the running program was built into, with the binaries in it made current.
fn build() -> Result<PathBuf> {
    if let Some(directory) = std::env::var_os("WHY_DROPPED_BINARIES") {
        return Ok(directory.into());
    }
    let this = std::env::current_exe().context("find this program")?;
    let directory = this
        .ancestors()
        .find(|dir| dir.file_name().is_some_and(|name| name == "debug" || name == "release"))
        .context("this program does not run from a cargo target directory")?
        .to_owned();
    // The lab program is built together with the others by `cargo xtask demo`; a test binary only with itself.
    if this.parent() != Some(&directory) {
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../Cargo.toml");
        let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        command
            .args([
                "build",
                "--quiet",
                "--locked",
                "-p",
                "agent",
                "-p",
                "collector",
                "-p",
                "cli",
                "-p",
                "e2e",
                "-p",
                "kubelab",
                "--bins",
            ])
            .arg("--manifest-path")
            .arg(manifest);
        if directory.ends_with("release") {
            command.arg("--release");
        }
        let output = command.output().context("start cargo")?;
        if !output.status.success() {
            bail!("{}", String::from_utf8_lossy(&output.stderr));
        }
    }
    Ok(directory)
}

/// What a command printed and how it ended.
#[derive(Debug)]
pub struct Printed {
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
    /// Exit code; `None` if a signal ended it.
    pub code: Option<i32>,
}

impl From<Output> for Printed {
    fn from(output: Output) -> Self {
        Self {
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            code: output.status.code(),
        }
    }
}

/// Tries until it succeeds or the time is over; the last failure is the error.
pub fn eventually<T>(what: &str, within: Duration, mut attempt: impl FnMut() -> Result<T>) -> Result<T> {
    let begun = Instant::now();
    loop {
        match attempt() {
            Ok(value) => return Ok(value),
            Err(error) if begun.elapsed() >= within => {
                return Err(error.context(format!("{what}: not within {:.1} s", within.as_secs_f64())));
            }
            Err(_) => std::thread::sleep(Duration::from_millis(20)),
        }
    }
}

//! Running other programs and saying which one failed.

use std::env;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};

/// The workspace root, wherever the task was started.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map_or_else(|| PathBuf::from("."), Path::to_path_buf)
}

/// Where cargo puts the binaries of the `dev` profile.
pub fn built() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from).join("debug")
}

/// Where downloads and built tools are kept between runs.
pub fn cache() -> PathBuf {
    env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| env::var_os("HOME").map(|home| Path::new(&home).join(".cache")))
        .unwrap_or_else(env::temp_dir)
        .join("why-dropped")
}

/// Where `setup` puts programs it builds; searched before PATH by the tests.
pub fn tools() -> PathBuf {
    cache().join("bin")
}

/// PATH with the project's tools in front.
pub fn path_with_tools() -> std::ffi::OsString {
    let path = env::var_os("PATH").unwrap_or_default();
    let dirs = std::iter::once(tools()).chain(env::split_paths(&path));
    env::join_paths(dirs).unwrap_or(path)
}

/// The cargo that runs this task.
///
/// Without what it tells this task of its own package: build scripts that look at these variables, as ring's does, would
/// run again, and all that depends on them be built again, whenever a build from here follows one from a shell.
pub fn cargo() -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root()).env("PATH", path_with_tools());
    for (name, _) in env::vars_os() {
        if name
            .to_str()
            .is_some_and(|name| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_"))
        {
            command.env_remove(&name);
        }
    }
    command
}

/// Where a program is, in the project's tools or on PATH.
pub fn find(program: &str) -> Option<PathBuf> {
    env::split_paths(&path_with_tools())
        .chain(["/usr/sbin", "/sbin", "/usr/local/sbin"].map(PathBuf::from))
        .map(|dir| dir.join(program))
        .find(|path| path.is_file())
}

/// Whether this process may do everything.
pub fn is_root() -> bool {
    output(Command::new("id").arg("-u")).is_ok_and(|uid| uid.trim() == "0")
}

/// Runs to the end with inherited output; fails if the program does.
pub fn run(command: &mut Command) -> Result<()> {
    let shown = show(command);
    let status = command.status().with_context(|| format!("start `{shown}`"))?;
    if !status.success() {
        bail!("`{shown}` failed: {status}");
    }
    Ok(())
}

/// Runs to the end and returns what it printed on stdout.
pub fn output(command: &mut Command) -> Result<String> {
    let shown = show(command);
    let output = command.stderr(Stdio::inherit()).output().with_context(|| format!("start `{shown}`"))?;
    if !output.status.success() {
        bail!("`{shown}` failed: {}", output.status);
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs one named step and prints how long it took.
pub fn step(name: &str, work: impl FnOnce() -> Result<()>) -> Result<()> {
    println!("== {name}");
    let begun = Instant::now();
    work().with_context(|| format!("step `{name}`"))?;
    println!("== {name}: {:.1} s", begun.elapsed().as_secs_f64());
    Ok(())
}

/// The command as one would type it.
pub fn show(command: &Command) -> String {
    let args: Vec<_> = command.get_args().map(OsStr::to_string_lossy).collect();
    format!("{} {}", command.get_program().to_string_lossy(), args.join(" "))
}

//! Writes the Rust code and the descriptor set of the schema into a directory; `cargo xtask codegen` runs it and
//! compares. It is no build script: users of the crate need neither protoc nor this generator.
//!
//! It is built together with the crate: change the schema and generate first, then the code that uses the new fields.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use protox::prost::Message as _;

const FILES: [&str; 3] =
    ["whydropped/v1/evidence.proto", "whydropped/v1/agent.proto", "whydropped/v1/query.proto"];

fn main() -> Result<()> {
    let out: PathBuf = std::env::args_os().nth(1).context("usage: codegen OUTPUT_DIRECTORY")?.into();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    std::fs::create_dir_all(&out).with_context(|| format!("create {}", out.display()))?;

    let mut compiler = protox::Compiler::new([root])?;
    compiler.include_source_info(true).include_imports(true).open_files(FILES.map(|file| root.join(file)))?;
    let mut descriptors = compiler.file_descriptor_set();

    // Type names lead from a message to its descriptor, for the JSON mapping.
    let mut config = tonic_prost_build::Config::new();
    config.enable_type_names();
    tonic_prost_build::configure()
        .build_transport(false)
        .out_dir(&out)
        .compile_fds_with_config(descriptors.clone(), config)
        .context("generate code")?;
    let code = out.join("whydropped.v1.rs");
    let formatted = Command::new("rustfmt")
        .args(["--edition", "2024", "--config-path"])
        .arg(root.join("../rustfmt.toml"))
        .arg(&code)
        .status()
        .context("run rustfmt")?;
    ensure!(formatted.success(), "rustfmt refused {}", code.display());

    // Comments serve readers of the code; reflection needs none and the set is a third of the size without.
    for file in &mut descriptors.file {
        file.source_code_info = None;
    }
    let set = out.join("descriptors.bin");
    std::fs::write(&set, descriptors.encode_to_vec()).with_context(|| format!("write {}", set.display()))
}

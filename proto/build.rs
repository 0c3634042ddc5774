//! Compiles the schema without an installed `protoc`.

use std::{env, fs, path::PathBuf};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=schema");
    let mut compiler = protox::Compiler::new(["schema"])?;
    compiler.include_imports(true).open_file("service.proto")?;
    let mut config = prost_build::Config::new();
    // Payloads are shared, not copied: one received or stored buffer serves many readers.
    config.bytes(["."]);
    // Without content.
    config.extern_path(".feldakte.v1.ProbeRequest", "()");
    config.compile_fds(compiler.file_descriptor_set())?;
    let out = PathBuf::from(env::var("OUT_DIR")?).join("grpc");
    fs::create_dir_all(&out)?;
    fs::write(out.join("schema.bin"), compiler.encode_file_descriptor_set())?;
    // Handlers and callers pass frames: their content is read and written where all other transports' is.
    let messages = ["ClientFrame", "ServerFrame", "Bundle", "BulkRequest", "ProbeRequest"];
    let service = tonic_prost_build::configure().out_dir(out).codec_path("crate::grpc::FrameCodec");
    let service = messages
        .iter()
        .fold(service, |service, message| service.extern_path(format!(".feldakte.v1.{message}"), "crate::grpc::Frame"));
    service.extern_path(".feldakte.v1", "crate::pb").compile_fds(compiler.file_descriptor_set())?;
    Ok(())
}

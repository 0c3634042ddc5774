//! Compiles the schema without an installed `protoc`.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=schema");
    let files = protox::compile(["session.proto"], ["schema"])?;
    let mut config = prost_build::Config::new();
    // Payloads are shared, not copied: one received or stored buffer serves many readers.
    config.bytes(["."]);
    config.compile_fds(files)?;
    Ok(())
}

//! Generates bindings: `cargo run -p feldakte-ffi --bin uniffi-bindgen -- generate --library … --language python`.

fn main() {
    uniffi::uniffi_bindgen_main();
}

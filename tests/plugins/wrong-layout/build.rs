//! Makes the types look as if they were those of another build of the API: a layout names the package of its types.

fn main() {
    println!("cargo::rustc-env=CARGO_PKG_NAME=notifyit-plugin-api");
    println!("cargo::rerun-if-changed=build.rs");
}

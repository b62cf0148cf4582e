//! Notes the compiler's version: a plugin's `info` tells it. And makes the types those of `notifyit-plugin-api`: a
//! layout names the package of its types.

use std::process::Command;

fn main() {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let version = Command::new(rustc).arg("--version").output().ok();
    let version = version.and_then(|o| String::from_utf8(o.stdout).ok()).unwrap_or_default();
    println!("cargo::rustc-env=NOTIFYIT_RUSTC={}", version.trim());
    println!("cargo::rustc-env=CARGO_PKG_NAME=notifyit-plugin-api");
    println!("cargo::rerun-if-changed=build.rs");
}

//! The wrong-file zoo: what may lie where a plugin should be, and what the refusal must say of it.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::Path;
use std::process::Command;

use notifyit_tests::{aborting_library, is_isolated, library, skip};

/// A file of the zoo: its name, and what the refusal must say beside that.
pub(crate) type Wrong = (&'static str, &'static [&'static str]);

/// What is refused aloud when it lies in a plugin directory.
const WRONG: &[Wrong] = &[
    ("text.so", &["not an ELF file"]),
    ("empty.so", &["it is empty"]),
    ("cut-in-the-header.so", &["incomplete"]),
    ("cut-in-the-program-headers.so", &["incomplete"]),
    ("cut-early.so", &["incomplete"]),
    ("cut-half.so", &["incomplete"]),
    ("cut-by-a-byte.so", &["incomplete"]),
    ("foreign-machine.so", &["built for", "this host is"]),
    ("foreign-class.so", &["32-bit", "64-bit"]),
    ("object.so", &["object file", "cdylib"]),
    ("wrong-layout.so", &["differ", "create"]),
    ("no-layout.so", &["nothing of its layout"]),
    ("other-major.so", &["2.0.0", "1.", "major version"]),
    ("aborts.so", &["panic = \"abort\"", "panic = \"unwind\""]),
    ("world-writable.so", &["writable by everyone", "chmod o-w"]),
    ("group-writable.so", &["writable by its group", "chmod g-w"]),
    ("foreign-owner.so", &["owned by uid 65534", "chown"]),
    ("directory.so", &["a directory, not a file"]),
    ("fifo.so", &["a FIFO, not a file"]),
    ("dangling.so", &["a link to \"nowhere\", which does not exist"]),
];

/// The same where plugins run in processes of their own: there one whose panics abort is not refused.
pub(crate) fn wrong() -> impl Iterator<Item = &'static Wrong> {
    WRONG.iter().filter(|(name, _)| !(is_isolated() && *name == "aborts.so"))
}

/// What is passed over when it lies in a plugin directory, and refused when it is named.
pub(crate) const NO_PLUGIN: &[Wrong] =
    &[("plain-c.so", &["no notifyit plugin"]), ("plain-rust.so", &["no notifyit plugin"])];

pub(crate) fn bytes_of_a_plugin() -> Vec<u8> {
    fs::read(library("print")).expect("the plugin was built")
}

/// Puts the whole zoo into a directory.
pub(crate) fn fill(directory: &Path) {
    let put = |name: &str, bytes: &[u8]| {
        fs::write(directory.join(name), bytes).expect("the directory is writable");
        set_mode(&directory.join(name), 0o644);
    };
    let good = bytes_of_a_plugin();
    put("text.so", b"I am a text, not a library.\n");
    put("empty.so", b"");
    put("cut-in-the-header.so", &good[..20]);
    put("cut-in-the-program-headers.so", &good[..100]);
    put("cut-early.so", &good[..4096]);
    put("cut-half.so", &good[..good.len() / 2]);
    put("cut-by-a-byte.so", &good[..good.len() - 1]);
    put("foreign-machine.so", &patched(&good, 18, if cfg!(target_arch = "x86_64") { 183 } else { 62 }));
    put("foreign-class.so", &patched(&good, 4, 1));
    for (name, library_of) in [
        ("wrong-layout.so", "wrong-layout"),
        ("no-layout.so", "no-layout"),
        ("other-major.so", "other-major"),
    ] {
        put(name, &fs::read(library(library_of)).expect("the fixture was built"));
    }
    put("aborts.so", &fs::read(aborting_library()).expect("the fixture was built"));
    for (name, mode) in [("world-writable.so", 0o646), ("group-writable.so", 0o664)] {
        put(name, &good);
        set_mode(&directory.join(name), mode);
    }
    put("foreign-owner.so", &good);
    chown(directory.join("foreign-owner.so"), Some(65534), None).expect("root may give a file away");
    fs::create_dir(directory.join("directory.so")).expect("the name is free");
    let mode = rustix::fs::Mode::from_raw_mode(0o644);
    rustix::fs::mknodat(rustix::fs::CWD, directory.join("fifo.so"), rustix::fs::FileType::Fifo, mode, 0)
        .expect("the name is free");
    symlink("nowhere", directory.join("dangling.so")).expect("the name is free");
    fs::copy(library("no-loader"), directory.join("plain-rust.so")).expect("the fixture was built");
    compile(directory);
}

/// What needs a C compiler.
fn compile(directory: &Path) {
    let source = directory.join("source.c");
    fs::write(&source, "int answer(void) { return 42; }\n").expect("the directory is writable");
    let cc = |arguments: &[&str], name: &str| {
        let status =
            Command::new("cc").args(arguments).arg(&source).arg("-o").arg(directory.join(name)).status();
        status.is_ok_and(|status| status.success())
    };
    if !(cc(&["-shared", "-fPIC"], "plain-c.so") && cc(&["-c"], "object.so")) {
        skip("the plain C library and the object file: there is no C compiler");
    }
    for name in ["plain-c.so", "object.so"] {
        let file = directory.join(name);
        if file.exists() {
            set_mode(&file, 0o644);
        }
    }
}

fn patched(bytes: &[u8], at: usize, byte: u8) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[at] = byte;
    bytes
}

pub(crate) fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).expect("the file is ours");
}

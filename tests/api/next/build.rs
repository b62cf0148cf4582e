//! Makes a later minor version of today's API: the same sources, with one thing more at the end of each type that may
//! grow. All of them are called `later`.

use std::fs;
use std::path::Path;
use std::process::Command;

/// The file, what it holds once, and what is added behind that.
type Addition = (&'static str, Place, &'static str);

enum Place {
    /// Behind this text.
    After(&'static str),
    /// At the end of the block that this text opens.
    EndOf(&'static str),
}

const ADDED: [Addition; 6] = [
    (
        "abi/module.rs",
        Place::EndOf("pub struct HostApi {"),
        "    /// More of the host.\n    pub later: extern \"C\" fn(context: u64) -> u64,\n",
    ),
    (
        "abi/module.rs",
        Place::EndOf("pub struct PluginModule {"),
        "    /// More of the library.\n    pub later: extern \"C\" fn() -> u64,\n",
    ),
    (
        "abi/object.rs",
        Place::EndOf("pub trait Handler: Send {"),
        "    /// More of the handler.\n    fn later(&mut self, _number: u64) -> u64 {\n        0\n    }\n",
    ),
    (
        "abi/guard.rs",
        Place::EndOf("impl<P: Plugin> Handler for Guarded<P> {"),
        "    fn later(&mut self, number: u64) -> u64 {\n        number + 1\n    }\n",
    ),
    (
        "abi/guard.rs",
        Place::After("PluginModule { info, create"),
        ", later: { extern \"C\" fn later() -> u64 { 7 } later }",
    ),
    (
        "services/mod.rs",
        Place::After("impl Host {\n"),
        "    /// What only a later host has.\n    pub fn later(&self) -> Option<u64> {\n        Some(self.api.later()?(self.context))\n    }\n",
    ),
];

fn main() {
    let today = Path::new("../../../notifyit-plugin-api");
    let out = std::env::var("OUT_DIR").expect("set by Cargo");
    // What another state of the sources has left there would be a second file of the same module.
    fs::remove_dir_all(&out).expect("the build's directory is writable");
    copy(&today.join("src"), Path::new(&out));
    println!("cargo::rustc-env=CARGO_PKG_NAME=notifyit-plugin-api");
    println!("cargo::rustc-env=NOTIFYIT_RUSTC={}", rustc());
    println!("cargo::rerun-if-changed={}", today.join("src").display());
    println!("cargo::rerun-if-changed=build.rs");
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("the build's directory is writable");
    for entry in fs::read_dir(from).expect("today's sources are there").flatten() {
        let (path, to) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() {
            copy(&path, &to);
        } else {
            let source = fs::read_to_string(&path).expect("sources are UTF-8");
            fs::write(to, changed(&path, source)).expect("the build's directory is writable");
        }
    }
}

fn changed(path: &Path, mut source: String) -> String {
    if path.ends_with("src/lib.rs") {
        return front(&source);
    }
    for (_, place, text) in ADDED.iter().filter(|(file, ..)| path.ends_with(file)) {
        source.insert_str(place.within(&source), text);
    }
    source
}

/// What is included can hold no docs of the crate, and the harness makes a `HostApi` of today.
fn front(source: &str) -> String {
    let lines = source.lines().filter(|line| !line.starts_with("//!") && *line != "pub mod testing;");
    lines.flat_map(|line| [line, "\n"]).collect()
}

impl Place {
    fn within(&self, source: &str) -> usize {
        let (Place::After(text) | Place::EndOf(text)) = *self;
        let places: Vec<usize> = source.match_indices(text).map(|(at, _)| at + text.len()).collect();
        let [after] = places[..] else {
            panic!("today's sources hold `{text}` {} times, not once", places.len())
        };
        match self {
            Place::After(_) => after,
            Place::EndOf(_) => after + source[after..].find("\n}").expect("blocks end at the left") + 1,
        }
    }
}

fn rustc() -> String {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let version = Command::new(rustc).arg("--version").output().expect("rustc can be started");
    String::from_utf8_lossy(&version.stdout).trim().to_owned()
}

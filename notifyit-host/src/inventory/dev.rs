//! `plugin dev`: builds a plugin's crate, runs a host with it, and builds it anew when its sources change. The host takes
//! over new code by itself; if there is none, because it does not compile, the old code goes on.

use std::ffi::OsString;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use tracing::{info, warn};

use crate::cli::{LogFormat, PluginDevArgs};
use crate::config::Environment;
use crate::log;

/// How often is looked whether the sources have changed, or the host has ended.
const LOOK_EVERY: Duration = Duration::from_millis(300);

/// A package that a plugin is built from.
struct Package {
    cargo: PathBuf,
    manifest: PathBuf,
    directory: PathBuf,
    /// Where the host finds what was built.
    plugins: PathBuf,
    release: bool,
}

/// What `cargo metadata` tells, as far as it is asked.
#[derive(Deserialize)]
struct Metadata {
    packages: Vec<MetadataPackage>,
    target_directory: PathBuf,
}

#[derive(Deserialize)]
struct MetadataPackage {
    name: String,
    manifest_path: PathBuf,
    targets: Vec<Target>,
}

#[derive(Deserialize)]
struct Target {
    kind: Vec<String>,
}

/// What `cargo build` tells of one thing that it has built.
#[derive(Deserialize)]
struct Artifact {
    manifest_path: PathBuf,
    target: Target,
    filenames: Vec<PathBuf>,
}

/// Until a signal, or until the host ends by itself.
///
/// # Errors
///
/// There is no package, or none that becomes a plugin; there is no Cargo; the host ends with an error.
pub(super) fn dev(args: &PluginDevArgs, environment: &Environment) -> Result<()> {
    log::start(LogFormat::Text, tracing::level_filters::LevelFilter::INFO);
    let cargo = environment.cargo.clone().unwrap_or_else(|| "cargo".into());
    let package = Package::find(cargo, &environment.absolute(&args.path), args.release)?;
    let signals = signals()?;
    let mut seen = package.sources();
    while !package.build()? {
        info!("nothing runs yet; it is built again when its sources change");
        while !package.has_changed(&mut seen) {
            match signals.recv_timeout(LOOK_EVERY) {
                Err(RecvTimeoutError::Timeout) => {}
                Ok(()) | Err(RecvTimeoutError::Disconnected) => return Ok(()),
            }
        }
    }
    let mut host = package.run_host(args)?;
    loop {
        match signals.recv_timeout(LOOK_EVERY) {
            Err(RecvTimeoutError::Timeout) => {}
            Ok(()) | Err(RecvTimeoutError::Disconnected) => return stop(host),
        }
        if let Some(status) = host.try_wait().context("failed to wait for the host")? {
            return ended(status);
        }
        if package.has_changed(&mut seen) && !package.build()? {
            warn!("what runs goes on as it was");
        }
    }
}

impl Package {
    fn find(cargo: PathBuf, path: &Path, release: bool) -> Result<Package> {
        let manifest = path.join("Cargo.toml").canonicalize();
        let manifest = manifest.with_context(|| format!("failed to find a package in {path:?}"))?;
        let mut metadata = Command::new(&cargo);
        metadata.args(["metadata", "--no-deps", "--format-version", "1", "--manifest-path"]).arg(&manifest);
        let output = metadata.stderr(Stdio::inherit()).output().context("failed to run cargo")?;
        if !output.status.success() {
            bail!("cargo cannot read {manifest:?}");
        }
        let told: Metadata =
            serde_json::from_slice(&output.stdout).context("failed to read what cargo tells")?;
        let found = told.packages.iter().find(|package| package.manifest_path == manifest);
        let found = found.with_context(|| format!("{manifest:?} is of no package; name one with --path"))?;
        if !found.targets.iter().any(Target::is_plugin) {
            bail!(
                "package `{}` becomes no plugin; add to {manifest:?}: [lib] crate-type = [\"cdylib\"]",
                found.name
            );
        }
        let directory = path.canonicalize().with_context(|| format!("failed to find {path:?}"))?;
        let plugins = told.target_directory.join("notifyit-dev");
        // What another run has left is not to run.
        let _ = fs::remove_dir_all(&plugins);
        fs::create_dir_all(&plugins).with_context(|| format!("failed to make {plugins:?}"))?;
        Ok(Package { cargo, manifest, directory, plugins, release })
    }

    /// Builds it, and puts it where the host finds it. False if it does not compile, which cargo has said.
    fn build(&self) -> Result<bool> {
        let mut build = Command::new(&self.cargo);
        build
            .args(["build", "--message-format", "json-render-diagnostics", "--manifest-path"])
            .arg(&self.manifest);
        build.args(self.release.then_some("--release"));
        let output = build.stderr(Stdio::inherit()).output().context("failed to run cargo")?;
        if !output.status.success() {
            return Ok(false);
        }
        let artifacts =
            output.stdout.split(|byte| *byte == b'\n').flat_map(serde_json::from_slice::<Artifact>);
        let own = artifacts
            .filter(|artifact| artifact.manifest_path == self.manifest && artifact.target.is_plugin());
        let mut files = own.flat_map(|artifact| artifact.filenames);
        let file = files.find(|file| file.extension().is_some_and(|extension| extension == "so"));
        let file = file.context("cargo does not say what it has built")?;
        self.put(&file).with_context(|| format!("failed to put {file:?} into {:?}", self.plugins))?;
        Ok(true)
    }

    /// At once and whole.
    fn put(&self, file: &Path) -> io::Result<()> {
        let name = file.file_name().unwrap_or_default();
        let mut hidden = OsString::from(".");
        hidden.push(name);
        let hidden = self.plugins.join(hidden);
        fs::copy(file, &hidden)?;
        fs::rename(&hidden, self.plugins.join(name))
    }

    /// Have its sources changed since?
    fn has_changed(&self, seen: &mut u64) -> bool {
        let now = self.sources();
        let has_changed = std::mem::replace(seen, now) != now;
        if has_changed {
            info!("{:?} has changed", self.directory);
        }
        has_changed
    }

    /// Of all files of the package, but for hidden ones and what is built: another number if any has changed.
    fn sources(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        note(&self.directory, self.plugins.parent(), &mut hasher);
        hasher.finish()
    }

    /// In a process group of its own: what is typed at the terminal comes to us, and from us to it, once.
    fn run_host(&self, args: &PluginDevArgs) -> Result<Child> {
        let mut host = Command::new("/proc/self/exe");
        host.args(["watch", "-v", "--plugin-dir"]).arg(&self.plugins).args(&args.options).args(&args.watched);
        host.process_group(0).spawn().context("failed to start the host")
    }
}

impl Target {
    fn is_plugin(&self) -> bool {
        self.kind.iter().any(|kind| kind == "cdylib")
    }
}

fn note(directory: &Path, built: Option<&Path>, hasher: &mut DefaultHasher) {
    let mut entries: Vec<_> = fs::read_dir(directory).into_iter().flatten().flatten().collect();
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let (path, name) = (entry.path(), entry.file_name());
        let Ok(stat) = entry.metadata() else { continue };
        if name.as_encoded_bytes().starts_with(b".") || Some(path.as_path()) == built || name == "target" {
            continue;
        }
        if stat.is_dir() {
            note(&path, built, hasher);
        } else if name != "Cargo.lock" {
            (path, stat.len(), stat.mtime(), stat.mtime_nsec()).hash(hasher);
        }
    }
}

/// One message for each signal.
fn signals() -> Result<Receiver<()>> {
    let (tell, told) = channel();
    let mut signals = Signals::new([SIGINT, SIGTERM]).context("failed to listen for signals")?;
    let listen = move || signals.forever().all(|_| tell.send(()).is_ok());
    thread::Builder::new().name("signals".into()).spawn(listen).context("failed to start a thread")?;
    Ok(told)
}

fn stop(mut host: Child) -> Result<()> {
    let _ = kill_process(Pid::from_child(&host), Signal::TERM);
    ended(host.wait().context("failed to wait for the host")?)
}

/// It has said why.
fn ended(status: ExitStatus) -> Result<()> {
    match (status.success(), status.signal()) {
        (true, _) => Ok(()),
        (false, Some(signal)) => bail!("the host died of signal {signal}"),
        (false, None) => bail!("the host has ended with an error"),
    }
}

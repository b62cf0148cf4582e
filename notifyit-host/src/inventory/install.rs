//! `plugin install`: from a build to a plugin directory, whole and at once.

use std::fmt::Write as _;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};

use super::loader;
use super::seen::Seen;
use crate::config::PluginPlaces;
use crate::plugin::{in_directories, name_of};
use crate::stdout::print;

/// Copies a plugin into its directory under the name that it is found by.
///
/// The copy is made first, hidden, and is what is checked: so what was checked is what is installed, and whose the
/// original is does not matter.
///
/// # Errors
///
/// This host would not run it; the directory is not trusted, or cannot be written to.
pub(super) fn install(file: &Path, places: &PluginPlaces) -> Result<()> {
    let directory = places.for_a_new_one()?;
    if !places.plugin_dirs.contains(&directory) {
        // The user's own place is made; a plugin directory that is not there is more likely a slip.
        let made = DirBuilder::new().recursive(true).mode(0o755).create(&directory);
        made.with_context(|| format!("failed to make {directory:?}"))?;
    }
    if !directory.is_dir() {
        bail!(
            "failed to install a plugin in {directory:?}: no such directory; make it: mkdir -p {directory:?}"
        );
    }
    let loader = loader(places);
    if let Err(why) = loader.trusts_directory(&directory) {
        bail!("failed to install a plugin in {directory:?}: {why}");
    }
    let copy = Copy::of(file, &directory)?;
    let seen = Seen::look(&loader, &copy.path);
    if let Some(why) = seen.objection() {
        bail!("failed to install {file:?}: {why}");
    }
    let name = seen.name();
    let file_name = file_name(&name).ok_or_else(|| {
        anyhow!("failed to install {file:?}: its name {name:?} is none for a file; rename its Cargo package")
    })?;
    let target = directory.join(file_name);
    let there = target.symlink_metadata().is_ok().then(|| Seen::look(&loader, &target));
    copy.become_file(&target).with_context(|| format!("failed to install {target:?}"))?;

    let mut text = format!("installed {name} {} as {target:?}{}\n", seen.version(), replaced(&seen, there));
    if places.plugin_dirs.contains(&directory) {
        let _ = writeln!(text, "it runs in every host with this plugin directory");
    } else {
        let _ = writeln!(text, "it runs when it is named: notifyit watch -p {name} DIR");
    }
    for twin in in_directories(&[directory]).files {
        if twin != target && name_of(&twin) == name_of(&target) {
            let _ = writeln!(text, "{twin:?} has the same name and comes after it: remove one of them");
        }
    }
    print(&text)
}

/// What was there before.
fn replaced(seen: &Seen, there: Option<Seen>) -> String {
    match there {
        None => String::new(),
        Some(old) if old.hash == seen.hash => ", which it was already".to_owned(),
        Some(Seen { info: Ok(old), .. }) => format!(", in place of {}", old.version),
        Some(Seen { info: Err(_), .. }) => ", in place of a file that would not run".to_owned(),
    }
}

/// The name under which it is found first.
fn file_name(plugin: &str) -> Option<String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    let is_plain = !plugin.is_empty() && plugin.chars().all(plain);
    is_plain.then(|| format!("libnotifyit_{}.so", plugin.replace('-', "_")))
}

/// A copy that no host looks at, for it is hidden; removed when it is dropped.
struct Copy {
    path: PathBuf,
    file: File,
}

impl Copy {
    fn of(from: &Path, directory: &Path) -> Result<Copy> {
        let mut original = open(from).with_context(|| format!("failed to read {from:?}"))?;
        let path = directory.join(format!(".notifyit-install-{}", std::process::id()));
        // Of an earlier one that was killed.
        let _ = fs::remove_file(&path);
        let made = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path);
        let file = made.with_context(|| format!("failed to write to {directory:?}"))?;
        let mut copy = Copy { path, file };
        let copied = io::copy(&mut original, &mut copy.file)
            .and_then(|_| copy.file.set_permissions(Permissions::from_mode(0o644)))
            .and_then(|()| copy.file.sync_all());
        copied.with_context(|| format!("failed to write to {directory:?}"))?;
        Ok(copy)
    }

    /// Takes this name, in place of what has it, also if the power fails.
    fn become_file(self, target: &Path) -> io::Result<()> {
        fs::rename(&self.path, target)?;
        File::open(target.parent().unwrap_or(Path::new("/")))?.sync_all()
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        // Gone if it has become the file.
        let _ = fs::remove_file(&self.path);
    }
}

/// Never waits for a FIFO.
fn open(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is no file"));
    }
    Ok(file)
}

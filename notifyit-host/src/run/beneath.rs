//! What must not lie where files land.

use std::path::Path;

use anyhow::{Result, bail};

use crate::config::Settings;

/// Whoever may write where files land could otherwise drop a plugin, and so run code as the host.
pub(super) fn refuse_plugins_beneath(settings: &Settings) -> Result<()> {
    for watch in &settings.watches {
        let Ok(root) = watch.path.canonicalize() else { continue };
        if let Some(directory) = &settings.state_dir
            && directory
                .ancestors()
                .find_map(|there| there.canonicalize().ok())
                .is_some_and(|d| d.starts_with(&root))
        {
            bail!(
                "the state directory {directory:?} lies in the watched {:?}; keep it elsewhere",
                watch.path
            );
        }
        for directory in &settings.plugin_dirs {
            let beneath =
                |directory: &Path| directory.starts_with(&root) && (watch.recursive || directory == root);
            if directory.canonicalize().is_ok_and(|directory| beneath(&directory)) {
                bail!(
                    "plugin directory {directory:?} lies in the watched {:?}, where whoever drops a file could drop a \
                     plugin; keep plugins elsewhere",
                    watch.path
                );
            }
        }
    }
    Ok(())
}

//! What the ledger knows and is gone: found by the rescan, forgotten here.

use rustc_hash::FxHashSet;
use tracing::debug;

use super::inlet::Inlet;
use crate::event::NodeId;
use crate::settle::ledger::{Gone, There};
use crate::source::prune::{LookedInto, RootSeen};

impl Inlet {
    pub(super) fn may_forget_beneath(&self, root: &RootSeen) -> bool {
        let watch = &self.names[usize::from(root.watch.0)];
        self.ledger.may_forget(watch, (root.filesystem, root.inode), root.is_empty)
    }

    pub(super) fn find_gone(&mut self, directory: LookedInto<'_>) -> usize {
        let LookedInto { node, number, mounted, lookup } = directory;
        let gone = self.ledger.gone_in((number, mounted), &|name| match lookup(name) {
            Ok(Some(stat)) if stat.is_file() => There::File,
            Ok(Some(stat)) if stat.is_directory() => There::Directory,
            Ok(_) => There::Nothing,
            Err(_) => There::Unknown,
        });
        match gone {
            Ok(gone) => self.gone.extend(gone.into_iter().map(|gone| (node, gone))),
            Err(error) => debug!("failed to read the ledger: {error:#}"),
        }
        self.gone.len()
    }

    /// Of what was found in directories that are `in_place`. Numbers that are `known` belong to directories that were
    /// renamed.
    pub(super) fn forget_found(&mut self, in_place: &FxHashSet<NodeId>, known: FxHashSet<u64>) {
        let found = std::mem::take(&mut self.gone);
        let gone: Vec<Gone> =
            found.into_iter().filter(|(node, _)| in_place.contains(node)).map(|(_, gone)| gone).collect();
        if !gone.is_empty() {
            self.ledger.forget_gone(gone, known);
        }
    }
}

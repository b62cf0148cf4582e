//! The tree as several threads see it.

use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::tree::Tree;

/// The tree, shared: the source writes, and the rescan beneath the roots that are polled; lanes read.
#[derive(Debug, Default)]
pub struct SharedTree(RwLock<Tree>);

impl SharedTree {
    /// For reading.
    pub fn read(&self) -> RwLockReadGuard<'_, Tree> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// For writing: the source's thread, and the one that polls, each its own roots.
    pub fn write(&self) -> RwLockWriteGuard<'_, Tree> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

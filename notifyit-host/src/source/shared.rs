//! The tree as others see it: several threads, and the ledger.

use std::ffi::OsStr;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::tree::Tree;

/// The tree, shared: the source writes, and the rescan beneath the roots that are polled; lanes read.
#[derive(Debug, Default)]
pub struct SharedTree(RwLock<Tree>);

impl SharedTree {
    /// A tree to be shared.
    pub fn new(tree: Tree) -> SharedTree {
        SharedTree(RwLock::new(tree))
    }

    /// For reading.
    pub fn read(&self) -> RwLockReadGuard<'_, Tree> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// For writing: the source's thread, and the one that polls, each its own roots.
    pub fn write(&self) -> RwLockWriteGuard<'_, Tree> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Gives directories the numbers that the ledger knows them by. A root's name is its watch's, in directory 0.
pub trait Numbering: Send + Sync + std::fmt::Debug {
    /// The number of a directory by its parent's number and its name there.
    fn number(&self, parent: u64, name: &OsStr) -> u64;

    /// A directory has another parent or name now, and keeps its number.
    fn renamed(&self, number: u64, from: (u64, &OsStr), to: (u64, &OsStr));

    /// Two directories have taken each other's place: each with its number, and where it is now.
    fn exchanged(&self, one: (u64, (u64, &OsStr)), other: (u64, (u64, &OsStr)));
}

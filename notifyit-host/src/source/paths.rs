//! The paths of directories, made from the tree when they are needed.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use super::tree::Tree;
use crate::event::NodeId;

impl Tree {
    /// Writes the absolute path of a directory to `path`, with a `/` at its end, and returns how many bytes of it
    /// are the root's (with its `/`).
    pub fn write_path(&self, id: NodeId, path: &mut Vec<u8>) -> usize {
        let mut chain = [id; 64];
        let mut depth = 0;
        let mut here = id;
        while let (Some(parent), true) = (self.node(here).parent, depth < chain.len()) {
            chain[depth] = here;
            depth += 1;
            here = parent;
        }
        // Deeper than the array: the rest first, by itself.
        let root = if self.node(here).parent.is_some() {
            self.write_path(here, path)
        } else {
            path.clear();
            path.extend_from_slice(self.node(here).name.as_bytes());
            if path.last() != Some(&b'/') {
                path.push(b'/');
            }
            path.len()
        };
        for id in chain[..depth].iter().rev() {
            path.extend_from_slice(self.node(*id).name.as_bytes());
            path.push(b'/');
        }
        root
    }

    /// The absolute path of a directory.
    pub fn path(&self, id: NodeId) -> PathBuf {
        let mut path = Vec::new();
        self.write_path(id, &mut path);
        if path.len() > 1 {
            path.pop();
        }
        PathBuf::from(OsString::from_vec(path))
    }

    /// The path of a directory relative to the root; empty for the root itself.
    pub fn relative_dir(&self, id: NodeId) -> PathBuf {
        let mut path = Vec::new();
        let root = self.write_path(id, &mut path);
        path.drain(..root);
        path.pop();
        PathBuf::from(OsString::from_vec(path))
    }

    /// The path of something in a directory, relative to the root.
    pub fn relative(&self, id: NodeId, name: &OsStr) -> PathBuf {
        let mut path = Vec::new();
        let root = self.write_path(id, &mut path);
        path.extend_from_slice(name.as_bytes());
        path.drain(..root);
        PathBuf::from(OsString::from_vec(path))
    }
}

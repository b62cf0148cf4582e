//! What other threads ask of the source is answered here.

use anyhow::Result;
use inotify::WatchMask;

use super::Sink;
use super::fence::Request;
use super::inotify::Source;
use super::roots::{self, State};

/// What a turn of the loop ends with.
pub(super) enum Turn {
    GoOn,
    Leave,
}

impl<S: Sink> Source<S> {
    pub(super) fn answer(&mut self, buffer: &mut [u8]) -> Result<Turn> {
        for request in self.handle.take() {
            match request {
                Request::Fence(reply) => self.fences.set(self.queued_bytes(), reply),
                Request::CheckRoots => self.check_roots(),
                Request::LookFor(unreached) => self.unreached.push(unreached),
                Request::WatchClose { id, file, reply } => self.watch_close(id, &file, reply),
                Request::ForgetClose(id) => self.forget_close(id),
                Request::Listen(directories, bell) => self.listen(&directories, bell),
                Request::LineupChanged(reply) => {
                    self.lineup_changed();
                    reply.0();
                }
                Request::Stop => {
                    let mut left = self.queued_bytes();
                    while left > 0 {
                        let read = self.read(buffer)?;
                        left = if read == 0 { 0 } else { left.saturating_sub(read) };
                    }
                    return Ok(Turn::Leave);
                }
            }
        }
        Ok(Turn::GoOn)
    }

    /// What plugins that have come ask the kernel for may be more than is asked for each directory now.
    fn lineup_changed(&mut self) {
        let interests = |source: &Self| -> Vec<WatchMask> {
            (0..source.roots.len()).map(|index| source.sink.interest(roots::watch_id(index))).collect()
        };
        let before = interests(self);
        self.sink.lineup_changed();
        for (index, (before, now)) in before.into_iter().zip(interests(self)).enumerate() {
            if let State::Watched(node, _) = self.roots[index].state
                && !before.contains(now)
            {
                self.repair_root(index, node);
            }
        }
    }
}

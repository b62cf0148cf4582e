//! How do others do it? Whole plugins to begin with, and what all of them have in common.
//!
//! They are in `plugins/cookbook` of the repository: each does one thing, is read in a few minutes, and has tests of its own
//! with a [`TestHost`](crate::testing::TestHost). The project's tests run each under a real host, too, with files that
//! are damaged, servers that are away and hosts that are killed.
//!
//! | to | begin with | it shows |
//! |---|---|---|
//! | count files by type | `count` | a state that survives restarts, and files that come twice |
//! | call a program | `call`; better: `exec`, which comes with the host | whose fault it is: the file's, or the plugin's |
//! | make thumbnails | `thumbnails` | a result for each file, whole or not at all; limits against hostile files |
//! | keep a manifest of checksums | `checksums` | one result of all files, written once in a burst |
//! | put CSV into SQLite | `csv-to-sqlite` | a transaction for all files that wait (`on_batch`), and yet a verdict for each |
//! | upload by HTTP | `upload` | many files in flight (`defer`); a verdict for each answer of a server; `Retry-After` |
//! | scan for viruses | `clamav` | a protocol over a socket; a file that is moved away |
//! | chain two plugins | `gunzip`, then `csv-to-sqlite` | a result that is the next plugin's file |
//! | look into files before others get them | `clamav`, then `upload` | a file that is handed on ([`Event::emit`](crate::Event::emit)) |
//!
//! # What all of them do
//!
//! **They open the file by [`Event::open`](crate::Event::open)**, never by its path: whoever may write to the directory can put a
//! link there.
//!
//! **They can meet a file twice.** A host that is killed after the work, and before it has noted it, delivers the file
//! again, with the same [`Event::id`](crate::Event::id). So the result has the same name each time (`thumbnails`, `gunzip`,
//! `checksums`, `upload`), or the id is part of its key (`csv-to-sqlite`, `count`).
//!
//! **They leave no half of a result where somebody looks.** It is written beside its place, made safe, and renamed:
//!
//! ```
//! use std::fs::{self, File};
//! use std::io::{self, Write};
//! use std::path::Path;
//!
//! /// Whoever looks, after a crash too, finds the old content or the new one, and either whole.
//! fn replace(directory: &Path, name: &str, content: &[u8]) -> io::Result<()> {
//!     let part = directory.join(format!(".{name}.part")); // what watches there leave out: exclude = [".*"]
//!     let mut new = File::create(&part)?;
//!     new.write_all(content)?;
//!     new.sync_all()?;
//!     fs::rename(&part, directory.join(name))?;
//!     File::open(directory)?.sync_all() // the new name is safe, too
//! }
//! # let directory = std::env::temp_dir().join(format!("notifyit-guide-{}", std::process::id()));
//! # fs::create_dir_all(&directory).unwrap();
//! # replace(&directory, "a", b"content").unwrap();
//! # assert_eq!(fs::read(directory.join("a")).unwrap(), b"content");
//! # fs::remove_dir_all(&directory).unwrap();
//! ```
//!
//! **They say done when it is safe.** What is not safe at the end of `on_event` is so at the end of
//! [`flush`](crate::Plugin::flush); if that fails, all of the burst comes again. So make each file safe in `on_event`
//! (`thumbnails`), or many at once, which is faster when many come: all that wait in
//! [`on_batch`](crate::Plugin::on_batch), where each file can still have its own verdict and an error says whose fault it was
//! (`csv-to-sqlite`), or all of a burst in `flush`, where one result is made of all (`checksums`).
//!
//! **They wait for many at a time.** What is done elsewhere, at a server, is started in the call and goes on behind it, on a
//! thread or task that has all it needs of the event, the open file and the time that it may take, and the verdict to come:
//! [`Event::defer`](crate::Event::defer) (`upload`). No more than [`IN_FLIGHT`](crate::Plugin::IN_FLIGHT) are under way, so
//! that nothing has to be queued or counted. Other threads in a plugin are seldom needed: that many `workers` are as many
//! instances.
//!
//! **They say whose fault it was.**
//!
//! | it failed because | verdict | then |
//! |---|---|---|
//! | the file can never be handled, by what is in it | [`Reject`](crate::Reject) | a dead letter at once |
//! | no file could be handled now: a disk is full, a server away, a token refused | [`Unavailable`](crate::Unavailable) | the plugin pauses; no file loses an attempt |
//! | somebody has said when to come again | [`RetryAfter`](crate::RetryAfter) | not before that |
//! | of anything else, and when in doubt | any error | it is tried again, for a day |
//!
//! `Unavailable` of what is one file's fault keeps that file for ever; a `Reject` of what is none's makes dead letters of all
//! that come meanwhile. So take care with functions that `new` calls, too: there a `Reject` says that the configuration is
//! wrong, and in `on_event` it gives up the file. An error of `flush` has the burst tried again, and each of its files has lost
//! an attempt, but for `Unavailable`; a `Reject` there is an error like any other. What can be found out in `on_event` is better
//! found out there.
//!
//! **They read a state at the first event, not in `new`.** Where newer code takes over, its instance is made while the
//! older one still works ([7](crate#a-plugins-life)); the older one is flushed and has ended when the first event comes.
//! What is wrong with the state is told in `new` all the same.
//!
//! **They write outside of what is watched**, or where a watch leaves it out: a result that lands where its own plugin looks
//! is the next file.
//!
//! **They take no more than there is.** Files are read piece by piece; where a library must have all of one in memory, or a
//! few bytes can become many, there is a limit.
//!
//! # Two plugins in a row
//!
//! Where the second is to get *the same file*, the first hands it on: it calls [`Event::emit`](crate::Event::emit), and the second
//! has nothing to do with it but to be configured with `events = ["emitted"]` (`clamav`, then `upload`).
//!
//! ```toml
//! [plugin.clamav.config]
//! socket = "/run/clamav/clamd.ctl"
//! emits = true
//!
//! [plugin.upload]
//! events = ["emitted"]
//! ```
//!
//! Where it is to get *a result*, that is a file that lands: the first writes it into a directory, and the second has a `[[watch]]`
//! there (`gunzip`, then `csv-to-sqlite`). ([`Event::emit_file`](crate::Event::emit_file) is for results that lie where others land,
//! and that not everybody is to get.) Nothing is lost between them, either way: the
//! first is done when its result is safe, and the second gets it, also after a crash of either.
//!
//! ```toml
//! [[watch]]
//! name = "incoming"
//! path = "/srv/incoming"
//!
//! [[watch]]
//! name = "unpacked"
//! path = "/srv/unpacked"
//! exclude = [".*"]         # what is unfinished
//! existing = "deliver"     # nothing but results is there
//!
//! [plugin.gunzip]
//! watch = ["incoming"]
//!
//! [plugin.csv-to-sqlite]
//! watch = ["unpacked"]
//! ```

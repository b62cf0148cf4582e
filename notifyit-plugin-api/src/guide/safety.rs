//! What may a plugin do, what can go wrong, and what do processes and sandboxes change?
//!
//! # Plugins are trusted code
//!
//! A plugin is part of the host: it runs with the host's rights, on its threads and in its memory. `#![forbid(unsafe_code)]` keeps
//! you from mistakes, not users from you: safe Rust can delete files. So the questions are who may put a plugin there, what a
//! mistake in one can do, and what it may reach when it is itself tricked by a file.
//!
//! # Who may put a plugin there
//!
//! A host loads a file only if nobody else can have written it. `[host] trust`, or `--trust`:
//!
//! | | is asked |
//! |---|---|
//! | `"strict"`, the default | the file, all directories above it, all links on the way and the directories that hold those: owned by root or the host's user (by root alone, if the host is root), and writable by nobody else. (A directory of root's with the sticky bit, such as `/tmp`, may be. Where the host has no privileges, its user's own group may write, too, if no access control list widens it.) |
//! | `"owner"` | the file is root's or the host's user's |
//! | `"off"` | it is a file |
//!
//! What is loaded is a private copy, so that nobody can change what runs. A plugin directory must not lie in a watched one,
//! where whoever drops a file could drop a plugin.
//!
//! Before it is loaded, it is loaded in a child process, which has 10 seconds. That keeps what crashes at load time out of
//! the host. It is no sandbox: code that runs at load time runs there, with the host's rights.
//!
//! Whoever may start the host chooses what it runs: it is installed neither setuid nor with file capabilities.
//!
//! # What a mistake can do
//!
//! | a plugin | in the host | in a process of its own |
//! |---|---|---|
//! | panics | is made anew; the event is tried again | the same |
//! | crashes, aborts, calls `exit` | ends the host. With `--state-dir` the next one knows at which file; after three times that is a dead letter | is started anew; that file loses an attempt, after three crashes it is a dead letter |
//! | never comes back | keeps its own worker for ever; the others go on. A `timeout` reports it | is killed a second after its `timeout`; without one as in the host |
//! | takes all memory | ends the host, or what else the kernel finds | is ended by `limits.memory`, or as the first by the kernel |
//! | changes the working directory, umask, signals, environment, descriptors | changes them for all | changes them for itself |
//! | blocks, or is slow | its own files wait | the same |
//!
//! The README of the host has a row for each of some sixty mistakes, and its tests make all of them.
//!
//! # What a process of its own adds
//!
//! With `isolation = "process"` each worker is a process. Always: a session of its own, no rights by setuid programs
//! (`no_new_privs`), no core dumps, first in line when memory is short, killed when the host ends. What it costs: about a third
//! more processor time in a flood, 0.06 ms for a single file, 5 MB for each worker.
//!
//! **It adds no wall by itself.** It is the same user: it may read what the host may read, and end the host. For that there is
//! more, which the worker does to itself before any of the plugin's code is loaded, and which programs that it starts inherit:
//!
//! | | keeps it from | does not keep it from |
//! |---|---|---|
//! | `user` | what only the host's user may do: its files, signals to the host; all capabilities | what that user may do |
//! | `umask` | making files with these permissions | |
//! | `limits` | taking more memory (address space), descriptors, file size and processor time than so much for each worker, and processes for its user | the sum of all workers: that is the service's (`MemoryMax=`); of processes, root |
//! | `sandbox = true` | files outside of the watched directories (to read) and of what `read` and `write` name; TCP; signals, traces and abstract sockets beyond it | UDP; sockets that are files; seeing names, sizes and owners; changing permissions and times of what its user owns. It is no virtual machine: it ends where the kernel has a hole |
//! | `sandbox = "require"` | running where the kernel lacks a part of that | |
//!
//! A worker that is root is hardly held by a sandbox: give it a `user`. The README has all keys and what each does not do.
//!
//! | your plugin | is well kept by |
//! |---|---|
//! | reads files with a parser in Rust, writes elsewhere | nothing more; `sandbox` if you like |
//! | hands files of strangers to a library in C (images, archives, SQLite) | `isolation = "process"`, `user`, `limits`, `sandbox = { write = ["/srv/out"] }` |
//! | runs programs | the same, with `timeout` |
//! | is somebody else's, and you have not read it | not at all: do not run it |
//!
//! # What you owe your users
//!
//! - **A path may be swapped.** Whoever may write to the directory can put a link, or another file, where the event's was.
//!   [`Event::open`](crate::Event::open) cannot be tricked. To move or replace a file you need its path: look at
//!   [`Event::inode`](crate::Event::inode) afterwards, as `clamav` of the [`cookbook`](super::cookbook) does.
//! - **A name may hold any byte**: quotes, newlines, `-rf`, `$(…)`. Never hand one to a shell; escape it in URLs, SQL and logs
//!   (the host's log escapes control characters).
//! - **A file may be hostile**: a few kilobytes that unpack to a disk full, an image of 60,000 by 60,000 pixels, a CSV of one
//!   endless line. Give your libraries limits, and reject what is beyond.
//! - **A server may never answer.** Set timeouts; [`Event::timeout`](crate::Event::timeout) says how long the user allows.
//! - **Secrets are in files**, which the configuration names: a value in it may stand in an error message, and one that is typed
//!   (`--set`) in the list of processes.
//! - Threads that you start are yours to end, before the instance is dropped.

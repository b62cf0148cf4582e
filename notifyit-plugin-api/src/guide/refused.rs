//! Why was my plugin refused?
//!
//! The host says it in one line: the file, what is wrong, and what to do, as far as it can know:
//!
//! ```text
//! notifyit: failed to load plugin "target/release/libnotifyit_lines.so": it is empty; build or copy it again
//! ```
//!
//! A plugin that was named (`-p`, `library`, a `[plugin.NAME]` of the configuration) and does not run ends the start. One that
//! was only found in a plugin directory is left out: its line is in the log, with the plugins that do run beside it; so it
//! is when a file comes or changes while the host runs. Then `notifyit status` has it too, among what is `refused` or
//! `quarantined`.
//!
//! ```sh
//! notifyit plugin inspect target/release/libnotifyit_lines.so
//! ```
//!
//! says the same of a file without a host, and what the plugin says of itself if it can be loaded. Where a line is short
//! for a long report, `notifyit watch -v` logs that, too.
//!
//! Below, `…` stands for what is filled in.
//!
//! # It is not found
//!
//! | the host says | that is | do |
//! |---|---|---|
//! | `failed to find plugin …: no ….so in …` | no file of that name in any of the directories, which are listed (`(does not exist)`: not even the directory); `did you mean …?`, `found there: …` name what is | `build it (cargo build, with crate-type = ["cdylib"]), or name its directory with --plugin-dir` |
//! | `failed to find plugin …: … was built, but no … beside it` | Cargo has made a library for Rust, which cannot be loaded | `its Cargo.toml needs [lib] crate-type = ["cdylib"]` |
//! | `failed to find plugin …: not a plugin's name` | an empty name, or one with a `/` | give a name, or the path of a `.so` |
//! | `failed to find plugin …: there is no directory to look in` | no plugin directory, and no `$HOME` | `name one with --plugin-dir` |
//! | `failed to read plugin directory …` | it is not there, or not readable for the host's user | make it, or let that user read it |
//! | `failed to load plugin …: it is not there` | the file that was named has gone, or was never there | build it |
//! | `failed to load plugin …: somebody is still writing to it` | it was named, and is being copied just now | start again; a file that changes while the host runs is waited for |
//! | `no plugin to run` | no plugin directory and none named | `name a directory of plugins with --plugin-dir, or a plugin with -p` |
//!
//! # It is not to be trusted
//!
//! A plugin runs with the host's rights, so nobody but root and the host's user may be able to put one there: see
//! [`safety`](super::safety#who-may-put-a-plugin-there).
//!
//! | the host says | that is | do |
//! |---|---|---|
//! | ``… is owned by uid …, not by …`` | the file, or a directory or link on the way to it, belongs to somebody else than `root or us (uid …)`; for a host that is root, than `root` | the `chown` that it names; `notifyit plugin install` makes a copy that is right |
//! | ``… is writable by … (mode …)`` | `the file`, `the directory …` or what `the link …` leads to can be changed by `its group (gid …)`, `everyone`, or `its group and everyone`. With an access control list, the group's bits stand for all whom it names | ``run `chmod …`, or set [host] trust = "owner"`` |
//! | `it is …, not a file` | a directory, a FIFO, a socket, a device | `name the plugin's .so file` |
//! | `it is a link to …, which does not exist` | a symbolic link whose target has gone, as after `cargo clean` | `build or install the plugin, or remove the link` |
//! | what the system says, such as `Permission denied` | it is not there, or not readable for the host's user | `build or install the plugin first`; `let the host's user read it and search the directories above it` |
//! | `plugin directory … lies in the watched …, where whoever drops a file could drop a plugin` | a plugin directory in a watched one | `keep plugins elsewhere` |
//! | `the state directory … lies in the watched …` | the host's own files would be events | `keep it elsewhere` |
//!
//! # It is no whole library for this machine
//!
//! This is asked before the dynamic linker sees it, which would end the host for some of these.
//!
//! | the host says | that is | do |
//! |---|---|---|
//! | `it is empty` | nothing was written, or not yet | `build or copy it again` |
//! | `it is incomplete: of … a part lies behind its end at … bytes` | a copy that was broken off, or goes on: of `the header`, `the program headers`, `the section headers` or `a segment` | `copy it again, beside its place, and move it in with mv` |
//! | `it is damaged: …` | `its dynamic section has no end`, `its segments overlap`, `it has no segments`, `its symbol … is not what it should be`: no linker makes such a file | `build or copy it again` |
//! | `it cannot be read` | the disk fails | look into the system's log |
//! | `it is no shared library (not an ELF file)` | something else with the ending `.so` | `give the .so file that cargo build made of a crate with crate-type = ["cdylib"]` |
//! | `it is no shared library (it has no dynamic section)` | stripped of more than it can do without | `build or copy it again` |
//! | `it is an object file, not a shared library` | a `.o` | `build the plugin with crate-type = ["cdylib"]` |
//! | `it is an executable, not a shared library` | a program | the same |
//! | `it is no shared library` | a core dump, or what else is ELF | the same |
//! | `it is built for …, this host is …` | another processor | `build it for` this one: `cargo build --target …` |
//! | `it is a …-bit library, this host is …-bit` | the same | the same |
//! | `its byte order is not this host's` | the same | the same |
//!
//! # It is no plugin
//!
//! | the host says | that is | do |
//! |---|---|---|
//! | `it is a library, but no notifyit plugin: it exports no symbol …` | no `export_plugin!`, or not at the crate's top level (or a proc macro's library, which lies beside plugins in `target/`). Only found, not named: no more than a line for `-v` | `a plugin has export_plugin!(TYPE) at its crate's top level` |
//! | `its loader symbol is not abi_stable's` | another kind of plugin, for another program | `build it anew with notifyit-plugin-api …` |
//!
//! # It cannot be loaded
//!
//! | the host says | that is | do |
//! |---|---|---|
//! | `failed to make a private copy: …` | what is loaded is a copy that nobody can overwrite, and there is no room for it | `make room in the state directory or $XDG_RUNTIME_DIR, or raise the limit of open files` |
//! | `the dynamic linker refused it: …: cannot open shared object file` | it needs a library that is not here | `install that library where the dynamic linker looks (not beside the plugin: a private copy is loaded)`, or link it statically |
//! | `the dynamic linker refused it: … undefined symbol: …` | it uses a function of C that no library here has | `link the library that defines it into the plugin` |
//! | ``the dynamic linker refused it: … version `…' not found`` | it was built on a newer system | `build the plugin on a system that is no newer than this one` |
//! | `no child process could be started to try it in (…)` | `plugin inspect` tries it in a child process and could start none | raise the limit of processes |
//!
//! # It does harm while it is loaded
//!
//! It was loaded in a child process first, and that came to grief: it is *quarantined*, and not tried again until its file
//! changes. For all of these: `mend or remove it; it is tried again when the file changes`. What it wrote to stderr is in the
//! log with `-v`.
//!
//! | the host says | that is | do |
//! |---|---|---|
//! | `it crashes while it is loaded (…)` | code that runs before `main` would, in your crate or a C library (`#[ctor]`, static constructors), ends by this signal | debug it: `gdb --args notifyit plugin inspect FILE`, `set follow-fork-mode child` |
//! | `it ends the process while it is loaded (exit status …)` | such code calls `exit` | remove it |
//! | `it does not finish loading within …` | such code waits for something | do it in [`Plugin::new`](crate::Plugin::new) |
//! | `while it is loaded it writes to a file that is not its own` | it writes to a descriptor that it did not open | remove it |
//!
//! # It was built for another host
//!
//! See [`compatibility`](super::compatibility). For all of these: `build it anew with notifyit-plugin-api …`, the version that the
//! line names, or use a host that fits.
//!
//! | the host says | that is | do |
//! |---|---|---|
//! | `it is built with notifyit-plugin-api …, this host with …: not the same major version` | the promise holds within a major version alone | take the host's major version in `Cargo.toml` |
//! | `it is built with abi_stable …, this host with …` | an API crate of another time: the major version of the API changes with that of `abi_stable` | the same |
//! | `its compiler passes values otherwise than ours` | a target whose C calling convention is not this host's | build both with the same target |
//! | `it tells nothing of its layout, so that it cannot be checked` | it was exported by hand, with the check switched off | `export_plugin!` |
//! | `its types (notifyit-plugin-api …) differ from this host's (…): …` | an API crate that was changed by hand, or a mistake of ours: behind it stands the first difference, such as ``expected field `…`, found `…` ``, or another `number of fields`, `number of first fields`, `number of variants`, or `no cause is given` | use the published crate; if you do, report it |
//! | `what it says of itself cannot be read: …` | the same | the same |
//! | `it failed to start: …` | the library's first function has failed | `ask its author` |
//! | ``plugin `…` asks for …, none of which this host knows`` | all of its [`EVENTS`](crate::Plugin::EVENTS) are newer than the host | a newer host, or `events = ["landed"]` |
//!
//! # It may run only in a process of its own
//!
//! | the host says | that is | do |
//! |---|---|---|
//! | `it is built with panic = …, so that a panic could not be contained` | `panic = "abort"` in the profile of its workspace: a panic would end the host | `build it with panic = "unwind" in its Cargo profile, or run it with isolation = "process"` |
//!
//! # Its name is taken
//!
//! | the host says | that is | do |
//! |---|---|---|
//! | ``… is not run: … is plugin `…` already`` | two files in the plugin directories are plugins of one name, which is the Cargo package's | `remove one of them` |
//! | ``plugin `…` was asked for twice`` | `-p` names it twice, or two files of that name | `give one of them another name in a configuration file` |
//!
//! # Its configuration is wrong
//!
//! Before `new` is called, what the user has written is compared with the schema of your [`macro@config`](crate::config)
//! struct. Before this stand file, line, column and key: `notifyit.toml:9:10: plugin.lines.config.max_bytes: …`. A start
//! ends with 78, or with 2 for what was typed; a running host keeps the old code at work.
//!
//! | the host says | that is | do |
//! |---|---|---|
//! | ``unknown key `…`, expected …`` | no field of that name | see `notifyit plugin inspect` for those there are |
//! | ``missing key `…`, expected …`` | a field without a default is not written | write it; as the author: `#[serde(default)]`, or an `Option` |
//! | `found …, expected …` | another type, or a value out of its range | as it says |
//! | ``failed to hand plugin `…` its configuration: …`` | TOML that is no JSON: there is none | report it |
//! | `only worker processes can be confined; add isolation = "process", or type --isolation process` | `user`, `umask`, `limits` or `sandbox` for a plugin that runs in the host | as it says |
//!
//! # It cannot be made
//!
//! `new` was called, and there is no instance. Before this stands ``failed to start plugin `…`:``. What is not for good is
//! tried again after 1, 2, … 60 seconds, by a host that runs.
//!
//! | the host says | that is | do |
//! |---|---|---|
//! | your own error | `new` returned it: with [`Reject`](crate::Reject) for good, until the file or the configuration changes | what it says; write there what to do |
//! | `the plugin panicked: …` | `new` panicked; place and message follow | mend it |
//! | `the plugin lied: it says that it made an instance, but gave none` | another adapter than this crate's | use this crate |
//! | `it cannot be loaded: …` | what could be loaded when it was tried cannot be now; one of the lines above follows | as that says |
//! | ``…; plugin `…` goes on as it was`` | the new file was refused for the reason before, and the old code runs | mend the new one |
//!
//! In a [process of its own](super::safety#what-a-process-of-its-own-adds):
//!
//! | the host says | that is | do |
//! |---|---|---|
//! | `failed to start a process for it: …` | the system has no more | `each process takes 7 descriptors of the host: raise its limit (ulimit -n, LimitNOFILE=)`; `raise the limit of processes (ulimit -u, TasksMax=)` |
//! | `while it was made, its process …` | it died in `new`: of a signal, by `exit`, because `its process has used up limits.cpu`; or it `closed its way to the host, and was killed`, or `wrote what is no answer, and was killed` | mend it, or raise the limit |
//! | `while it was made, it did not come back within …, and its process was killed` | `new` took longer than 60 seconds, or than `timeout` if that is set (but 5 seconds in any case) | do less in `new`, or raise `timeout` |
//! | `while it was made, its process was killed in the middle of a call` | the host stopped, or the plugin was removed, meanwhile | nothing |
//! | ``there is no user `…` `` | `user` names none of this system | ``; add it, or name another in user = "…"`` |
//! | ``failed to look up the user `…`: …`` | the system cannot say | see whether `id USER` works |
//! | ``failed to become the user `…`: …`` | the host has no right to | `only a host that is root can do that` |
//! | ``the user `…` can become root again`` | the kernel has not taken the rights away | report it |
//! | `failed to allow … in the sandbox: …` | a path of `sandbox.read` or `sandbox.write` is not there | `create it or take it out of sandbox.…` |
//! | `failed to try the sandbox: …` | `notifyit check` tries it on a thread of its own, and has none | raise the limit of threads |
//! | `failed to build the sandbox: …` | the kernel refuses | `sandbox = false runs it without one` |
//! | `there is no sandbox: this kernel has no Landlock (Linux 5.13)` | `sandbox = "require"` on an old kernel | a newer kernel; `without sandbox.require it runs all the same` |
//! | `there is no sandbox: Landlock is switched off` | the same, by a setting | `Landlock is switched off; add landlock to lsm= of the kernel's command line` |
//! | `the sandbox leaves open: …; Linux … closes it` | the kernel lacks a part: `truncate of other files`, `TCP`, `ioctl of devices`, `signals and abstract sockets of other processes` | a newer kernel; without `require` a WARN |
//! | `the sandbox is without the watched directory …: …` | a WARN: it is not there yet | nothing, if the plugin need not read there |

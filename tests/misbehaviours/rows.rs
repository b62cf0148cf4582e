//! What is done, and what is expected of it.

use super::Way;

/// What becomes of the host, of other plugins, and of its own files.
pub(super) type Cells = [&'static str; 3];

/// The plugin's own files are handled as if nothing were.
const UNHARMED: Cells = ["lives", "all", "done in attempt 1"];

/// The same, but the host has now what the plugin wanted to have.
const CHANGED: Cells = ["lives, changed", "all", "done in attempt 1"];

/// The attempt has failed, the next one not.
const RETRIED: Cells = ["lives", "all", "done in attempt 2"];

/// Each attempt has failed.
const GIVEN_UP: Cells = ["lives", "all", "given up"];

/// The call does not come back.
pub(super) const HELD: Cells = ["lives", "all", "in hand for ever"];

/// By an abort or with an error: that depends on how the host was built.
pub(super) const ENDS: &str = "ends";

/// What the plugin would say is not to be read any more.
pub(super) const UNSEEN: &str = "unseen: there is no log";

/// The plugin has said when the next attempt is to be.
pub(super) const WAITING: &str = "waits as it asked";

const WAITS: Cells = ["lives", "all", WAITING];

/// Until somebody sends it a SIGCONT.
const STOPPED: Cells = ["is stopped", "none after it", "none after it"];

/// There is no instance, or none any more.
const LEFT_OUT: Cells = ["lives", "all", "none"];

const fn ends(how: &'static str) -> Cells {
    [how, "none after it", "none after it"]
}

const fn ends_later(how: &'static str) -> Cells {
    [how, "none after it", "done in attempt 1, none after it"]
}

const fn not_tried(why: &'static str) -> Cells {
    [why, "", ""]
}

/// One harm.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) how: &'static str,
    at: &'static str,
    pub(super) inline: Cells,
    pub(super) isolated: Cells,
}

const fn row(how: &'static str, at: &'static str, inline: Cells, isolated: Cells) -> Row {
    Row { how, at, inline, isolated }
}

impl Row {
    pub(super) fn name(&self) -> String {
        match self.at {
            "on_event" => self.how.to_owned(),
            "always" => format!("{}, in each attempt", self.how),
            place => format!("{} in `{place}`", self.how),
        }
    }

    pub(super) fn place(&self) -> &'static str {
        if self.is_done_each_time() { "on_event" } else { self.at }
    }

    pub(super) fn is_done_each_time(&self) -> bool {
        self.at == "always"
    }

    /// Does the call not come back?
    pub(super) fn is_holding(&self) -> bool {
        self.inline == HELD
    }

    /// Is it ended only when its time is over?
    pub(super) fn is_waited_for(&self) -> bool {
        self.inline == HELD || self.inline == STOPPED || self.how == "sleeps for ever"
    }

    /// Does the harm come only after the call?
    pub(super) fn is_for_later(&self) -> bool {
        self.how.ends_with(" later")
    }

    pub(super) fn expected(&self, way: Way) -> Cells {
        match way {
            Way::Inline => self.inline,
            Way::Isolated => self.isolated,
        }
    }

    pub(super) fn is_tried(&self, way: Way) -> bool {
        !self.expected(way)[0].starts_with("not tried")
    }
}

const SEGV: Cells = ends("ends by SIGSEGV");
const ABRT: Cells = ends("ends by SIGABRT");

pub(super) const ROWS: &[Row] = &[
    row("panics", "new", LEFT_OUT, LEFT_OUT),
    row("panics", "on_event", RETRIED, RETRIED),
    row("panics", "always", GIVEN_UP, GIVEN_UP),
    row("panics", "flush", RETRIED, RETRIED),
    row("panics", "shutdown", UNHARMED, UNHARMED),
    row("panics", "drop", UNHARMED, UNHARMED),
    row("panics with a payload whose drop panics", "on_event", RETRIED, RETRIED),
    row("writes through a null pointer", "new", ["ends by SIGSEGV", "none", "none"], LEFT_OUT),
    row("writes through a null pointer", "on_event", SEGV, RETRIED),
    row("writes through a null pointer", "always", SEGV, GIVEN_UP),
    row("writes through a null pointer", "flush", SEGV, RETRIED),
    row(
        "writes through a null pointer",
        "shutdown",
        ["lives, ends by SIGSEGV when it stops", "all", "done in attempt 1"],
        UNHARMED,
    ),
    row(
        "writes through a null pointer",
        "drop",
        ["lives, ends by SIGSEGV when it stops", "all", "done in attempt 1"],
        UNHARMED,
    ),
    row("reads a mapping behind the end of its file", "on_event", ends("ends by SIGBUS"), RETRIED),
    row("runs an illegal instruction", "on_event", ends("ends by SIGILL"), RETRIED),
    row("recurses without end", "on_event", ABRT, RETRIED),
    row("frees memory twice", "on_event", ABRT, RETRIED),
    row("aborts", "on_event", ABRT, RETRIED),
    row("asks for more memory than there is", "on_event", ABRT, RETRIED),
    row("takes all memory", "on_event", not_tried("not tried: takes all memory"), RETRIED),
    row("exits with 0", "new", ["ends with 70", "none", "none"], LEFT_OUT),
    row("exits with 0", "on_event", ends("ends with 70"), RETRIED),
    row("exits with 3", "on_event", ends("ends with 70"), RETRIED),
    row("calls `_exit`", "on_event", ends("ends with 0"), RETRIED),
    row("kills itself", "on_event", ends("ends by SIGKILL"), RETRIED),
    row("stops itself", "on_event", STOPPED, RETRIED),
    row("ends its thread", "on_event", ABRT, RETRIED),
    row("loops for ever", "on_event", HELD, RETRIED),
    row("sleeps for ever", "new", ["lives", "none", "none"], LEFT_OUT),
    row("sleeps for ever", "on_event", HELD, RETRIED),
    row("sleeps for ever", "always", HELD, GIVEN_UP),
    row("sleeps for ever", "flush", HELD, RETRIED),
    row("sleeps for ever", "shutdown", UNHARMED, UNHARMED),
    row("sleeps for ever", "drop", UNHARMED, UNHARMED),
    row("locks a mutex twice", "on_event", HELD, RETRIED),
    row("opens files until there is no descriptor left", "on_event", CHANGED, UNHARMED),
    row("closes every descriptor", "on_event", ends(ENDS), RETRIED),
    row("closes stdin, stdout and stderr", "on_event", ["lives, changed", "all", UNSEEN], UNHARMED),
    row("makes stdin, stdout and stderr non-blocking", "on_event", CHANGED, UNHARMED),
    row("writes garbage to every pipe and socket", "on_event", UNHARMED, RETRIED),
    row("drips into every pipe and socket for ever", "on_event", HELD, RETRIED),
    row("reads every pipe and socket empty", "on_event", UNHARMED, UNHARMED),
    row("locks a file and keeps it", "on_event", UNHARMED, UNHARMED),
    row("lowers the limit of descriptors to 8", "on_event", CHANGED, UNHARMED),
    row("blocks all signals", "on_event", UNHARMED, UNHARMED),
    row(
        "ignores SIGTERM, SIGINT and SIGCHLD",
        "on_event",
        ["lives, changed, and does not stop", "all", "done in attempt 1"],
        UNHARMED,
    ),
    row("sets an alarm for a second later", "on_event", ends_later("ends by SIGALRM"), UNHARMED),
    row("changes the working directory", "on_event", CHANGED, UNHARMED),
    row("sets the umask to 0", "on_event", CHANGED, UNHARMED),
    row("sets PATH and TZ", "on_event", UNHARMED, UNHARMED),
    row("lowers its priority", "on_event", UNHARMED, UNHARMED),
    row("becomes another user", "on_event", CHANGED, UNHARMED),
    row("leaves a thread that loops", "on_event", UNHARMED, UNHARMED),
    row("leaves a thread that panics", "on_event", UNHARMED, UNHARMED),
    row("leaves a thread that crashes a moment later", "on_event", ends_later("ends by SIGSEGV"), UNHARMED),
    row("leaves a child that holds its descriptors", "on_event", UNHARMED, UNHARMED),
    row("leaves 64 children", "on_event", UNHARMED, UNHARMED),
    row("leaves a daemon", "on_event", UNHARMED, UNHARMED),
    row("kills its parent process", "on_event", not_tried("not tried: that is not the host"), UNHARMED),
    row("writes garbage to stdout", "on_event", UNHARMED, UNHARMED),
    row("writes a megabyte of garbage to stderr", "on_event", UNHARMED, UNHARMED),
    row("logs 10,000 lines", "on_event", UNHARMED, UNHARMED),
    row("logs a line of 10 MB", "on_event", UNHARMED, UNHARMED),
    row("fails with a message of 10 MB", "on_event", RETRIED, RETRIED),
    row("asks to be tried again at the end of time", "on_event", WAITS, WAITS),
];

//! What was typed. Parses the command line and touches nothing else.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};
use notifyit_plugin_api::Kind;
use serde::{Deserialize, Serialize};

mod plugin;
mod status;
mod upkeep;

pub use plugin::{PlaceArgs, PluginCommand, PluginDevArgs};
pub use status::StatusArgs;
pub use upkeep::{DeadCommand, ForgetArgs, LetterArgs, PickArgs, StateArgs};

const EXAMPLES: &str = "\
Examples:
  Print the path of every file that is closed after writing:
      notifyit watch -r -p print /srv/incoming
  Run a program for each, but not for temporary files:
      notifyit watch --exclude '*.part' /srv/incoming -- sha256sum {file}
  Run two at a time:
      notifyit watch --set plugin.exec.workers=2 in -- sha256sum {file}
  Run every plugin that lies in a directory:
      notifyit watch --plugin-dir /etc/notifyit/plugins /srv/incoming
  Would it start with this configuration file?
      notifyit check -c notifyit.toml

Without DIR and -c, the first of these files that is there is read:
$NOTIFYIT_CONFIG, $XDG_CONFIG_HOME/notifyit/notifyit.toml,
/etc/notifyit/notifyit.toml.

Exit status: 0 after SIGTERM or SIGINT, 1 if it could not start or had to give
up, 2 for a wrong command line, 78 for a wrong configuration file.";

/// Runs compiled handlers for every file that lands.
#[derive(Debug, Parser)]
#[command(name = "notifyit", version, after_long_help = EXAMPLES)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Watch directories and run plugins, in the foreground.
    ///
    /// When every watch is in place, one line on stderr contains `ready`. stdout belongs to the plugins.
    #[command(after_long_help = EXAMPLES)]
    Watch(WatchArgs),
    /// Do all that `watch` does up to the first event, then exit 0 or say what is wrong.
    ///
    /// No plugin is made: what one would say of its own configuration is seen only at the start of `watch`.
    Check(WatchArgs),
    /// Show what a running host says of itself: its watches, and each plugin with its state and the reason for it.
    Status(StatusArgs),
    /// Begin a plugin; inspect, install, list or remove plugin files.
    #[command(subcommand)]
    Plugin(PluginCommand),
    /// List, show, retry or drop dead letters: what a plugin has rejected or was given up.
    ///
    /// For a state directory whose host does not run.
    #[command(subcommand)]
    Dead(DeadCommand),
    /// Hand finished files out again, at the next start of `watch`.
    ///
    /// Files that are still there in the version that was finished, dead letters too. They come with the origin
    /// `replay`. For a state directory whose host does not run.
    Replay(PickArgs),
    /// Enter files that are there as finished, so that they are not handed out.
    ///
    /// Whether a plugin's own patterns want them is not asked. For a state directory whose host does not run.
    Skip(PickArgs),
    /// Drop what is remembered of a plugin that is not used any more.
    ///
    /// Should it come back, it is as new. For a state directory whose host does not run.
    Forget(ForgetArgs),
    /// Loads the library on stdin and says how it went: what a host does with each plugin in a child process first.
    #[command(name = "__probe", hide = true)]
    Probe {
        /// The process id of that host.
        host: u32,
    },
    /// Runs an instance of a plugin for the host at the other end of stdin.
    #[command(name = "__worker", hide = true)]
    Worker {
        /// The instance's name, to be seen in lists of processes.
        name: String,
    },
}

/// The options of `watch` and `check`.
#[derive(Debug, Default, Args)]
pub struct WatchArgs {
    /// Directories to watch, beside those of the configuration file.
    #[arg(value_name = "DIR")]
    pub dirs: Vec<PathBuf>,

    /// Program to run for each event: short for `-p exec --set 'exec.command=[…]'`.
    ///
    /// `{file}` stands for the file itself, opened safely (`/dev/fd/3`); `{path}`, `{name}`, `{root}` and
    /// `{relative}` for text. No shell is involved.
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<OsString>,

    /// Watch what is beneath each DIR too.
    #[arg(short, long)]
    pub recursive: bool,

    /// With -r: watch what is mounted beneath each DIR too.
    #[arg(long)]
    pub cross_mounts: bool,

    /// Run every plugin in this directory (may be repeated).
    ///
    /// Plugins are files that end in `.so`. What is dropped in, replaced or removed while the host runs comes, changes
    /// and goes. With -p, the directory is only where names are looked up.
    #[arg(long, value_name = "DIR", help_heading = "Plugins")]
    pub plugin_dir: Vec<PathBuf>,

    /// Run this plugin, and only those named so (may be repeated).
    ///
    /// A text that contains `/` or ends in `.so` is a file. A name is an instance of the configuration file, or is
    /// looked up in the plugin directories, then in `$NOTIFYIT_PLUGIN_PATH`, `~/.local/lib/notifyit/plugins`,
    /// `/usr/local/lib/notifyit/plugins` and `/usr/lib/notifyit/plugins`.
    #[arg(short, long, value_name = "NAME|FILE", help_heading = "Plugins")]
    pub plugin: Vec<OsString>,

    /// Set a key of a plugin's configuration (may be repeated).
    ///
    /// `exec.mode=lines` is short for `plugin.exec.config.mode=lines`. Full paths reach every key of `[plugin.NAME]`
    /// and `[host]`: `plugin.exec.workers=4`, `plugin.exec.retry.first=2s`, `host.grace=5s`. A value is TOML; what is
    /// not valid TOML is a string.
    #[arg(long, value_name = "PLUGIN.KEY=VALUE", help_heading = "Plugins")]
    pub set: Vec<String>,

    /// Call plugins in the host (inline, the default), or each in worker processes of its own.
    ///
    /// It wins over the configuration file; `--set plugin.NAME.isolation=process` says it for one plugin. Only a plugin
    /// with processes of its own can be confined (`user`, `umask`, `limits`, `sandbox` in `[plugin.NAME]`).
    #[arg(
        long,
        value_enum,
        hide_possible_values = true,
        value_name = "inline|process",
        help_heading = "Plugins"
    )]
    pub isolation: Option<Isolation>,

    /// Whom to trust with plugin files [default: strict].
    ///
    /// strict: files of root and of this user that others cannot replace; owner: files of root and of this user;
    /// off: any file.
    #[arg(
        long,
        value_enum,
        hide_possible_values = true,
        value_name = "strict|owner|off",
        help_heading = "Plugins"
    )]
    pub trust: Option<Trust>,

    /// Deliver these kinds of events, not those that a plugin asks for (or a,b,…).
    ///
    /// landed (a complete file is there: close-write, renamed in, linked in), close-write, close-nowrite, create,
    /// delete, modify, attrib, open, access, moved-from, moved-to, emitted (handed on by another plugin); inotify's
    /// spellings (`close_write`, `IN_CLOSE_WRITE`) are read too.
    #[arg(short, long, value_name = "KIND", value_delimiter = ',', help_heading = "Events")]
    pub event: Vec<Kind>,

    /// Deliver only files of DIR that match (may be repeated).
    ///
    /// Patterns are gitignore's: one without `/` is matched against the name at any depth, one with `/` against the
    /// path beneath DIR, where `*` stops at `/` and `**` does not. A trailing `/` stands for a directory and all
    /// beneath it.
    #[arg(long, value_name = "GLOB", help_heading = "Events")]
    pub include: Vec<String>,

    /// Leave out what matches, and all beneath such a directory; wins.
    #[arg(long, value_name = "GLOB", help_heading = "Events")]
    pub exclude: Vec<String>,

    /// Let --include and --exclude take `a` and `A` (ASCII letters) for the same.
    #[arg(long, help_heading = "Events")]
    pub ignore_case: bool,

    /// Skip files that are there before the first start (default), or deliver them.
    ///
    /// Without a state directory every start is the first. It is for the directories of a configuration file, too.
    #[arg(
        long,
        value_enum,
        hide_possible_values = true,
        value_name = "skip|deliver",
        help_heading = "Events"
    )]
    pub existing: Option<Existing>,

    /// Wait for directories that are not there yet.
    #[arg(long)]
    pub wait: bool,

    /// Remember in this directory what is finished, so that files that land while the host is down are handled too
    /// [default: the configuration file's, else `$STATE_DIRECTORY`, else none].
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,

    /// Poll each DIR this long after its last poll [without INTERVAL: 10s], in place of inotify.
    ///
    /// The `=` is needed. Without --poll, only directories on NFS, SMB, FUSE and other file systems that inotify does
    /// not see all of are polled. A polled file is complete when it has not changed for 3 seconds.
    #[arg(
        long,
        value_name = "INTERVAL",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "10s",
        value_parser = interval,
        help_heading = "Events"
    )]
    pub poll: Option<Duration>,

    /// Read this configuration file.
    #[arg(short, long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Answer `notifyit status` at this socket.
    ///
    /// By default the configuration file's, else `$RUNTIME_DIRECTORY/notifyit.sock`, else `notifyit.sock` in the state
    /// directory, else none.
    #[arg(long, value_name = "PATH")]
    pub socket: Option<PathBuf>,

    /// How long a stop waits for what is queued [default: 10s].
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub grace: Option<Duration>,

    /// Form of the log on stderr [default: text].
    #[arg(long, value_enum, hide_possible_values = true, value_name = "text|json", help_heading = "Log")]
    pub log_format: Option<LogFormat>,

    /// Log more: -v debug, -vv trace.
    #[arg(short, long, action = ArgAction::Count, help_heading = "Log")]
    pub verbose: u8,

    /// Log less: -q warnings and errors, -qq errors, -qqq nothing.
    #[arg(short, long, action = ArgAction::Count, help_heading = "Log")]
    pub quiet: u8,
}

/// Whom to trust with plugin files.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Trust {
    /// Files of root and of this user, in places where no one else can replace them.
    #[default]
    Strict,
    /// Files of root and of this user, wherever they lie.
    Owner,
    /// Any file.
    Off,
}

/// Where a plugin is called.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Isolation {
    /// In the host.
    #[default]
    Inline,
    /// In worker processes of its own.
    Process,
}

/// The form of the log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// A line for a person.
    #[default]
    Text,
    /// A line of JSON.
    Json,
}

/// What to do with files that are there before the first start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Existing {
    /// They are not delivered.
    #[default]
    Skip,
    /// They are delivered, with the origin `start`.
    Deliver,
}

/// Longer than any deadline or pause that makes sense; keeps sums with the clock from overflowing.
const LONGEST: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// A duration from its text: `30s`, `10m`, `1h 30m`.
///
/// # Errors
///
/// A text that is no duration, or one of more than 100 years.
pub fn duration(text: &str) -> Result<Duration, String> {
    let duration = humantime::parse_duration(text)
        .map_err(|e| format!("`{}` is no duration such as 30s, 10m or 1h 30m: {e}", text.escape_debug()))?;
    if duration > LONGEST {
        return Err(format!("`{}` is too long: 100 years is the most", text.escape_debug()));
    }
    Ok(duration)
}

/// A duration longer than zero.
///
/// # Errors
///
/// As [`duration`]; zero.
pub fn interval(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        Duration::ZERO => Err("it must be longer than 0".to_owned()),
        interval => Ok(interval),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;
    use std::os::unix::ffi::OsStringExt;

    fn watch(args: &[&str]) -> WatchArgs {
        match Cli::try_parse_from([&["notifyit", "watch"], args].concat()).unwrap().command {
            Command::Watch(args) => args,
            _ => unreachable!("`watch` was typed"),
        }
    }

    fn refused(args: &[&str]) -> String {
        let error = Cli::try_parse_from([&["notifyit", "watch"], args].concat()).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        error.to_string().lines().next().unwrap_or_default().to_owned()
    }

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn letters_are_named_by_their_ids_or_all() {
        let dead = |args: &[&str]| Cli::try_parse_from([&["notifyit", "dead"], args].concat());
        let Command::Dead(DeadCommand::Retry(letters)) =
            dead(&["retry", "00ffFFffffffffff"]).unwrap().command
        else {
            unreachable!("`dead retry` was typed")
        };
        assert_eq!((letters.ids, letters.all), (vec![0x00ff_ffff_ffff_ffff], false));
        for wrong in [&["retry"][..], &["retry", "--all", "00ffffffffffffff"], &["show"], &["forget", "ff"]] {
            assert_eq!(dead(wrong).unwrap_err().exit_code(), 2, "{wrong:?}");
        }
        assert!(dead(&["forget", "0xffffffffffffff"]).unwrap_err().to_string().contains("16 hex digits"));
        assert!(dead(&["forget", "--all", "-p", "print"]).is_ok());
    }

    #[test]
    fn what_stands_behind_two_dashes_is_the_command() {
        let args = watch(&["-r", "in", "out", "--", "convert", "-r", "--", "{file}"]);
        assert_eq!(args.dirs, [PathBuf::from("in"), PathBuf::from("out")]);
        assert_eq!(args.command, ["convert", "-r", "--", "{file}"]);
        assert!(args.recursive);
        assert!(watch(&["--", "true"]).dirs.is_empty());
    }

    #[test]
    fn check_takes_what_watch_takes() {
        let cli =
            Cli::try_parse_from(["notifyit", "check", "-r", "-c", "a.toml", "in", "--", "true"]).unwrap();
        let Command::Check(args) = cli.command else { unreachable!("`check` was typed") };
        assert_eq!((args.recursive, args.config), (true, Some(PathBuf::from("a.toml"))));
    }

    #[test]
    fn kinds_are_repeated_listed_and_spelt_as_inotify_does() {
        let args = watch(&["-e", "close_write,IN_DELETE", "-e", "landed", "in"]);
        assert_eq!(args.event, [Kind::CloseWrite, Kind::Delete, Kind::Landed]);
    }

    #[test]
    fn counts_enums_and_durations_are_read() {
        let args = watch(&["-vv", "-q", "--grace", "1m 5s", "--trust", "owner", "--log-format=json", "in"]);
        assert_eq!((args.verbose, args.quiet), (2, 1));
        assert_eq!(args.grace, Some(Duration::from_secs(65)));
        assert_eq!((args.trust, args.log_format), (Some(Trust::Owner), Some(LogFormat::Json)));
        assert_eq!(watch(&["--existing", "skip", "in"]).existing, Some(Existing::Skip));
    }

    #[test]
    fn the_interval_of_poll_needs_an_equals_sign() {
        let args = watch(&["--poll", "30s"]);
        assert_eq!((args.poll, args.dirs), (Some(Duration::from_secs(10)), vec![PathBuf::from("30s")]));
        assert_eq!(watch(&["--poll=200ms", "in"]).poll, Some(Duration::from_millis(200)));
        assert_eq!(watch(&["in"]).poll, None);
    }

    #[test]
    fn paths_and_commands_are_bytes() {
        let odd = OsString::from_vec(b"\xff".to_vec());
        let typed = ["notifyit", "watch", "--plugin-dir"].map(OsString::from);
        let rest = [odd.clone(), "-p".into(), odd.clone(), odd.clone(), "--".into(), odd.clone()];
        let Command::Watch(args) = Cli::try_parse_from(typed.into_iter().chain(rest)).unwrap().command else {
            unreachable!("`watch` was typed")
        };
        assert_eq!(args.plugin_dir, [PathBuf::from(&odd)]);
        assert_eq!(args.dirs, [PathBuf::from(&odd)]);
        assert_eq!((args.plugin, args.command), (vec![odd.clone()], vec![odd]));
    }

    #[test]
    fn mistakes_are_usage_errors() {
        assert_eq!(
            refused(&["-e", "closed", "in"]),
            "error: invalid value 'closed' for '--event <KIND>': unknown kind of event `closed`; known are landed, \
             close-write, close-nowrite, create, delete, modify, attrib, open, access, moved-from, moved-to, emitted"
        );
        assert_eq!(
            refused(&["--grace", "5", "in"]),
            "error: invalid value '5' for '--grace <DURATION>': `5` is no duration such as 30s, 10m or 1h 30m: time \
             unit needed, for example 5sec or 5ms"
        );
        assert_eq!(
            refused(&["--grace", "200years", "in"]),
            "error: invalid value '200years' for '--grace <DURATION>': `200years` is too long: 100 years is the most"
        );
        assert_eq!(watch(&["--existing", "deliver", "in"]).existing, Some(Existing::Deliver));
        assert!(refused(&["--existing", "maybe"]).contains("'maybe'"));
        assert_eq!(
            refused(&["--poll=0s", "in"]),
            "error: invalid value '0s' for '--poll[=<INTERVAL>]': it must be longer than 0"
        );
    }

    #[test]
    fn the_short_help_fits_a_screen() {
        let mut command = Cli::command();
        let watch = command.find_subcommand_mut("watch").unwrap();
        let short = watch.render_help().to_string();
        assert!(short.lines().count() <= 45, "{short}");
        assert!(!short.contains("Examples"), "{short}");
        assert!(watch.render_long_help().to_string().contains("sha256sum {file}"));
    }
}

//! How to start the host.

use std::ffi::OsString;
use std::fs::File;
use std::ops::Deref;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::built;
use crate::exit::Exit;
use crate::isolation;
use crate::place::Place;
use crate::running::Running;
use crate::spawn;
use crate::stream::Stream;

/// How the host is to be started; a builder that ends in [`Host::start`] or [`Host::run`].
#[derive(Debug)]
pub struct Host {
    place: Place,
    verb: &'static str,
    arguments: Vec<OsString>,
    directories: Option<Vec<OsString>>,
    command: Option<Vec<OsString>>,
    wrapper: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
    stdout: Option<Stdout>,
}

#[derive(Debug)]
enum Stdout {
    /// The reader goes after so many lines.
    Lines(usize),
    /// Anything else: a terminal. What it shows is read from the second.
    Other(OwnedFd, File),
}

impl Deref for Host {
    type Target = Place;

    fn deref(&self) -> &Place {
        &self.place
    }
}

impl Default for Host {
    fn default() -> Host {
        Host::new()
    }
}

impl Host {
    /// `notifyit watch --plugin-dir PLUGINS ROOT`, in a directory of its own, with no plugin yet.
    pub fn new() -> Host {
        Host::at(Place::new())
    }

    /// The same in a directory that there is already: another host has been at work there.
    pub fn at(place: Place) -> Host {
        Host {
            place,
            verb: "watch",
            arguments: Vec::new(),
            directories: None,
            command: None,
            wrapper: Vec::new(),
            environment: Vec::new(),
            stdout: None,
        }
    }

    /// Another verb than `watch`.
    pub fn verb(mut self, verb: &'static str) -> Host {
        self.verb = verb;
        self
    }

    /// Puts this plugin into the plugin directory. A `recorder` is told where to write.
    pub fn plugin(self, plugin: &str) -> Host {
        self.place.add_plugin(plugin);
        if plugin == "recorder" {
            let out = self.place.record_file("recorder");
            return self.set(&format!("recorder.out={out:?}"));
        }
        self
    }

    /// Puts this plugin where it is found by its name alone, in `$NOTIFYIT_PLUGIN_PATH`.
    pub fn named_plugin(self, plugin: &str) -> Host {
        let directory = self.place.add_named_plugin(plugin);
        self.env("NOTIFYIT_PLUGIN_PATH", directory)
    }

    /// `--set SETTING`; `{temp}` and `{root}` in it are the test's directories.
    pub fn set(self, setting: &str) -> Host {
        let setting = self.fill(setting);
        self.arg("--set").arg(setting)
    }

    /// One more argument.
    pub fn arg(mut self, argument: impl Into<OsString>) -> Host {
        self.arguments.push(argument.into());
        self
    }

    /// More arguments.
    pub fn args<A: Into<OsString>>(mut self, arguments: impl IntoIterator<Item = A>) -> Host {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// Watches these instead of the test's own directory. None: what the configuration says.
    pub fn watching<A: Into<OsString>>(mut self, directories: impl IntoIterator<Item = A>) -> Host {
        self.directories = Some(directories.into_iter().map(Into::into).collect());
        self
    }

    /// `-- COMMAND…`.
    pub fn command<A: Into<OsString>>(mut self, command: impl IntoIterator<Item = A>) -> Host {
        self.command = Some(command.into_iter().map(Into::into).collect());
        self
    }

    /// Writes a configuration file and gives it with `-c` in place of the directory. `{temp}`, `{root}` and
    /// `{plugins}` in it are the test's directories.
    pub fn config(self, text: &str) -> Host {
        let path = self.place.aside("notifyit.toml", &self.fill(text));
        self.arg("-c").arg(path).watching(Vec::<OsString>::new())
    }

    /// Runs the host by another program, which must end in an `exec` of its arguments.
    pub fn wrapped<A: Into<OsString>>(mut self, wrapper: impl IntoIterator<Item = A>) -> Host {
        self.wrapper = wrapper.into_iter().map(Into::into).collect();
        self
    }

    /// Sets a variable of the environment, which else holds but `PATH` and `HOME`.
    pub fn env(mut self, name: &str, value: impl Into<OsString>) -> Host {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// Whoever reads stdout goes after so many lines.
    pub fn stdout_reader_goes_after(mut self, lines: usize) -> Host {
        self.stdout = Some(Stdout::Lines(lines));
        self
    }

    /// Gives the host this as stdout; what is written there can be read from `reader`.
    pub fn stdout(mut self, stdout: OwnedFd, reader: File) -> Host {
        self.stdout = Some(Stdout::Other(stdout, reader));
        self
    }

    /// Starts it and waits until it is ready.
    pub fn start(self) -> Running {
        self.spawn().ready()
    }

    /// The same, and waits until it has looked at what was there: what lands after that comes by its event alone, so that
    /// it is told as live, and with the name that it had before. Adds `-v`.
    pub fn start_and_look(self) -> Running {
        let host = self.arg("-v").start();
        host.logged(&["rescanned", "start)"]);
        host
    }

    /// Runs it to its end.
    pub fn run(self) -> Exit {
        self.spawn().wait()
    }

    /// Starts it.
    pub fn spawn(mut self) -> Running {
        let stdout = self.stdout.take();
        let mut command = self.to_command();
        let (lines, reader) = match stdout {
            Some(Stdout::Lines(lines)) => (Some(lines), None),
            Some(Stdout::Other(stdout, reader)) => {
                command.stdout(stdout);
                (None, Some(reader))
            }
            None => (None, None),
        };
        let mut child = spawn(&mut command);
        // What the command holds of the other side's descriptors would keep it open.
        drop(command);
        let piped = child.stdout.take().map(|pipe| File::from(OwnedFd::from(pipe)));
        let stdout = Stream::catch(reader.or(piped).expect("stdout is a pipe if nothing else"), lines);
        let stderr = OwnedFd::from(child.stderr.take().expect("stderr is a pipe"));
        let stderr = Stream::catch(File::from(stderr), None);
        Running::new(self.place, child, stdout, stderr)
    }

    fn to_command(&self) -> Command {
        let mut words = self.wrapper.clone();
        words.push(built::binary().into());
        words.push(self.verb.into());
        words.extend(self.arguments.iter().cloned());
        if self.verb == "watch" {
            words.extend(isolation::arguments().iter().map(OsString::from));
            words.extend(["--plugin-dir".into(), self.place.plugins().into()]);
        }
        match &self.directories {
            Some(directories) => words.extend(directories.iter().cloned()),
            None => words.push(self.place.root().into()),
        }
        if let Some(command) = &self.command {
            words.push("--".into());
            words.extend(command.iter().cloned());
        }
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).current_dir(self.place.temp()).env_clear();
        command
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.place.temp().join("home"));
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn fill(&self, text: &str) -> String {
        let show = |path: &Path| path.to_str().expect("the test's own directory is UTF-8").to_owned();
        text.replace("{temp}", &show(self.place.temp()))
            .replace("{root}", &show(&self.place.root()))
            .replace("{plugins}", &show(&self.place.plugins()))
    }
}

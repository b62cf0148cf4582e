//! One instance of a plugin, resolved.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use notifyit_plugin_api::Kind;
use toml::Spanned;

use super::resolved::Ground;
use super::{Confinement, Isolation, Table, WatchSettings, confinement, written};
use crate::patterns::{Case, Patterns};

/// Where a plugin's code lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Library {
    /// Found by its name in the search path.
    Name(String),
    /// This file.
    File(PathBuf),
}

/// An instance of a plugin: a library and how it is run.
#[derive(Debug, Clone)]
pub struct PluginSettings {
    /// The instance's name.
    pub name: String,
    /// Its code.
    pub library: Library,
    /// The watches whose events it gets. Default: all.
    pub watch: Option<Vec<String>>,
    /// Which of their events it gets.
    pub patterns: Patterns,
    /// The kinds that it gets. Default: what the plugin asks for.
    pub events: Option<Vec<Kind>>,
    /// Of what other plugins emit, whose it takes. Default: whoever's.
    pub emitted_by: Option<Vec<String>>,
    /// How many workers its lane has. Default: 1.
    pub workers: u16,
    /// How many events each of them may have in hand. Default: as many as the plugin takes.
    pub in_flight: Option<u16>,
    /// How many events its lane may hold. Default: 65,536.
    pub queue: usize,
    /// How long an attempt may take, never 0. Default: for ever.
    pub timeout: Option<Duration>,
    /// For how long a file must not have changed before it is delivered. Default: as soon as it is complete.
    pub quiet: Option<Duration>,
    /// After a delivery, how long the next version of the same file waits. Default: not at all.
    pub coalesce: Option<Duration>,
    /// When it is tried again.
    pub retry: RetrySettings,
    /// Where it is called. Default: in the host.
    pub isolation: Isolation,
    /// What its worker processes may not do; nothing is confined when it is called in the host.
    pub confinement: Confinement,
    /// What the plugin itself reads.
    pub config: Table,
}

/// When a failed attempt is repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetrySettings {
    /// The pause after the first attempt; it doubles with each. Default: 1 second.
    pub first: Duration,
    /// The longest pause, never shorter than the first. Default: 10 minutes.
    pub max: Duration,
    /// For how long it is tried, from the first attempt on; 0 for one attempt. Default: 24 hours.
    pub for_: Duration,
    /// The most attempts. Default: no limit.
    pub attempts: Option<u32>,
    /// The most attempts in which the process dies. Default: 3.
    pub crashes: u32,
}

impl PluginSettings {
    /// An instance of this library for which nothing was written.
    pub fn with_defaults(name: String, library: Library) -> Self {
        PluginSettings {
            name,
            library,
            watch: None,
            patterns: Patterns::default(),
            events: None,
            emitted_by: None,
            workers: 1,
            in_flight: None,
            queue: 65_536,
            timeout: None,
            quiet: None,
            coalesce: None,
            retry: RetrySettings::default(),
            isolation: Isolation::default(),
            confinement: Confinement::default(),
            config: Table::default(),
        }
    }
}

impl Default for RetrySettings {
    fn default() -> Self {
        let [first, max, for_] = [1, 600, 24 * 3600].map(Duration::from_secs);
        RetrySettings { first, max, for_, attempts: None, crashes: 3 }
    }
}

impl Library {
    /// What contains `/` or ends in `.so` is a file, anything else a name.
    ///
    /// # Errors
    ///
    /// It could be neither.
    pub fn parse(text: &OsStr) -> Result<Library, String> {
        if text.as_bytes().contains(&b'/') || text.as_bytes().ends_with(b".so") {
            return Ok(Library::File(text.into()));
        }
        let name =
            text.to_str().ok_or_else(|| format!("{text:?} is no plugin's name; a file needs a `/`"))?;
        written::check_name(name)?;
        Ok(Library::Name(name.to_owned()))
    }

    pub(super) fn is_named(&self, name: &str) -> bool {
        matches!(self, Library::Name(own) if own == name)
    }
}

/// Resolves `[plugin.NAME]`.
pub(super) fn resolve(
    ground: &Ground<'_>,
    name: String,
    written: written::Plugin,
    watches: &[WatchSettings],
) -> Result<PluginSettings> {
    let isolation = isolation(ground, written.isolation.as_ref());
    let confinement = confinement::resolve(ground, isolation, &written)?;
    let library = match written.library {
        Some(text) => match &text.get_ref().0 {
            Library::File(file) => Library::File(ground.absolute_from(&text.span(), file)),
            named => named.clone(),
        },
        None => Library::Name(name.clone()),
    };
    let case = if written.ignore_case { Case::Ignored } else { Case::Sensitive };
    let config = Table::new(written.config.0, ground.layers.own_table(&name));
    let events = events(ground, written.events)?;
    let emitted_by = emitters(ground, events.as_deref(), written.emitted_by)?;
    let defaults = PluginSettings::with_defaults(name, library);
    Ok(PluginSettings {
        watch: watch_names(ground, written.watch, watches)?,
        patterns: Patterns::compile(&written.include, &written.exclude, case)?,
        events: events.or_else(|| emitted_by.as_ref().map(|_| vec![Kind::Emitted])),
        emitted_by,
        workers: written.workers.map_or(defaults.workers, Into::into),
        in_flight: written.in_flight.map(Into::into),
        queue: written.queue.map_or(defaults.queue, |queue| queue.0),
        timeout: written.timeout.map(|timeout| timeout.0),
        quiet: written.quiet.map(|quiet| quiet.0).filter(|quiet| !quiet.is_zero()),
        coalesce: written.coalesce.map(|coalesce| coalesce.0).filter(|coalesce| !coalesce.is_zero()),
        retry: retry(ground, &written.retry)?,
        isolation,
        confinement,
        config,
        ..defaults
    })
}

/// `-e` wins over the file, and a `--set` for this one plugin over `-e`.
fn events(
    ground: &Ground<'_>,
    written: Option<Spanned<Vec<written::KindName>>>,
) -> Result<Option<Vec<Kind>>> {
    let typed = &ground.args.event;
    let Some(written) = written else { return Ok((!typed.is_empty()).then(|| typed.clone())) };
    if written.get_ref().is_empty() {
        return Err(ground
            .layers
            .error(&written.span(), "it names no kind of event; leave it out for the plugin's own"));
    }
    if !typed.is_empty() && !ground.layers.is_typed(&written.span()) {
        return Ok(Some(typed.clone()));
    }
    Ok(Some(written.into_inner().into_iter().map(|kind| kind.0).collect()))
}

/// Plugins may come later: any name will do. Where `-e` was typed, they are for another time.
fn emitters(
    ground: &Ground<'_>,
    events: Option<&[Kind]>,
    written: Option<Spanned<Vec<Spanned<String>>>>,
) -> Result<Option<Vec<String>>> {
    let Some(written) = written else { return Ok(None) };
    if written.get_ref().is_empty() {
        return Err(ground.layers.error(&written.span(), "it names no plugin; leave it out for all of them"));
    }
    if ground.args.event.is_empty() && events.is_some_and(|events| !events.contains(&Kind::Emitted)) {
        let message = "its events do not have \"emitted\" among them: nothing that is handed on would come";
        return Err(ground.layers.error(&written.span(), message));
    }
    for name in written.get_ref() {
        written::check_name(name.get_ref()).map_err(|message| ground.layers.error(&name.span(), message))?;
    }
    Ok(Some(written.into_inner().into_iter().map(Spanned::into_inner).collect()))
}

/// As with `-e`: the flag wins over the file, and a `--set` for this one plugin over the flag.
fn isolation(ground: &Ground<'_>, written: Option<&Spanned<Isolation>>) -> Isolation {
    let typed = ground.args.isolation;
    match written {
        Some(written) if typed.is_none() || ground.layers.is_typed(&written.span()) => *written.get_ref(),
        _ => typed.unwrap_or_default(),
    }
}

fn watch_names(
    ground: &Ground<'_>,
    written: Option<Spanned<Vec<Spanned<String>>>>,
    watches: &[WatchSettings],
) -> Result<Option<Vec<String>>> {
    let Some(written) = written else { return Ok(None) };
    let known: Vec<&str> = watches.iter().map(|watch| &*watch.name).collect();
    if written.get_ref().is_empty() {
        return Err(ground.layers.error(&written.span(), "it names no watch; leave it out for all of them"));
    }
    if let Some(unknown) = written.get_ref().iter().find(|name| !known.contains(&name.get_ref().as_str())) {
        let message = format!("no watch is named `{}`; known are {}", unknown.get_ref(), listed(&known));
        return Err(ground.layers.error(&unknown.span(), message));
    }
    Ok(Some(written.into_inner().into_iter().map(Spanned::into_inner).collect()))
}

fn retry(ground: &Ground<'_>, written: &written::Retry) -> Result<RetrySettings> {
    let defaults = RetrySettings::default();
    let first = written.first.as_ref().map_or(defaults.first, |first| first.get_ref().0);
    let max = match &written.max {
        Some(max) if max.get_ref().0 < first => {
            return Err(ground
                .layers
                .error(&max.span(), format!("it is shorter than the first pause, {first:?}")));
        }
        Some(max) => max.get_ref().0,
        None => defaults.max.max(first),
    };
    Ok(RetrySettings {
        first,
        max,
        for_: written.for_.as_ref().map_or(defaults.for_, |for_| for_.0),
        attempts: written.attempts.map(Into::into),
        crashes: written.crashes.map_or(defaults.crashes, Into::into),
    })
}

/// Names for an error's text.
pub(super) fn listed(names: &[&str]) -> String {
    match names {
        [] => "none".to_owned(),
        names => names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", "),
    }
}

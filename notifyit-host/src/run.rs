//! Wires the stages, starts them from the last to the first, and stops them in reverse.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use inotify::WatchMask;
use sd_notify::NotifyState;
use signal_hook::consts::{SIGCHLD, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use tracing::{error, info, warn};

use crate::config::{Missing, Settings, WatchSettings};
use crate::deliver::retry::RetryPolicy;
use crate::deliver::{LaneSpec, Lanes, Places};
use crate::event::{Happened, WatchId};
use crate::plugin::set::{self, Member};
use crate::plugin::{Loader, Services};
use crate::route::Subscription;
use crate::settle::Settle;
use crate::source::fence::SourceHandle;
use crate::source::inotify::Source;
use crate::source::{MayBeMissing, Root, Sink};
use crate::sys;

/// Why the host stops.
enum Stop {
    Signal(i32),
    Plugin { name: String, reason: String },
    Failed(anyhow::Error),
}

/// Runs the host until a signal, or a plugin's wish.
///
/// # Errors
///
/// What keeps it from starting, or ends it before its time.
pub fn watch(settings: &Settings) -> Result<()> {
    let (stop, stops) = channel();
    listen_for_signals(stop.clone())?;
    let asks = stop.clone();
    let services = Services::new(move |name, reason| {
        let _ = asks.send(Stop::Plugin { name: name.to_owned(), reason: reason.to_owned() });
    });
    let loader = Loader::new(settings.trust, &settings.staging_dirs, services.clone());
    let members = set::load(settings, &loader)?;
    refuse_plugins_beneath(settings)?;

    let places = Arc::new(Places {
        tree: Arc::default(),
        renames: Arc::default(),
        watches: settings.watches.iter().map(|watch| watch.name.clone()).collect(),
    });
    let settle = Arc::new(Settle::default());
    let handle = SourceHandle::new().context("failed to start")?;
    let mut specs = Vec::new();
    for member in &members {
        specs.push(lane_spec(settings, member, &services)?);
    }
    let mut lanes = Lanes::start(specs, &places, &settle, &handle)?;
    let patterns = settings.watches.iter().map(|watch| watch.patterns.clone()).collect();
    let entrance = lanes.entrance(patterns, Arc::clone(&places.tree));
    let started = start_source(settings, &places, &handle, entrance, &lanes.names(), stop);
    let source = match started {
        Ok(source) => source,
        Err(error) => {
            lanes.stop(Instant::now());
            return Err(error);
        }
    };
    let why = stops.recv().context("every thread has died")?;
    let _ = sd_notify::notify(&[NotifyState::Stopping]);
    let result = say_why(why);
    handle.stop();
    if source.join().is_err() {
        error!("the source has panicked");
    }
    let left = lanes.stop(Instant::now() + settings.grace);
    for (name, count) in &left {
        warn!("plugin `{name}` left {count} events unhandled");
    }
    info!("stopped: {}", settle.summary());
    result
}

/// Does all that [`watch`] does up to the first event, but makes no plugin and takes no event.
///
/// # Errors
///
/// What would keep [`watch`] from starting.
pub fn check(settings: &Settings) -> Result<()> {
    let loader = Loader::new(settings.trust, &settings.staging_dirs, Services::new(|_, _| {}));
    let members = set::load(settings, &loader)?;
    refuse_plugins_beneath(settings)?;
    for member in &members {
        subscription(settings, member)?;
    }
    let handle = SourceHandle::new().context("failed to start")?;
    let source = Source::start(roots(settings), Arc::default(), Arc::default(), handle, Nobody)?;
    let names: Vec<&str> = members.iter().map(|member| member.settings.name.as_str()).collect();
    info!("all is well: {}, {}", watching(&source), running(&names));
    Ok(())
}

fn start_source(
    settings: &Settings,
    places: &Arc<Places>,
    handle: &SourceHandle,
    sink: impl Sink + 'static,
    names: &[&str],
    stop: Sender<Stop>,
) -> Result<JoinHandle<()>> {
    let (tree, renames) = (Arc::clone(&places.tree), Arc::clone(&places.renames));
    let source = Source::start(roots(settings), tree, renames, handle.clone(), sink)?;
    let watching = watching(&source);
    let thread = source.spawn(move |error| {
        let _ = stop.send(Stop::Failed(error));
    })?;
    info!("ready: {watching}, {}", running(names));
    // Without a supervisor there is nobody to tell.
    let _ = sd_notify::notify(&[NotifyState::Ready]);
    Ok(thread)
}

fn watching<S: Sink>(source: &Source<S>) -> String {
    let (directories, missing) = (source.directories(), source.missing());
    let waits = if missing > 0 { format!(" and waiting for {missing} more") } else { String::new() };
    let word = if directories == 1 { "directory" } else { "directories" };
    format!("watching {directories} {word}{waits}")
}

fn running(names: &[&str]) -> String {
    format!("running {}", names.join(", "))
}

fn roots(settings: &Settings) -> Vec<Root> {
    let root = |watch: &WatchSettings| Root {
        path: watch.path.clone(),
        recursive: watch.recursive,
        patterns: watch.patterns.clone(),
        may_be_missing: if watch.missing == Missing::Wait { MayBeMissing::Yes } else { MayBeMissing::No },
    };
    settings.watches.iter().map(root).collect()
}

/// Whoever may write where files land could otherwise drop a plugin, and so run code as the host.
fn refuse_plugins_beneath(settings: &Settings) -> Result<()> {
    for watch in &settings.watches {
        let Ok(root) = watch.path.canonicalize() else { continue };
        for directory in &settings.plugin_dirs {
            let beneath =
                |directory: &Path| directory.starts_with(&root) && (watch.recursive || directory == root);
            if directory.canonicalize().is_ok_and(|directory| beneath(&directory)) {
                bail!(
                    "plugin directory {directory:?} lies in the watched {:?}, where whoever drops a file could drop a \
                     plugin; keep plugins elsewhere",
                    watch.path
                );
            }
        }
    }
    Ok(())
}

fn subscription(settings: &Settings, member: &Member) -> Result<Subscription> {
    let watches = member.settings.watch.as_ref().map(|names| {
        let wanted = |watch: &WatchSettings| names.contains(&watch.name);
        let places = settings.watches.iter().enumerate().filter(|(_, watch)| wanted(watch));
        places.filter_map(|(place, _)| u16::try_from(place).ok().map(WatchId)).collect()
    });
    let kinds = set::kinds(member)?.into_iter().collect();
    Ok(Subscription::new(kinds, watches, member.settings.patterns.clone()))
}

fn lane_spec(settings: &Settings, member: &Member, services: &Services) -> Result<LaneSpec> {
    let wanted = &member.settings;
    let most = member.library.info.max_workers.max(1);
    if wanted.workers > most {
        warn!(
            "plugin `{}` can have {most} at most of the {} workers that are wanted",
            wanted.name, wanted.workers
        );
    }
    let (context, config) = (services.register(&wanted.name), set::config_json(member)?);
    let library = member.library.clone();
    Ok(LaneSpec {
        name: wanted.name.clone(),
        subscription: subscription(settings, member)?,
        workers: wanted.workers.min(most),
        capacity: wanted.queue,
        timeout: wanted.timeout,
        retry: RetryPolicy {
            first: wanted.retry.first,
            max: wanted.retry.max,
            within: wanted.retry.for_,
            attempts: wanted.retry.attempts,
        },
        by: member.by,
        create: Box::new(move || library.create(context, &config)),
    })
}

/// The first signal stops in an orderly way, the second at once.
fn listen_for_signals(stop: Sender<Stop>) -> Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM]).context("failed to listen for signals")?;
    if sys::is_sigchld_ignored() {
        // Plugins that run programs need their exit statuses; a handler, of whatever kind, ends the ignoring.
        signal_hook::flag::register(SIGCHLD, Arc::default()).context("failed to listen for signals")?;
    }
    let listen = move || {
        for (count, signal) in signals.forever().enumerate() {
            if count > 0 {
                warn!("a second signal: leaving at once");
                // No exit handlers: plugins are at work on other threads.
                signal_hook::low_level::exit(1);
            }
            let _ = stop.send(Stop::Signal(signal));
        }
    };
    thread::Builder::new().name("signals".into()).spawn(listen).context("failed to start a thread")?;
    Ok(())
}

fn say_why(why: Stop) -> Result<()> {
    match why {
        Stop::Signal(signal) => {
            let name = if signal == SIGINT { "SIGINT" } else { "SIGTERM" };
            info!("stopping after {name}");
            Ok(())
        }
        Stop::Plugin { name, reason } => {
            info!("stopping, as plugin `{name}` asks: {reason:?}");
            Ok(())
        }
        Stop::Failed(error) => Err(error),
    }
}

/// Wants nothing: for a check.
struct Nobody;

impl Sink for Nobody {
    fn interest(&self, _: WatchId) -> WatchMask {
        WatchMask::CLOSE_WRITE
    }

    fn event(&mut self, _: &Happened<'_>) {}

    fn end_of_burst(&mut self) {}

    fn is_idle(&self) -> bool {
        true
    }
}

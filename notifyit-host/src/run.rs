//! Wires the stages, starts them from the last to the first, and stops them in reverse.

mod beneath;
mod check;

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::panic;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use sd_notify::NotifyState;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use tracing::{debug, error, info, warn};

use self::beneath::refuse_plugins_beneath;
use crate::config::{self, Missing, Settings, WatchSettings};
use crate::control::{self, Control, Facts, Phase, Spot};
use crate::deliver::{Lanes, Left, Outside, Places, Takers};
use crate::plugin::{Loader, Maker, Prober, Services};
use crate::roster::Roster;
use crate::settle::ledger::{Ledger, Watched};
use crate::settle::recorder::Recorders;
use crate::source::fence::SourceHandle;
use crate::source::inotify::Source;
use crate::source::rescan::{Order, Rescan, RescanHandle, Share};
use crate::source::shared::{Numbering, SharedTree};
use crate::source::tree::Tree;
use crate::source::{Backend, MayBeMissing, Root, Sink};
use crate::sys;

pub use check::check;

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
    // First of all: what lands while plugins are loaded has landed.
    let at_nanos = sys::file_nanos();
    let _at_work = sys::exit::at_work();
    let (stop, stops) = channel();
    let begun = Arc::new(AtomicBool::new(false));
    let recorders = recorders(settings)?;
    let socket = Arc::new(OnceLock::new());
    listen_for_signals(stop.clone(), Arc::clone(&begun), (recorders.clone(), Arc::clone(&socket)))?;
    stop_on_panic(stop.clone());
    let asks = stop.clone();
    let asked = move |name: &str, reason: &str| {
        let _ = asks.send(Stop::Plugin { name: name.to_owned(), reason: reason.to_owned() });
    };
    let services = Services::with_state(asked, settings.state_dir.as_deref());
    refuse_plugins_beneath(settings)?;
    make_staging_place(settings);
    // Before any plugin is made, which may hang.
    let facts = Arc::new(Facts::new(settings));
    let control = listen_for_questions(settings, &facts)?;
    control.iter().for_each(|control| drop(socket.set(Arc::clone(&control.spot))));
    let roots = settings.watches.iter().map(|watch| watch.path.clone()).collect();
    let maker = Maker::new(services.clone(), THIS_PROGRAM, roots);
    let (roster, lanes, outside) = Roster::start(
        settings.clone(),
        (loader(settings), maker),
        || outside(settings, recorders).inspect(|outside| facts.has_source(&outside.source)),
        at_nanos,
        facts.board(),
    )?;
    let started = start_sources(settings, &lanes, &outside, (stop, &begun));
    let started = started.and_then(|sources| Ok((sources, roster.spawn()?)));
    let ((source, rescans), roster) = match started {
        Ok(threads) => threads,
        Err(error) => {
            outside.rescans.stop();
            lanes.stop(Instant::now());
            return Err(error);
        }
    };
    outside.ledger.host_is_ready();
    facts.is_in(Phase::Running);
    let why = stops.recv().context("every thread has died")?;
    facts.is_in(Phase::Stopping);
    outside.recorders.host_stops();
    services.host_stops();
    let _ = sd_notify::notify(&[NotifyState::Stopping]);
    let result = say_why(why);
    roster.stop();
    outside.rescans.stop();
    outside.source.stop();
    if source.join().is_err() {
        error!("the source has panicked");
    }
    leave(rescans);
    let left = lanes.stop(Instant::now() + settings.grace);
    outside.recorders.host_has_stopped();
    left.iter().for_each(Left::say);
    outside.ledger.close();
    drop(control);
    info!("stopped: {}", outside.settle.summary());
    result
}

/// At the socket, if there is one. Without one that nobody has asked for the host does its work all the same, unless
/// another host is there: two of them in one place are a mistake.
fn listen_for_questions(settings: &Settings, facts: &Arc<Facts>) -> Result<Option<Control>> {
    let Some(socket) = &settings.socket else { return Ok(None) };
    match Control::start(&socket.path, Arc::clone(facts)) {
        Err(error) if !socket.is_named && !control::is_taken(&error) => {
            warn!("{error:#}; `notifyit status` finds no host");
            Ok(None)
        }
        control => control.map(Some),
    }
}

/// In the state directory, which may be new. Where it cannot be made, copies lie elsewhere.
fn make_staging_place(settings: &Settings) {
    if let Some(directory) = &settings.state_dir {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(directory.join("plugins"));
        if let Err(error) = made {
            debug!("failed to make a place for copies of plugins in {directory:?}: {error}");
        }
    }
}

/// Tries each plugin in a child process that is this program.
fn loader(settings: &Settings) -> Loader {
    Loader::new(settings.trust, &settings.staging_dirs, Prober::by(THIS_PROGRAM))
}

/// Also after an upgrade.
const THIS_PROGRAM: &str = "/proc/self/exe";

/// Without a state directory no start would know what the last one died of.
fn recorders(settings: &Settings) -> Result<Recorders> {
    let directory = settings.state_dir.as_deref();
    let recorders =
        directory.map(Recorders::in_directory).transpose().context("failed to listen for signals")?;
    Ok(recorders.unwrap_or_default())
}

/// What the stages share.
fn outside(settings: &Settings, recorders: Recorders) -> Result<Outside> {
    let ledger = match &settings.state_dir {
        Some(directory) => Ledger::in_directory(directory)?,
        None => Ledger::in_memory(&settings.temporary_dirs),
    };
    ledger.watches_are(&settings.watches.iter().map(watched).collect::<Vec<_>>());
    let ledger = Arc::new(ledger);
    let tree = Tree::numbered_by(Arc::clone(&ledger) as Arc<dyn Numbering>);
    let places = Places {
        tree: Arc::new(SharedTree::new(tree)),
        renames: Arc::default(),
        watches: settings.watches.iter().map(|watch| watch.name.clone()).collect(),
    };
    Ok(Outside {
        places: Arc::new(places),
        settle: Arc::default(),
        takers: Arc::new(Takers::known(&ledger)?),
        ledger,
        recorders,
        source: SourceHandle::new().context("failed to start")?,
        rescans: RescanHandle::default(),
    })
}

fn watched(watch: &WatchSettings) -> Watched<'_> {
    Watched { name: &watch.name, root: &watch.path, recursive: watch.recursive }
}

/// The rescan's threads end by themselves, but for one that waits for a file system that does not answer: nobody can
/// end that one.
fn leave(threads: [JoinHandle<()>; 2]) {
    let patience = Instant::now() + Duration::from_secs(2);
    for thread in threads {
        while !thread.is_finished() && Instant::now() < patience {
            thread::sleep(Duration::from_millis(1));
        }
        if !thread.is_finished() {
            warn!("a file system does not answer; leaving without waiting for it");
        } else if thread.join().is_err() {
            error!("the rescan has panicked");
        }
    }
}

/// Adds every watch, then starts the threads that events come from.
fn start_sources(
    settings: &Settings,
    lanes: &Lanes,
    outside: &Outside,
    (stop, begun): (Sender<Stop>, &AtomicBool),
) -> Result<(JoinHandle<()>, [JoinHandle<()>; 2])> {
    let entrance = lanes.entrance();
    let Places { tree, renames, .. } = outside.places.as_ref();
    let (handle, rescans) = (outside.source.clone(), outside.rescans.clone());
    let rescan = |share| {
        let (tree, roots, source) = (Arc::clone(tree), roots(settings), outside.source.clone());
        Rescan::new(share, rescans.clone(), tree, roots, source, lanes.inlet())
    };
    let (prompt, patient) = (rescan(Share::Prompt), rescan(Share::Patient));
    let source = Source::start(
        roots(settings),
        Arc::clone(tree),
        Arc::clone(renames),
        handle,
        rescans.clone(),
        entrance,
    )?;
    // Before any other order: who looks for what a full lane did not keep takes nothing for what was there before.
    let nodes = tree.read().all();
    rescans.order(Order::Start { nodes });
    // What lands from now on in a directory that is polled is new.
    let patient = patient.spawn()?;
    rescans.wait_for_first_polls();
    let watching = watching(&source);
    begun.store(true, Ordering::Release);
    let source = source.spawn(move |error| {
        let _ = stop.send(Stop::Failed(error));
    })?;
    if let Some(every) = settings.rescan_every {
        rescans.repeat(Order::Quiet { unchanged_for: every.min(TOLD_WITHIN) }, every, Instant::now() + every);
    }
    let prompt = prompt.spawn()?;
    info!("ready: {watching}, {}", running(&lanes.names()));
    if settings.state_dir.is_none() {
        info!("no state directory: what lands while the host is down is not seen; name one with --state-dir");
    }
    // Without a supervisor there is nobody to tell.
    let _ = sd_notify::notify(&[NotifyState::Ready]);
    Ok((source, [prompt, patient]))
}

/// What has changed so lately is not looked for by the quiet look: its events are under way.
const TOLD_WITHIN: Duration = Duration::from_secs(60);

fn watching<S: Sink>(source: &Source<S>) -> String {
    let (directories, missing) = (source.directories(), source.missing());
    let waits = if missing > 0 { format!(" and waiting for {missing} more") } else { String::new() };
    let word = if directories == 1 { "directory" } else { "directories" };
    format!("watching {directories} {word}{waits}")
}

fn running(names: &[String]) -> String {
    if names.is_empty() {
        "running no plugin yet".to_owned()
    } else {
        format!("running {}", names.join(", "))
    }
}

fn roots(settings: &Settings) -> Vec<Root> {
    let root = |watch: &WatchSettings| Root {
        name: watch.name.clone(),
        path: watch.path.clone(),
        recursive: watch.recursive,
        cross_mounts: watch.cross_mounts,
        patterns: watch.patterns.clone(),
        may_be_missing: if watch.missing == Missing::Wait { MayBeMissing::Yes } else { MayBeMissing::No },
        backend: match watch.backend {
            config::Backend::Auto => Backend::Auto,
            config::Backend::Inotify => Backend::Inotify,
            config::Backend::Poll => Backend::Poll,
        },
        poll_every: watch.poll_every,
        stable_for: watch.stable_for,
    };
    settings.watches.iter().map(root).collect()
}

/// The first signal stops in an orderly way, the second at once. Before any event is taken the first does so, too:
/// a plugin that hangs in its `new`, or a dead file system, would keep the start from ending.
fn listen_for_signals(
    stop: Sender<Stop>,
    begun: Arc<AtomicBool>,
    (recorders, socket): (Recorders, Arc<OnceLock<Arc<Spot>>>),
) -> Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM]).context("failed to listen for signals")?;
    sys::take_back_children().context("failed to listen for signals")?;
    let leave = move |status| {
        socket.get().into_iter().for_each(|socket| socket.remove());
        // No exit handlers: plugins are at work on other threads.
        signal_hook::low_level::exit(status);
    };
    let listen = move || {
        for (count, signal) in signals.forever().enumerate() {
            if count > 0 {
                warn!("a second signal: leaving at once");
                recorders.host_has_stopped();
                leave(1);
            }
            if !begun.load(Ordering::Acquire) {
                info!("stopping after {} during the start", name_of(signal));
                leave(0);
            }
            let _ = stop.send(Stop::Signal(signal));
        }
    };
    thread::Builder::new().name("signals".into()).spawn(listen).context("failed to start a thread")?;
    Ok(())
}

/// No thread of the host's own panics, but for a defect or a ledger that is damaged, and without any of them files are
/// lost in silence: then the host ends, and whoever looks after it starts it anew. Plugins have panics of their own.
fn stop_on_panic(stop: Sender<Stop>) {
    let say = panic::take_hook();
    panic::set_hook(Box::new(move |what| {
        say(what);
        let name = thread::current().name().unwrap_or("?").to_owned();
        let _ = stop.send(Stop::Failed(anyhow!(
            "thread `{name}` has panicked; if the ledger (or plugins.redb) is damaged, move it away"
        )));
    }));
}

fn name_of(signal: i32) -> &'static str {
    if signal == SIGINT { "SIGINT" } else { "SIGTERM" }
}

fn say_why(why: Stop) -> Result<()> {
    match why {
        Stop::Signal(signal) => {
            info!("stopping after {}", name_of(signal));
            Ok(())
        }
        Stop::Plugin { name, reason } => {
            info!("stopping, as plugin `{name}` asks: {reason:?}");
            Ok(())
        }
        Stop::Failed(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_panics_ends_the_host() {
        let (stop, stops) = channel();
        stop_on_panic(stop);
        let thread = thread::Builder::new().name("rescan".into()).spawn(|| panic!("a defect")).unwrap();
        assert!(thread.join().is_err());
        let _ = panic::take_hook();
        let is_it = |why| matches!(why, Stop::Failed(error) if error.to_string().starts_with("thread `rescan` has panicked"));
        assert!(stops.iter().any(is_it));
    }
}

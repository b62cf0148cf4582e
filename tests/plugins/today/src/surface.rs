//! All that 1.0 gives an author, used in every way that holds for ever: that this compiles, with 1.0 and with each later
//! version, is the test. What goes over the wire (`abi`) is not here; that is tried by plugins and hosts of several versions.
//!
//! Nothing here is ever called. Written against 1.0, and not to be changed after that.

use std::ffi::OsStr;
use std::fmt::{Debug, Display};
use std::fs::File;
use std::hash::Hash;
use std::io;
use std::path::Path;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use notifyit_plugin_api::serde::de::DeserializeOwned;
use notifyit_plugin_api::serde::{Deserialize, Serialize};
use notifyit_plugin_api::{
    Blame, Config, Context, Error, Event, Host, Info, Kind, Origin, Plugin, Reject, Result, RetryAfter,
    Unavailable, UnknownKind, Verdict, anyhow, bail, config, ensure, json, log, serde_json,
};

fn is<T>() {}

fn event<'a>(event: &Event<'a>) {
    let _: fn(&Event<'a>) -> Kind = Event::kind;
    let _: fn(&Event<'a>) -> Origin = Event::origin;
    let _: fn(&Event<'a>) -> u32 = Event::attempt;
    let _: fn(&Event<'a>) -> u64 = Event::id;
    let _: fn(&Event<'a>) -> &'a Path = Event::path;
    let _: fn(&Event<'a>) -> &'a Path = Event::root;
    let _: fn(&Event<'a>) -> &'a Path = Event::relative;
    let _: fn(&Event<'a>) -> &'a OsStr = Event::name;
    let _: fn(&Event<'a>) -> &'a str = Event::watch;
    let _: fn(&Event<'a>) -> Option<&'a Path> = Event::renamed_from;
    let _: fn(&Event<'a>) -> bool = Event::is_directory;
    let _: fn(&Event<'a>) -> bool = Event::exists;
    let _: fn(&Event<'a>) -> u64 = Event::size;
    let _: fn(&Event<'a>) -> u64 = Event::device;
    let _: fn(&Event<'a>) -> u64 = Event::inode;
    let _: fn(&Event<'a>) -> u32 = Event::mode;
    let _: fn(&Event<'a>) -> Option<SystemTime> = Event::modified;
    let _: fn(&Event<'a>) -> SystemTime = Event::seen;
    let _: fn(&Event<'a>) -> Option<Duration> = Event::timeout;
    let _: fn(&Event<'a>) -> io::Result<File> = Event::open;
    let _: fn(&Event<'a>) = Event::rewrote;
    let _: fn(&Event<'a>, &File) = Event::rewrote_as;
    let _: fn(&Event<'a>) -> String = Event::to_json;
    let _: &dyn Debug = event;
}

fn host() {
    fn is_free<T: Copy + Debug + Send + Sync + 'static>() {}
    is_free::<Host>();
    let _: fn(&Host, &str) = Host::stop;
    let _: fn(&Host) = Host::attach_thread;
}

fn kinds() {
    fn is_value<T: Copy + Eq + Ord + Hash + Debug + Display + Send + Sync + 'static>() {}
    is_value::<Kind>();
    let all: [Kind; 12] = [
        Kind::Landed,
        Kind::CloseWrite,
        Kind::CloseNowrite,
        Kind::Create,
        Kind::Delete,
        Kind::Modify,
        Kind::Attrib,
        Kind::Open,
        Kind::Access,
        Kind::MovedFrom,
        Kind::MovedTo,
        Kind::Other(u32::MAX),
    ];
    let _ = all.into_iter().chain(Kind::all()).map(Kind::code).map(Kind::from_code);
    let _: fn(Kind) -> u32 = Kind::code;
    let _: fn(u32) -> Kind = Kind::from_code;
    let _: fn(&str) -> std::result::Result<Kind, UnknownKind> = Kind::from_str;
    is_error::<UnknownKind>();
    fn is_equal<T: Eq + Clone>() {}
    is_equal::<UnknownKind>();
}

fn origins() {
    fn is_value<T: Copy + Eq + Hash + Debug + Display + Send + Sync + 'static>() {}
    is_value::<Origin>();
    let all: [Origin; 6] = [
        Origin::Live,
        Origin::NewDirectory,
        Origin::Rescan,
        Origin::Start,
        Origin::Replay,
        Origin::Other(u32::MAX),
    ];
    let _ = all.into_iter().map(Origin::code).map(Origin::from_code);
    let _: fn(Origin) -> u32 = Origin::code;
    let _: fn(u32) -> Origin = Origin::from_code;
}

fn is_error<T: std::error::Error + Send + Sync + 'static>() {}

fn errors(text: &str) -> Result<()> {
    is_error::<Reject>();
    is_error::<RetryAfter>();
    is_error::<Unavailable>();
    fn is_free<T: Clone + Debug>() {}
    is_free::<Reject>();
    is_free::<RetryAfter>();
    is_free::<Unavailable>();
    let RetryAfter(pause) = RetryAfter(Duration::ZERO);
    let _: Duration = RetryAfter(pause).0;
    let _: [Reject; 2] = [Reject::new("no"), Reject::new(String::new())];
    let _: [Unavailable; 2] = [Unavailable::new("the database"), Unavailable::new(String::new())];
    let number: u32 = text.parse().context(Reject::new("no number")).with_context(|| "context")?;
    ensure!(number > 0, "{number} is none");
    ensure!(number < 9, RetryAfter(pause));
    let error: Error = anyhow!("{number}");
    let _: notifyit_plugin_api::anyhow::Result<()> = Err(error).context(Unavailable::new("it"));
    bail!(Reject::new("no"))
}

fn verdicts(verdict: Verdict) -> Blame {
    fn is_value<T: Clone + Eq + Debug + Send + Sync + 'static>() {}
    is_value::<Verdict>();
    is_value::<Blame>();
    let _: fn(&Verdict) -> bool = Verdict::is_done;
    let _: fn(&Verdict) -> bool = Verdict::is_retry;
    let _: fn(&Verdict) -> bool = Verdict::is_reject;
    let message = String::new;
    let _ = Verdict::Retry { message: message(), after: Some(Duration::ZERO), blame: Blame::File };
    match verdict {
        Verdict::Done => Blame::File,
        Verdict::Retry { message: _, after: None | Some(_), blame } => blame,
        Verdict::Reject { message } if message.is_empty() => Blame::Plugin,
        _ => Blame::File,
    }
}

fn info(info: &Info) {
    fn is_value<T: Clone + Eq + Debug + Serialize + DeserializeOwned + Send + Sync + 'static>() {}
    is_value::<Info>();
    // It may gain fields, so nobody makes one by hand, or takes one apart without `..`.
    let Info { name, version, description, api, rustc, panic, events, max_workers, reads_only, .. } = info;
    let _: [&String; 6] = [name, version, description, api, rustc, panic];
    let (_, _, _): (&Vec<String>, &u16, &bool) = (events, max_workers, reads_only);
}

/// Each way to write a configuration that 1.0 documents, with a type that knows nothing of notifyit.
#[config]
#[derive(Debug, Clone, Default)]
struct Whole {
    #[serde(default)]
    text: String,
    number: Option<u64>,
    #[serde(default = "list", rename = "names")]
    list: Vec<String>,
    #[serde(default)]
    mode: Mode,
    #[serde(default)]
    own: Own,
}

fn list() -> Vec<String> {
    Vec::new()
}

#[config]
#[derive(Debug, Clone, Copy, Default)]
#[serde(rename_all = "lowercase")]
enum Mode {
    #[default]
    Each,
    Lines,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(crate = "notifyit_plugin_api::serde")]
struct Own(u8);

struct ByHand;

impl Config for ByHand {
    fn from_json(json: &str) -> Result<Self> {
        serde_json::from_str::<serde_json::Value>(json)?;
        Ok(ByHand)
    }
}

/// With nothing but what must be there.
struct Smallest;

impl Plugin for Smallest {
    type Config = ();

    fn new(_: (), _: Host) -> Result<Self> {
        Ok(Smallest)
    }

    fn on_event(&mut self, _: &Event<'_>) -> Result<()> {
        Ok(())
    }
}

/// With all that may be there.
struct Largest;

impl Plugin for Largest {
    type Config = ByHand;

    const EVENTS: &'static [Kind] = &[Kind::CloseWrite, Kind::Other(7)];
    const MAX_WORKERS: u16 = 1;
    const READS_ONLY: bool = true;

    fn new(_: ByHand, host: Host) -> Result<Self> {
        std::thread::spawn(move || host.attach_thread());
        Ok(Largest)
    }

    fn on_event(&mut self, event: &Event<'_>) -> Result<()> {
        log::info!("{event:?}");
        log::log!(log::Level::Trace, "{}", json!({ "v": 1 }));
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        Ok(())
    }

    fn shutdown(&mut self) -> Result<()> {
        Ok(())
    }
}

fn plugins() {
    let _: &'static [Kind] = Smallest::EVENTS;
    let _: (u16, bool) = (Smallest::MAX_WORKERS, Smallest::READS_ONLY);
    let _: fn((), Host) -> Result<Smallest> = Smallest::new;
    let _: fn(&mut Smallest) -> Result<()> = Smallest::flush;
    let _: fn(&mut Smallest) -> Result<()> = Smallest::shutdown;
    let _: fn(&str) -> Result<Whole> = Whole::from_json;
    let _: fn(&str) -> Result<ByHand> = ByHand::from_json;
    is::<Largest>();
}

//! What the process does: confines itself, loads the plugin, and calls it for its host until that is gone.

use std::convert::Infallible;
use std::ffi::{CString, OsString};
use std::fs::File;
use std::io::{self, IoSliceMut, PipeReader, PipeWriter, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use notifyit_plugin_api::abi::{CallResult, EventRaw, HandlerBox, PANICKED};
use rustix::io::fcntl_dupfd_cloexec;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use rustix::stdio::{dup2_stdin, stdin};
use rustix::thread::set_name;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag::register;
use signal_hook::low_level::exit;

use super::asks::Asking;
use super::confine::{close_others, confine};
use super::in_hand::InHand;
use super::wire::{
    self, Aside, Asked, DESCRIPTORS, Frames, Hello, Said, VERSION, WireEvent, WireResult, cut, frame,
    garbage, put,
};
use crate::plugin::services::{Grant, Signal, Tally, ToHost};
use crate::plugin::{CreateError, Services, batch, load, services, tickets};

/// After so long a batch is answered as far as it has come. What is left goes back to the host.
const BATCH_WITHIN: Duration = Duration::from_millis(5);

/// The ways to the host.
struct Ways {
    channel: UnixStream,
    frames: Frames,
    in_hand: InHand,
    /// Whose they are.
    process: u32,
    /// How many events the plugin gets in one call. `None`: it takes one after the other.
    in_flight: Option<u16>,
}

/// Serves the host at the other end of stdin, and ends the process.
///
/// # Errors
///
/// There is no host, or it is gone.
pub fn serve() -> Result<Infallible> {
    leave_signals_to_the_host().context("failed to listen for signals")?;
    let mut channel = own_stdin().context("failed to reach the host")?;
    let (hello, descriptors) = receive_hello(&mut channel).context("failed to reach the host")?;
    be_called(&hello.name);
    let mut kept: Vec<RawFd> = descriptors.iter().map(AsRawFd::as_raw_fd).collect();
    kept.push(channel.as_raw_fd());
    close_others(&kept).context("failed to close what others have left open")?;
    let [records, in_hand, plugin, asks, signal, figures] = descriptors;
    let (in_hand, process) = (InHand(File::from(in_hand)), std::process::id());
    let (frames, in_flight) = (Frames::default(), hello.in_flight);
    let mut ways = Ways { channel, frames, in_hand, process, in_flight };
    let grant = speak_to_host(&hello, records, asks);
    let signal = Signal::of_host(PipeReader::from(signal)).context("failed to make a pipe")?;
    // For as long as the process.
    let entry = grant.enters(signal, Tally::in_file(File::from(figures)));
    let made = make(&hello, &plugin, entry.context());
    let (handler, said) = match made {
        Ok(handler) => (Some(handler), Said::Made(Ok(()))),
        Err(error) => (None, Said::Made(Err(error))),
    };
    ways.say(&said, &[]).context("failed to reach the host")?;
    if let Some(handler) = handler {
        ways.serve(handler).context("the host is gone")?;
    }
    // Without exit handlers: the plugin has had its say.
    exit(0)
}

impl Ways {
    /// Until the host closes its end, or has asked for the last call.
    fn serve(&mut self, mut handler: HandlerBox) -> io::Result<()> {
        loop {
            let Some(mut body) = self.frames.next()?.map(<[u8]>::to_vec) else {
                if self.frames.read(&mut self.channel)? == 0 {
                    // The plugin is not shut down: nobody would hear of it.
                    return Ok(());
                }
                continue;
            };
            let mut rest = body.as_slice();
            let asked = wire::get(&mut rest)?;
            let mut answers = Vec::new();
            let count = match asked {
                Asked::Events(count) => self.events(&mut handler, count, rest, &mut answers)?,
                Asked::Flush => one(&handler.flush(), &mut answers)?,
                Asked::Shutdown => one(&handler.shutdown(), &mut answers)?,
            };
            if matches!(asked, Asked::Shutdown) {
                drop(handler);
                return self.say(&Said::Answers(count), &answers);
            }
            self.say(&Said::Answers(count), &answers)?;
            body.clear();
        }
    }

    /// Calls the plugin with one event after the other; returns how many it has answered.
    fn events(
        &mut self,
        handler: &mut HandlerBox,
        count: u32,
        mut events: &[u8],
        answers: &mut Vec<u8>,
    ) -> io::Result<u32> {
        let until = Instant::now() + BATCH_WITHIN;
        let mut answered = 0;
        while answered < count {
            let most = u32::from(self.in_flight.unwrap_or(1)).clamp(1, count - answered);
            let call: io::Result<Vec<WireEvent<'_>>> = (0..most).map(|_| wire::get(&mut events)).collect();
            let raws: Vec<EventRaw<'_>> = call?.iter().map(WireEvent::to_raw).collect();
            self.in_hand.set(Some((answered as usize, raws.len())))?;
            let results = match (self.in_flight, raws.as_slice()) {
                (None, [raw]) => vec![handler.on_event(raw)],
                (_, raws) => batch::call(handler, raws),
            };
            self.end_if_child();
            for result in &results {
                answered += one(result, answers)?;
            }
            let has_panicked = results.iter().any(|result| result.status == PANICKED);
            if has_panicked || Instant::now() >= until {
                break;
            }
        }
        self.in_hand.set(None)?;
        Ok(answered)
    }

    /// A child that the plugin has forked may come back from its call, too. It has the same ways: what it says would be
    /// taken for the answer to another event, and what it reads its parent never gets.
    fn end_if_child(&self) {
        if std::process::id() != self.process {
            exit(1)
        }
    }

    fn say(&mut self, said: &Said, rest: &[u8]) -> io::Result<()> {
        self.end_if_child();
        self.channel.write_all(&frame(said, rest)?)
    }
}

fn one(result: &CallResult, answers: &mut Vec<u8>) -> io::Result<u32> {
    put(answers, &WireResult::of(result)).map(|()| 1)
}

/// Opens the ways of what the plugin says and asks, and says who it is.
fn speak_to_host(hello: &Hello, records: OwnedFd, asks: OwnedFd) -> Grant {
    let records = Arc::new(Mutex::new(PipeWriter::from(records)));
    let (to, asking) = (Arc::clone(&records), Asking::new(UnixStream::from(asks)));
    services::go_to_host(ToHost {
        most: hello.level,
        log: Box::new(move |level, message| tell(&to, &Aside::Record { level, message: cut(message) })),
        ask: Box::new(move |operation, payload| asking.ask(operation, payload)),
    });
    let to = Arc::clone(&records);
    tickets::send(move |ticket, result| {
        tell(&to, &Aside::Completed { ticket, result: WireResult::of(result) });
    });
    let services = Services::new(move |_, reason| tell(&records, &Aside::Stop { reason: cut(reason) }));
    services.grant(&hello.name)
}

fn make(hello: &Hello, plugin: &OwnedFd, context: u64) -> Result<HandlerBox, CreateError> {
    let roots: Vec<PathBuf> =
        hello.roots.iter().map(|root| PathBuf::from(OsString::from_vec(root.clone()))).collect();
    let notices = confine(&hello.confinement, &roots, hello.host, plugin).map_err(CreateError::Failed)?;
    notices.iter().for_each(|notice| services::log(context, WARN, notice));
    let file = format!("/proc/self/fd/{}", plugin.as_raw_fd());
    load::create_here(Path::new(&file), context, &hello.config)
}

const WARN: u32 = 2;

/// If the host does not hear it, nobody does.
fn tell(to: &Mutex<PipeWriter>, aside: &Aside<'_>) {
    if let Ok(frame) = frame(aside, &[]) {
        let _ = to.lock().unwrap_or_else(PoisonError::into_inner).write_all(&frame);
    }
}

/// What `top` and the kernel's lines about a lack of memory say; else it would be `exe`, by which it was started.
fn be_called(instance: &str) {
    if let Ok(name) = CString::new(instance) {
        let _ = set_name(&name);
    }
}

/// Who stops a service may signal all of its processes. The host is the one that stops: it lets the calls in hand come to
/// an end, and then says so. Handlers, which a program that the plugin starts does not inherit.
fn leave_signals_to_the_host() -> io::Result<()> {
    [SIGTERM, SIGINT, SIGHUP].into_iter().try_for_each(|signal| register(signal, Arc::default()).map(drop))
}

/// The way to the host, which the plugin does not know; what it reads from stdin is nothing.
fn own_stdin() -> io::Result<UnixStream> {
    let own = fcntl_dupfd_cloexec(stdin(), 3)?;
    dup2_stdin(File::open("/dev/null")?)?;
    Ok(UnixStream::from(own))
}

fn receive_hello(channel: &mut UnixStream) -> Result<(Hello, [OwnedFd; DESCRIPTORS])> {
    let mut length = [0; 4];
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received =
        recvmsg(&*channel, &mut [IoSliceMut::new(&mut length)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
    if received.bytes != length.len() {
        bail!(garbage());
    }
    let descriptors = control.drain().flat_map(|message| match message {
        RecvAncillaryMessage::ScmRights(descriptors) => descriptors.collect(),
        _ => Vec::new(),
    });
    let descriptors: Vec<OwnedFd> = descriptors.collect();
    let descriptors = <[OwnedFd; DESCRIPTORS]>::try_from(descriptors).map_err(|_| garbage())?;
    let mut body = vec![0; u32::from_le_bytes(length) as usize];
    channel.read_exact(&mut body)?;
    let hello: Hello = serde_json::from_slice(&body)?;
    if hello.v != VERSION {
        bail!("the host speaks version {} of the protocol, and this is {VERSION}", hello.v);
    }
    Ok((hello, descriptors))
}

//! Uploads each file that lands by HTTP: `PUT URL/RELATIVE/PATH`.
//!
//! ```toml
//! [plugin.upload]
//! in_flight = 8     # if the server is to have less than 16 at a time
//! timeout = "10m"
//!
//! [plugin.upload.config]
//! url = "http://files.example/inbox"
//! token_file = "/etc/notifyit/upload.token"    # sent as `Authorization: Bearer …`
//! ```
//!
//! It needs a server that takes the same file twice: a second `PUT` of a path replaces the first. Each carries the event's
//! id as `Idempotency-Key`, for one that must tell them apart. `https://` needs a build with TLS, which is most of the code
//! then: `cargo build --release -p notifyit-upload --features tls`.
//!
//! It shows how to have many files in flight: most of an upload is waiting, so the call only starts it, on a thread of its
//! own, and the verdict comes when the server has answered. Each has its thread, open file and connection, and buffers of
//! 256 KiB; `workers` would multiply that, and one is enough. A stop waits for them as long as for any call (`grace`), and
//! what is left comes again. On a host that is older than 1.2 of the API each upload takes place in its call.
//!
//! And it shows what to make of a server's answers:
//!
//! | answer | verdict |
//! |---|---|
//! | 2xx | done |
//! | 429 with `Retry-After` | not before that |
//! | 401, 403, 407, 502, 503, 504; no connection | unavailable: no file would work, so none loses an attempt |
//! | 408, 425, 429, other 5xx, a broken connection | tried again |
//! | others, of which a redirect is one | rejected: the same request will get the same answer |
#![forbid(unsafe_code)]

use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use notifyit_plugin_api::{
    Context, Error, Event, Host, Plugin, Reject, Result, RetryAfter, Unavailable, anyhow, bail, config,
    export_plugin,
};
use ureq::Agent;
use ureq::http::{HeaderMap, Response};

#[config]
struct Config {
    /// Where files go: the path that a file has beneath its watched directory is put behind it.
    url: String,
    /// A file with the token that is sent along. It is read each time, so that it can be replaced.
    token_file: Option<PathBuf>,
}

struct Upload {
    config: Config,
    agent: Agent,
}

impl Plugin for Upload {
    type Config = Config;

    const READS_ONLY: bool = true;
    const IN_FLIGHT: u16 = 16;

    fn new(config: Config, _host: Host) -> Result<Self> {
        if !config.url.starts_with("http://") && !config.url.starts_with("https://") {
            bail!(Reject::new("`url` begins with neither http:// nor https://"));
        }
        if config.url.starts_with("https://") && !cfg!(feature = "tls") {
            bail!(Reject::new("`url` is https://, and this library was built without `--features tls`"));
        }
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .timeout_connect(Some(Duration::from_secs(10)))
            // Each keeps its connection for the next.
            .max_idle_connections(Self::IN_FLIGHT.into())
            .max_idle_connections_per_host(Self::IN_FLIGHT.into())
            .build();
        Ok(Upload { config, agent: agent.new_agent() })
    }

    fn on_event(&mut self, event: &Event<'_>) -> Result<()> {
        let token = self.config.token_file.as_deref().map(token).transpose()?;
        let upload = Put {
            url: format!("{}/{}", self.config.url.trim_end_matches('/'), encoded(event.relative())),
            id: format!("{:016x}", event.id()),
            token,
            timeout: event.timeout().unwrap_or(Duration::from_secs(3600)),
            file: event.open()?,
        };
        let Ok(deferred) = event.defer() else {
            return upload.by(&self.agent); // An older host takes its verdict now or never.
        };
        let agent = self.agent.clone(); // It has the same connections.
        // Whatever becomes of the thread, there is a verdict: if it panics, or cannot be started, the file is tried again.
        let run = move || deferred.complete(upload.by(&agent));
        thread::Builder::new().name("upload".to_owned()).spawn(run).context("failed to start a thread")?;
        Ok(())
    }

    /// The host has waited for what is in flight: what still is has no time left, and comes again.
    fn shutdown(&mut self) -> Result<()> {
        self.agent.clone().shutdown();
        Ok(())
    }
}

/// All that an upload needs, wherever it takes place: nothing of the event, which ends with its call.
struct Put {
    url: String,
    id: String,
    token: Option<String>,
    timeout: Duration,
    file: File,
}

impl Put {
    fn by(self, agent: &Agent) -> Result<()> {
        let mut request = agent.put(&self.url).header("Idempotency-Key", &self.id);
        if let Some(token) = &self.token {
            request = request.header("Authorization", format!("Bearer {token}"));
        }
        let request = request.config().timeout_global(Some(self.timeout)).build();
        match request.send(self.file) {
            Ok(response) => judged(&response).with_context(|| format!("PUT {}", self.url)),
            Err(error) => Err(unanswered(error)).with_context(|| format!("PUT {}", self.url)),
        }
    }
}

fn judged<B>(response: &Response<B>) -> Result<()> {
    let status = response.status();
    if status.is_success() {
        return Ok(());
    }
    let error = anyhow!("the server answers {status}");
    Err(match (status.as_u16(), retry_after(response.headers())) {
        (429, Some(pause)) => error.context(RetryAfter(pause)),
        (401 | 403 | 407, _) => error.context(Unavailable::new("the server does not let us in")),
        (502..=504, _) => error.context(Unavailable::new("the server is not there")),
        (408 | 425 | 429, _) => error,
        _ if status.is_server_error() => error,
        _ => error.context(Reject::new("the server does not take it")),
    })
}

/// In seconds; it may be a date, too, for which the host's own pauses have to do.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get("retry-after")?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds))
}

fn unanswered(error: ureq::Error) -> Error {
    use ureq::{Error as E, Timeout};
    let is_there = match &error {
        E::Io(error) => error.kind() != std::io::ErrorKind::ConnectionRefused,
        E::HostNotFound | E::ConnectionFailed | E::Timeout(Timeout::Resolve | Timeout::Connect) => false,
        _ => true,
    };
    let error = Error::new(error);
    if is_there { error } else { error.context(Unavailable::new("the server is not there")) }
}

fn token(file: &Path) -> Result<String> {
    let unreadable = || Unavailable::new(format!("failed to read {file:?}"));
    Ok(fs::read_to_string(file).with_context(unreadable)?.trim().to_owned())
}

/// A name may hold any byte, a URL may not.
fn encoded(path: &Path) -> String {
    let bytes = path.as_os_str().as_bytes().iter();
    let encoded = bytes.map(|byte| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
            char::from(*byte).to_string()
        }
        byte => format!("%{byte:02X}"),
    });
    encoded.collect()
}

export_plugin!(Upload);

#[cfg(test)]
mod tests;

//! A small store of a plugin's own.

use super::Host;
use crate::Result;
use crate::abi::asks::{self, STORE_GET, STORE_KEYS, STORE_OPEN, STORE_PUT, STORE_REMOVE};
use crate::anyhow::{Error, anyhow};

const WHAT: &str = "store";

/// A small store of keys and values, in the host's state directory: what a plugin must not forget.
///
/// It belongs to the instance's name ([`Host::instance`]): all its workers share it, no other instance sees it, and it
/// survives restarts, crashes and newer code. `notifyit forget NAME` drops it. What [`Store::put`] has returned `Ok` for is on
/// disk, also if the host is killed a moment later.
///
/// A key has 1 to 512 bytes, a value up to 1 MiB, and all of an instance up to 64 MiB, each entry counted with its key
/// and 64 bytes more. Each call waits for the disk, a `put` for its sync: some milliseconds. So a plugin writes once for
/// a burst, in [`Plugin::flush`](crate::Plugin::flush), or once for an event, not once for a line. Between a `get` and the
/// `put` behind it another worker may have put: what must be counted exactly needs
/// [`MAX_WORKERS`](crate::Plugin::MAX_WORKERS) of 1, or keys of its own for each.
///
/// It may be used from [`Plugin::new`](crate::Plugin::new) until the process ends, on any thread.
///
/// ```
/// use notifyit_plugin_api::{Event, Host, Plugin, Result, Store};
///
/// /// Handles a file's content once, however often and under whatever name it comes.
/// struct Once { seen: Store }
///
/// impl Plugin for Once {
///     type Config = ();
///     fn new(_: (), host: Host) -> Result<Self> { Ok(Once { seen: host.store()? }) }
///     fn on_event(&mut self, event: &Event<'_>) -> Result<()> {
///         let content = std::io::read_to_string(event.open()?)?;
///         let key = format!("seen/{}", content.trim());
///         if self.seen.get(&key)?.is_none() {
///             // … handle it …
///             self.seen.put(&key, event.path().as_os_str().as_encoded_bytes())?;
///         }
///         Ok(())
///     }
/// }
/// # use notifyit_plugin_api::{json, testing::TestHost};
/// let mut host = TestHost::start::<Once>(json!({})).unwrap();
/// host.write("a", "one").assert_done();
/// host.write("b", "one").assert_done();
/// assert_eq!(host.stored().keys().collect::<Vec<_>>(), [b"seen/one"]);
/// ```
///
/// # Errors
///
/// Of every call: the state directory is full or cannot be read or written, or the host is older than 1.2 of this crate:
/// that is [`Unavailable`](crate::Unavailable), for no other file would fare better. A key, a value that is not allowed is
/// an ordinary error.
#[derive(Debug, Clone, Copy)]
pub struct Store {
    host: Host,
}

impl Host {
    /// The store of this instance.
    ///
    /// # Errors
    ///
    /// The host keeps no state (`--state-dir` names a directory for that) or is older than 1.2 of this crate. Call it in
    /// [`Plugin::new`](crate::Plugin::new), and whoever starts the plugin is told.
    pub fn store(&self) -> Result<Store> {
        self.ask(STORE_OPEN, &[], WHAT).map_err(|why| why.into_error())?;
        Ok(Store { host: *self })
    }
}

impl Store {
    /// The value of this key, if it has one.
    ///
    /// # Errors
    ///
    /// See [`Store`].
    pub fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<Vec<u8>>> {
        let key = checked(key.as_ref())?;
        let mut answer = self.ask(STORE_GET, key)?;
        Ok(if answer.is_empty() { None } else { Some(answer.split_off(1)) })
    }

    /// Gives this key this value; returns when that is on disk.
    ///
    /// # Errors
    ///
    /// See [`Store`]. There is no room for it: nothing has changed.
    pub fn put(&self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<()> {
        let (key, value) = (checked(key.as_ref())?, value.as_ref());
        asks::check_value(value).map_err(Error::msg)?;
        self.ask(STORE_PUT, &asks::pair(key, value)).map(drop)
    }

    /// Takes this key away, if it is there; returns when it is gone from the disk.
    ///
    /// # Errors
    ///
    /// See [`Store`].
    pub fn remove(&self, key: impl AsRef<[u8]>) -> Result<()> {
        self.ask(STORE_REMOVE, checked(key.as_ref())?).map(drop)
    }

    /// All keys that begin so, in the order of their bytes; of an empty prefix, all that there are. They are read a piece at
    /// a time: what is put or removed meanwhile may be among them or not.
    ///
    /// ```
    /// # use notifyit_plugin_api::{json, testing::TestHost, Event, Host, Plugin, Result};
    /// # struct Any(Host);
    /// # impl Plugin for Any {
    /// #     type Config = ();
    /// #     fn new(_: (), host: Host) -> Result<Self> { Ok(Any(host)) }
    /// #     fn on_event(&mut self, _: &Event<'_>) -> Result<()> {
    /// let store = self.0.store()?;
    /// store.put("day/2", "b")?;
    /// store.put("day/1", "a")?;
    /// store.put("other", "c")?;
    /// assert_eq!(store.keys("day/")?, [b"day/1", b"day/2"]);
    /// #         Ok(())
    /// #     }
    /// # }
    /// # TestHost::start::<Any>(json!({})).unwrap().write("a", "").assert_done();
    /// ```
    ///
    /// # Errors
    ///
    /// See [`Store`].
    pub fn keys(&self, prefix: impl AsRef<[u8]>) -> Result<Vec<Vec<u8>>> {
        let mut keys: Vec<Vec<u8>> = Vec::new();
        loop {
            let after = keys.last().map_or(&[][..], Vec::as_slice);
            let answer = self.ask(STORE_KEYS, &asks::pair(prefix.as_ref(), after))?;
            let mut rest = answer.as_slice();
            if rest.is_empty() {
                return Ok(keys);
            }
            while !rest.is_empty() {
                let (key, behind) =
                    asks::split(rest).ok_or_else(|| anyhow!("the host's keys are no keys"))?;
                keys.push(key.to_vec());
                rest = behind;
            }
        }
    }

    fn ask(&self, operation: u32, payload: &[u8]) -> Result<Vec<u8>> {
        self.host.ask(operation, payload, WHAT).map_err(|why| why.into_error())
    }
}

fn checked(key: &[u8]) -> Result<&[u8]> {
    asks::check_key(key).map(|()| key).map_err(Error::msg)
}

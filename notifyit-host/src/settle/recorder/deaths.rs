//! What the pages say of the host that wrote them: who is to blame for its death.
//!
//! If the process died on a worker's thread, that worker alone. If on none, or nobody knows (SIGKILL, no memory left, a
//! thread of a plugin's own), each that had an event in hand. Nobody, if the host had stopped in good order, or the
//! machine has started anew since.

use std::ffi::OsStr;
use std::fmt;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use tracing::warn;

use super::sheet::{self, End, InHand, Sheet};
use crate::sys::death::{EXIT, name_of};
use crate::sys::{self, page};

/// One who is to blame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Death {
    /// The plugin.
    pub plugin: String,
    /// What is known of how the host died.
    pub way: Way,
    /// What it had in hand, if it had anything.
    pub in_hand: Option<InHand>,
}

/// How a host died. `Display` goes on behind its name: `died of SIGSEGV`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Of this signal, on the worker's own thread.
    Signal(u64),
    /// The worker's thread has called `exit`.
    Exit,
    /// Nobody knows.
    Unknown,
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Way::Signal(signal) => match name_of(*signal) {
                Some(name) => write!(f, "died of {name}"),
                None => write!(f, "died of signal {signal}"),
            },
            Way::Exit => f.write_str("was ended by a call of `exit`"),
            Way::Unknown => f.write_str("died (killed, perhaps)"),
        }
    }
}

/// Those who are to blame, by the pages in this directory.
pub(super) fn read(directory: &Path, boot: u128) -> Vec<Death> {
    let mut sheets = Vec::new();
    for (file, plugin) in pages_in(directory) {
        match sheet_in(&file) {
            Ok(sheet) => sheets.push((plugin, sheet)),
            Err(why) => warn!("{file:?} is no page of a flight recorder: {why}; it says nothing"),
        }
    }
    to_blame(sheets, boot)
}

/// The files that have the name of a page, each with its plugin's. Others are let be, and said.
pub(super) fn pages_in(directory: &Path) -> impl Iterator<Item = (PathBuf, String)> {
    let files = fs::read_dir(directory).into_iter().flatten().flatten();
    files.filter_map(|file| Some((file.path(), plugin_of(&file.file_name())?)))
}

/// `thumbnails.0` → `thumbnails`.
fn plugin_of(file: &OsStr) -> Option<String> {
    let (plugin, number) = file.to_str()?.rsplit_once('.')?;
    let is_page = !plugin.is_empty() && number.parse::<u32>().is_ok();
    is_page.then(|| plugin.to_owned())
}

fn sheet_in(file: &Path) -> Result<Sheet, String> {
    let look = || -> io::Result<Option<Vec<u8>>> {
        if !sys::stat(file)?.is_some_and(|stat| stat.is_file()) {
            return Ok(None);
        }
        let mut bytes = Vec::new();
        fs::File::open(file)?.take(page::SIZE as u64 + 1).read_to_end(&mut bytes)?;
        Ok(Some(bytes))
    };
    let bytes = look().map_err(|error| error.to_string())?.ok_or("it is no file")?;
    sheet::read(&bytes).map_err(str::to_owned)
}

fn to_blame(sheets: Vec<(String, Sheet)>, boot: u128) -> Vec<Death> {
    let mut sheets = sheets;
    sheets.retain(|(_, sheet)| sheet.boot == boot && sheet.end != End::Stopped);
    let is_known = sheets.iter().any(|(_, sheet)| sheet.death != 0);
    let is_guilty = |sheet: &Sheet| match sheet.death {
        0 => !is_known && sheet.end == End::None && sheet.in_hand.is_some(),
        _ => true,
    };
    let guilty = sheets.into_iter().filter(|(_, sheet)| is_guilty(sheet));
    guilty.map(|(plugin, sheet)| Death { plugin, way: way(sheet.death), in_hand: sheet.in_hand }).collect()
}

fn way(death: u64) -> Way {
    match death {
        0 => Way::Unknown,
        EXIT => Way::Exit,
        signal => Way::Signal(signal),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOOT: u128 = 5;

    fn sheet(end: End, death: u64, has_event: bool) -> Sheet {
        let path = PathBuf::from("/in/a");
        let in_hand = InHand { version: None, is_racy: false, failed: 0, crashes: 0, began_nanos: 1, path };
        Sheet { boot: BOOT, end, death, in_hand: has_event.then_some(in_hand) }
    }

    fn blamed<const N: usize>(sheets: [Sheet; N]) -> Vec<(usize, Way, bool)> {
        let named = sheets.into_iter().enumerate().map(|(place, sheet)| (place.to_string(), sheet));
        let deaths = to_blame(named.collect(), BOOT).into_iter();
        deaths.map(|death| (death.plugin.parse().unwrap(), death.way, death.in_hand.is_some())).collect()
    }

    #[test]
    fn whose_thread_died_is_to_blame_alone_and_if_none_did_each_that_had_an_event() {
        let (idle, busy) = (sheet(End::None, 0, false), sheet(End::None, 0, true));
        let (died, exited) = (sheet(End::None, 11, true), sheet(End::None, 256, true));
        assert_eq!(
            blamed([idle.clone(), busy.clone(), busy.clone()]),
            [(1, Way::Unknown, true), (2, Way::Unknown, true)]
        );
        assert_eq!(blamed([busy.clone(), died.clone(), busy.clone()]), [(1, Way::Signal(11), true)]);
        assert_eq!(blamed([exited, busy.clone()]), [(0, Way::Exit, true)]);
        assert_eq!(blamed([busy, sheet(End::None, 6, false)]), [(1, Way::Signal(6), false)]);
        assert_eq!(blamed([idle]), []);
    }

    #[test]
    fn a_stop_and_another_boot_have_nobody_to_blame() {
        let elsewhere = Sheet { boot: 6, ..sheet(End::None, 11, true) };
        assert_eq!(blamed([elsewhere, sheet(End::Stopped, 11, true), sheet(End::Stopped, 0, true)]), []);
        // While it stopped it was killed; or a plugin has done something.
        assert_eq!(blamed([sheet(End::Stops, 0, true)]), []);
        let died = sheet(End::Stops, 11, true);
        assert_eq!(blamed([sheet(End::Stops, 0, true), died]), [(1, Way::Signal(11), true)]);
    }

    #[test]
    fn a_page_has_a_name_and_a_number() {
        let of = |file: &str| plugin_of(OsStr::new(file));
        assert_eq!(of("a.0").as_deref(), Some("a"));
        assert_eq!(of("a.b.12").as_deref(), Some("a.b"));
        assert_eq!(["a", ".0", "a.", "a.x", "a.-1", "README"].map(of), [const { None }; 6]);
    }

    #[test]
    fn ways_are_said_in_words() {
        let said = [Way::Signal(11), Way::Signal(99), Way::Exit].map(|way| way.to_string());
        assert_eq!(said, ["died of SIGSEGV", "died of signal 99", "was ended by a call of `exit`"]);
    }
}

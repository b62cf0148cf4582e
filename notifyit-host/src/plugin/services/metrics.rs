//! Figures of a plugin's own.
//!
//! Those of a process of its own lie in a file in memory, which the host reads when somebody asks, and once more when the
//! process has ended: to count costs the process no way to the host, and nothing that was counted goes with it. What it
//! holds is not trusted.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::{Mutex, PoisonError};

use notifyit_plugin_api::abi::asks::{
    COUNT, GAUGE, LONGEST_NAME, MOST_METRICS, is_name, left_out, split_number,
};
use rustix::fs::{MemfdFlags, memfd_create};
use serde::{Deserialize, Serialize};

/// What a plugin counts and measures.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Metrics {
    /// Since the host has started, of all workers.
    pub counters: BTreeMap<String, u64>,
    /// The sum over the workers that are there.
    pub gauges: BTreeMap<String, f64>,
}

impl Metrics {
    pub(super) fn add(&mut self, more: &Metrics) {
        self.add_counters(more);
        for (name, value) in &more.gauges {
            *self.gauges.entry(name.clone()).or_default() += value;
        }
    }

    /// Names without end, each of another instance, are not kept.
    pub(super) fn add_counters(&mut self, more: &Metrics) {
        for (name, value) in &more.counters {
            let is_full = self.counters.len() >= MOST_METRICS;
            match self.counters.entry(name.clone()) {
                Entry::Occupied(mut known) => *known.get_mut() = known.get().saturating_add(*value),
                Entry::Vacant(place) if !is_full => drop(place.insert(*value)),
                Entry::Vacant(_) => {}
            }
        }
    }

    fn set(&mut self, row: &Row) {
        match row.operation {
            COUNT => drop(self.counters.insert(row.name.clone(), u64::from_le_bytes(row.value))),
            _ => drop(self.gauges.insert(row.name.clone(), f64::from_le_bytes(row.value))),
        }
    }
}

/// One instance's.
#[derive(Debug, Default)]
pub(in crate::plugin) struct Tally {
    rows: Mutex<Rows>,
    file: Option<File>,
    is_of_process: bool,
}

#[derive(Debug, Default)]
struct Rows {
    rows: Vec<Row>,
    /// Has it been said that something is left out?
    has_said: bool,
}

#[derive(Debug)]
struct Row {
    name: String,
    operation: u32,
    value: [u8; 8],
}

/// In the file: the operation, the name's length, six that are free, the name, the value.
const ROW: usize = 8 + LONGEST_NAME + 8;
const WHOLE: usize = ROW * MOST_METRICS;

impl Tally {
    /// The host's end of that of a process.
    pub(super) fn of_a_process() -> io::Result<Tally> {
        let file = File::from(memfd_create("figures", MemfdFlags::CLOEXEC)?);
        file.set_len(WHOLE as u64)?;
        Ok(Tally { file: Some(file), is_of_process: true, ..Tally::default() })
    }

    /// For the process.
    pub(super) fn file(&self) -> io::Result<File> {
        self.file.as_ref().ok_or(io::ErrorKind::NotFound)?.try_clone()
    }

    /// In the process.
    pub(in crate::plugin) fn in_file(file: File) -> Tally {
        Tally { file: Some(file), ..Tally::default() }
    }

    /// Takes a figure. Of the first that it does not take it returns why.
    pub(super) fn take(&self, operation: u32, payload: &[u8]) -> Option<String> {
        let (value, name) = split_number(payload)?;
        let mut rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        let Rows { rows, has_said } = &mut *rows;
        let place = rows.iter().position(|row| row.name == name);
        let known = place.map(|place| rows[place].operation);
        let measured = if operation == GAUGE { f64::from_le_bytes(value) } else { 0.0 };
        if let Some(why) = left_out(name, operation, measured, known, rows.len()) {
            let is_news = !std::mem::replace(has_said, true);
            return is_news.then(|| format!("the figure {name:?} is left out: {why}"));
        }
        match place {
            Some(place) => {
                let row = &mut rows[place];
                row.takes(value);
                self.write(&row.value, place * ROW + ROW - 8);
            }
            None => {
                let row = Row { name: name.to_owned(), operation, value };
                self.write(&row.to_bytes(), rows.len() * ROW);
                rows.push(row);
            }
        }
        None
    }

    fn write(&self, bytes: &[u8], at: usize) {
        // It is memory; who has taken that away has its figures lost.
        self.file.as_ref().map(|file| file.write_all_at(bytes, at as u64));
    }

    pub(super) fn metrics(&self) -> Metrics {
        let mut metrics = Metrics::default();
        if self.is_of_process {
            let bytes = self.read();
            let rows = bytes.chunks_exact(ROW).map_while(Row::from_bytes);
            rows.for_each(|row| metrics.set(&row));
        } else {
            let rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
            rows.rows.iter().for_each(|row| metrics.set(row));
        }
        metrics
    }

    /// Twice the same, for it may be written meanwhile; in vain a few times only.
    fn read(&self) -> Vec<u8> {
        let read = || {
            let mut bytes = vec![0; WHOLE];
            let is_read = self.file.as_ref().is_some_and(|file| file.read_exact_at(&mut bytes, 0).is_ok());
            if is_read { bytes } else { Vec::new() }
        };
        let mut last = read();
        for _ in 0..8 {
            let again = read();
            if again == last {
                break;
            }
            last = again;
        }
        last
    }
}

impl Row {
    fn takes(&mut self, value: [u8; 8]) {
        self.value = match self.operation {
            COUNT => u64::from_le_bytes(self.value).saturating_add(u64::from_le_bytes(value)).to_le_bytes(),
            _ => value,
        };
    }

    fn to_bytes(&self) -> [u8; ROW] {
        let mut bytes = [0; ROW];
        let byte = |number: u32| u8::try_from(number).unwrap_or(0);
        bytes[0] = byte(self.operation);
        bytes[1] = byte(u32::try_from(self.name.len()).unwrap_or(0));
        bytes[8..8 + self.name.len()].copy_from_slice(self.name.as_bytes());
        bytes[ROW - 8..].copy_from_slice(&self.value);
        bytes
    }

    /// None of what cannot have been written by [`Row::to_bytes`].
    fn from_bytes(bytes: &[u8]) -> Option<Row> {
        let (operation, length) = (u32::from(*bytes.first()?), usize::from(*bytes.get(1)?));
        let name = std::str::from_utf8(bytes.get(8..8 + length.min(LONGEST_NAME))?).ok()?.to_owned();
        let value = *bytes.last_chunk()?;
        let is_shown = match operation {
            COUNT => true,
            GAUGE => f64::from_le_bytes(value).is_finite(),
            _ => false,
        };
        (is_shown && is_name(&name)).then_some(Row { name, operation, value })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(tally: &Tally, operation: u32, name: &str, value: [u8; 8]) -> Option<String> {
        tally.take(operation, &[&value[..], name.as_bytes()].concat())
    }

    #[test]
    fn what_a_process_counts_is_read_from_its_file() {
        let host = Tally::of_a_process().unwrap();
        let process = Tally::in_file(host.file().unwrap());
        for _ in 0..3 {
            take(&process, COUNT, "rows", 2_u64.to_le_bytes());
        }
        let long = "x".repeat(LONGEST_NAME);
        take(&process, GAUGE, &long, 1.5_f64.to_le_bytes());
        take(&process, GAUGE, &long, (-0.5_f64).to_le_bytes());
        take(&process, COUNT, "rows", u64::MAX.to_le_bytes());
        let metrics = host.metrics();
        assert_eq!(metrics, process.metrics());
        assert_eq!((metrics.counters["rows"], metrics.gauges[&long]), (u64::MAX, -0.5));
    }

    #[test]
    fn garbage_in_the_file_is_no_figure_and_no_harm() {
        let tally = Tally::of_a_process().unwrap();
        tally.write(&[0xff; WHOLE], 0);
        assert_eq!(tally.metrics(), Metrics::default());
        for (operation, value) in [(GAUGE, f64::INFINITY.to_le_bytes()), (77, [0; 8])] {
            tally.write(&Row { name: "a".into(), operation, value }.to_bytes(), 0);
            assert_eq!(tally.metrics(), Metrics::default());
        }
        tally.file.as_ref().unwrap().set_len(3).unwrap();
        assert_eq!(tally.metrics(), Metrics::default());
    }

    #[test]
    fn what_is_left_out_is_said_once() {
        let tally = Tally::default();
        let said = take(&tally, COUNT, "A", [1; 8]).unwrap();
        assert!(said.starts_with("the figure \"A\" is left out: a name is made of"), "{said}");
        assert_eq!(take(&tally, COUNT, "B", [1; 8]), None);
        assert_eq!(tally.metrics(), Metrics::default());
    }

    #[test]
    fn there_are_not_more_names_than_there_may_be() {
        let (tally, mut all) = (Tally::default(), Metrics::default());
        for n in 0..=MOST_METRICS {
            take(&tally, COUNT, &format!("a{n}"), [0; 8]);
            take(&tally, COUNT, &format!("a{n}"), 1_u64.to_le_bytes());
        }
        assert_eq!(tally.metrics().counters.len(), MOST_METRICS);
        all.add_counters(&tally.metrics());
        all.add_counters(&Metrics {
            counters: [("b".to_owned(), 1), ("a1".to_owned(), 1)].into(),
            ..all.clone()
        });
        assert_eq!((all.counters.len(), all.counters["a1"]), (MOST_METRICS, 2));
    }
}

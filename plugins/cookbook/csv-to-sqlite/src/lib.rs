//! Puts the rows of each CSV file that lands into a table of an SQLite database.
//!
//! ```toml
//! [plugin.csv-to-sqlite]
//! include = ["*.csv"]
//!
//! [plugin.csv-to-sqlite.config]
//! database = "/var/lib/notifyit/sales.db"
//! table = "sales"
//! columns = ["date", "amount"]
//! ```
//!
//! It needs a place for the database, outside of all that is watched.
//!
//! It shows results that are safe together: all files that wait are put in with one transaction, for its commit is what takes
//! the time. A file that fails half-way leaves nothing of it, and the others stay; if the commit fails, nothing was done. The
//! id of the event is part of each row's key, so that a version of a file that comes twice adds nothing. (A new version of
//! it adds its rows.) On a host that is older than 1.2 of the API each file has a transaction of its own.
#![forbid(unsafe_code)]

use std::path::PathBuf;
use std::time::Duration;

use notifyit_plugin_api::{
    Context, Error, Event, Host, Plugin, Reject, Result, Unavailable, config, export_plugin,
};
use rusqlite::{Connection, ErrorCode, Savepoint, TransactionBehavior};

#[config]
struct Config {
    /// The database's file, which is made if there is none. Not in a watched directory.
    database: PathBuf,
    /// The table, which is made if there is none, with the columns `event`, `line` and `file` beside these:
    table: String,
    /// The columns that a file must name in its first line, in any order. Others are left out.
    columns: Vec<String>,
}

struct CsvToSqlite {
    database: Connection,
    table: Table,
}

struct Table {
    columns: Vec<String>,
    insert: String,
}

impl Plugin for CsvToSqlite {
    type Config = Config;

    const MAX_WORKERS: u16 = 1; // SQLite has one writer at a time.
    const READS_ONLY: bool = true;
    const IN_FLIGHT: u16 = 256;

    fn new(config: Config, _host: Host) -> Result<Self> {
        let database = Connection::open(&config.database)
            .with_context(|| format!("failed to open {:?}", config.database))?;
        database.busy_timeout(Duration::from_secs(10))?;
        let table = quoted(&config.table);
        let columns: String = config.columns.iter().map(|name| format!(", {} TEXT", quoted(name))).collect();
        database.execute_batch(&format!(
            "CREATE TABLE IF NOT EXISTS {table}
             (event TEXT, line INTEGER, file TEXT{columns}, PRIMARY KEY (event, line))"
        ))?;
        let names: String = config.columns.iter().map(|name| format!(", {}", quoted(name))).collect();
        let insert = format!(
            "INSERT OR IGNORE INTO {table} (event, line, file{names}) VALUES (?, ?, ?{})",
            ", ?".repeat(config.columns.len())
        );
        database.prepare(&insert)?; // A table that was there may have other columns.
        Ok(CsvToSqlite { database, table: Table { columns: config.columns, insert } })
    }

    fn on_event(&mut self, event: &Event<'_>) -> Result<()> {
        self.on_batch(std::slice::from_ref(event))
    }

    fn on_batch(&mut self, events: &[Event<'_>]) -> Result<()> {
        let begun = self.database.transaction_with_behavior(TransactionBehavior::Immediate);
        let mut batch = begun.map_err(wrong_database)?;
        for event in events {
            // What is not committed is undone when it is dropped: of this file, or of the whole batch.
            let file = batch.savepoint().map_err(wrong_database)?;
            if let Err(error) = self.table.add(event, file) {
                if batch.is_autocommit() {
                    return Err(error); // SQLite has undone the whole batch by itself (a full disk).
                }
                event.settle(Err(error)); // This one alone.
            }
        }
        batch.commit().map_err(wrong_database)
    }
}

impl Table {
    fn add(&self, event: &Event<'_>, file: Savepoint<'_>) -> Result<()> {
        let mut csv = csv::Reader::from_reader(event.open()?);
        let header = csv.headers().map_err(wrong_file)?.clone();
        let place = |name: &String| {
            let missing = || Reject::new(format!("it has no column {name:?}"));
            header.iter().position(|field| field == name).with_context(missing)
        };
        let places = self.columns.iter().map(place).collect::<Result<Vec<usize>>>()?;
        let mut insert = file.prepare(&self.insert).map_err(wrong_database)?;
        let (id, path) = (format!("{:016x}", event.id()), event.relative().to_string_lossy());
        for record in csv.records() {
            let record = record.map_err(wrong_file)?;
            let line = record.position().map_or(0, csv::Position::line).to_string();
            let fields = places.iter().map(|place| record.get(*place).unwrap_or_default());
            let row = [id.as_str(), &line, &path].into_iter().chain(fields);
            insert.execute(rusqlite::params_from_iter(row)).map_err(wrong_database)?;
        }
        drop(insert);
        file.commit().map_err(wrong_database)
    }
}

/// An SQL name may be anything but for its quotes.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn wrong_file(error: csv::Error) -> Error {
    if error.is_io_error() {
        return error.into(); // It could not be read: perhaps it can be next time.
    }
    Error::new(error).context(Reject::new("it is no CSV that can be read"))
}

fn wrong_database(error: rusqlite::Error) -> Error {
    use ErrorCode::{CannotOpen, DatabaseBusy, DatabaseLocked, DiskFull, ReadOnly, SystemIoFailure};
    match error.sqlite_error_code() {
        Some(CannotOpen | DatabaseBusy | DatabaseLocked | DiskFull | ReadOnly | SystemIoFailure) => {
            Error::new(error).context(Unavailable::new("the database cannot be written to"))
        }
        _ => error.into(),
    }
}

export_plugin!(CsvToSqlite);

#[cfg(test)]
mod tests;

use std::path::Path;

use notifyit_plugin_api::json;
use notifyit_plugin_api::testing::TestHost;

use super::*;

fn started(directory: &Path) -> TestHost {
    let database = directory.join("sales.db");
    let config = json!({ "database": database, "table": "a \"table\"", "columns": ["date", "amount"] });
    TestHost::start::<CsvToSqlite>(config).unwrap()
}

fn rows(directory: &Path) -> Vec<String> {
    let database = Connection::open(directory.join("sales.db")).unwrap();
    let query =
        "SELECT file || ':' || line || ' ' || date || ' ' || amount FROM \"a \"\"table\"\"\" ORDER BY 1";
    let mut rows = database.prepare(query).unwrap();
    rows.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
}

#[test]
fn the_rows_are_in_the_table_whatever_the_order_of_their_columns() {
    let directory = tempfile::tempdir().unwrap();
    let mut host = started(directory.path());
    host.write("a.csv", "date,amount\nmon,1\n\"tue\n\",2\nwed,3\n").assert_done();
    host.write("b.csv", "amount,other,date\n4,x,thu\n").assert_done();
    assert_eq!(
        rows(directory.path()),
        ["a.csv:2 mon 1", "a.csv:3 tue\n 2", "a.csv:5 wed 3", "b.csv:2 thu 4"]
    );
}

#[test]
fn a_file_that_comes_twice_adds_nothing_and_a_new_version_of_it_does() {
    let directory = tempfile::tempdir().unwrap();
    let mut host = started(directory.path());
    host.write("a.csv", "date,amount\nmon,1\n").assert_done();
    host.land("a.csv").assert_done();
    assert_eq!(rows(directory.path()).len(), 1);
    host.write("a.csv", "date,amount\nmon,1\ntue,2\n").assert_done();
    assert_eq!(rows(directory.path()).len(), 3);
}

#[test]
fn what_comes_together_is_one_transaction_and_safe_when_the_call_returns() {
    let directory = tempfile::tempdir().unwrap();
    let host = started(directory.path());
    // The file's change counter is one more with each commit.
    let head = || std::fs::read(directory.path().join("sales.db")).unwrap();
    let commits = || u32::from_be_bytes(head()[24..28].try_into().unwrap());
    let before = commits();
    let names: Vec<String> = (0..100).map(|n| format!("{n}.csv")).collect();
    let verdicts = host.burst(names.iter().map(|name| host.event(name).content("date,amount\nmon,1\n")));
    verdicts.iter().for_each(notifyit_plugin_api::Verdict::assert_done);
    assert_eq!((rows(directory.path()).len(), commits()), (100, before + 1));
    host.event("a.csv").content("date,amount\nmon,1\n").deliver().assert_done();
    assert_eq!(rows(directory.path()).len(), 101, "there was no flush");
}

#[test]
fn what_is_wrong_half_way_leaves_nothing_of_its_file_and_all_of_the_others() {
    let directory = tempfile::tempdir().unwrap();
    let host = started(directory.path());
    let file = |name, text| host.event(name).content(text);
    let verdicts = host.burst([
        file("a.csv", "date,amount\nmon,1\n"),
        file("b.csv", "date,amount\ntue,2\nwed\n"),
        file("c.csv", "day,amount\nthu,3\n"),
        file("d.csv", "date,amount\nfri,4\n"),
    ]);
    verdicts[0].assert_done();
    verdicts[1].assert_reject("no CSV that can be read");
    verdicts[2].assert_reject("no column \"date\"");
    verdicts[3].assert_done();
    assert_eq!(rows(directory.path()), ["a.csv:2 mon 1", "d.csv:2 fri 4"]);
}

#[test]
fn a_transaction_that_sqlite_has_given_up_is_nobodys_success() {
    let directory = tempfile::tempdir().unwrap();
    let host = started(directory.path());
    let database = Connection::open(directory.path().join("sales.db")).unwrap();
    let trigger = "CREATE TRIGGER t BEFORE INSERT ON \"a \"\"table\"\"\" WHEN NEW.date = 'full' BEGIN
                   SELECT RAISE(ROLLBACK, 'given up'); END";
    database.execute_batch(trigger).unwrap();
    let file = |name, text| host.event(name).content(text);
    let events = || {
        [
            file("a.csv", "date,amount\nmon,1\n"),
            file("b.csv", "no,column\n"),
            file("c.csv", "date,amount\nfull,2\n"),
            file("d.csv", "date,amount\nwed,3\n"),
        ]
    };
    let verdicts = host.burst(events());
    verdicts[1].assert_reject("no column");
    [0, 2, 3].iter().for_each(|n| verdicts[*n].assert_retry("given up"));
    assert_eq!(rows(directory.path()).len(), 0);
    database.execute_batch("DROP TRIGGER t").unwrap();
    host.burst(events());
    assert_eq!(rows(directory.path()).len(), 3);
}

#[test]
fn a_commit_that_fails_is_nobodys_success() {
    let directory = tempfile::tempdir().unwrap();
    let database = Connection::open(directory.path().join("sales.db")).unwrap();
    // What is asked of it is looked at when it is committed.
    let tables = "CREATE TABLE days (date TEXT PRIMARY KEY); CREATE TABLE \"a \"\"table\"\"\"
         (event, line, file, date REFERENCES days DEFERRABLE INITIALLY DEFERRED, amount, PRIMARY KEY (event, line))";
    database.execute_batch(tables).unwrap();
    let host = started(directory.path());
    let events = || [("a.csv", "date,amount\nmon,1\n"), ("b.csv", "no,column\n")];
    let burst = || host.burst(events().map(|(name, text)| host.event(name).content(text)));
    let verdicts = burst();
    verdicts[0].assert_retry("FOREIGN KEY");
    verdicts[1].assert_reject("no column");
    assert_eq!(rows(directory.path()).len(), 0);
    database.execute_batch("INSERT INTO days VALUES ('mon')").unwrap();
    burst()[0].assert_done();
    assert_eq!(rows(directory.path()).len(), 1);
}

#[test]
fn a_database_that_another_holds_is_no_files_fault() {
    let directory = tempfile::tempdir().unwrap();
    let error = rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_BUSY), None);
    assert!(wrong_database(error).to_string().contains("cannot be written to"));
    let error = TestHost::start::<CsvToSqlite>(
        json!({ "database": directory.path().join("no/such.db"), "table": "t", "columns": [] }),
    );
    assert!(!error.unwrap_err().is::<Reject>(), "it may be there later");
}

//! What a plugin can do wrong, and what comes of it: each harm that the fixture `misbehaves` knows, with the plugin inside
//! the host and with its workers as processes of their own, and `print` inside the host beside it.
//!
//! The rows with what is expected of them are in `rows`, how one is tried in `trial`; the README has the same table, and
//! `target/misbehaviours-inline.md` and `-isolated.md` what the last run has seen.
//!
//! | column | says |
//! |---|---|
//! | the host | does it live until it is told to stop, stop then, and is it as it was (its working directory, umask, …)? |
//! | other plugins | did `print` get all files, those behind the bad one before that had come to an end? |
//! | its own files | what became of the bad one, and were those behind it handled? |

mod rows;
mod trial;

use std::fs;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use notifyit_tests::{library, say, target_directory};

use self::rows::{ROWS, Row};
use self::trial::Trial;

/// Where the plugin's workers run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Inline,
    Isolated,
}

/// So many rows at a time: most of them wait most of the time.
const AT_A_TIME: usize = 4;

#[test]
fn what_a_plugin_can_do_inside_the_host() {
    all_come_as_expected(Way::Inline);
}

#[test]
fn what_a_plugin_can_do_in_a_process_of_its_own() {
    all_come_as_expected(Way::Isolated);
}

#[test]
fn the_readme_has_the_same_table() {
    let readme =
        fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../README.md")).expect("it is there");
    let cells = |row: &Row| [Way::Inline, Way::Isolated].map(|way| row.expected(way).map(str::to_owned));
    let table: String = ROWS.iter().map(|row| line(row, cells(row).into_iter())).collect();
    assert!(readme.contains(&table), "the README has another table than this:\n{table}");
}

fn all_come_as_expected(way: Way) {
    library("misbehaves");
    let rows: Vec<&Row> = ROWS.iter().filter(|row| row.is_tried(way)).collect();
    let next = AtomicUsize::new(0);
    let seen = Mutex::new(vec![<[String; 3]>::default(); rows.len()]);
    let work = || {
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(row) = rows.get(at) else { return };
            let cells = Trial::new(row, way).run();
            seen.lock().expect("no other thread panics")[at] = cells;
        }
    };
    thread::scope(|scope| (0..AT_A_TIME).for_each(|_| drop(scope.spawn(work))));
    let seen = seen.into_inner().expect("no thread panics");
    report(way, &rows, &seen);
    let wrong = rows.iter().zip(&seen).filter(|(row, seen)| row.expected(way) != **seen);
    let wrong: Vec<String> = wrong.map(|(row, seen)| format!("{}: {seen:?}", row.name())).collect();
    assert!(wrong.is_empty(), "{way:?}: these came otherwise than expected:\n{}", wrong.join("\n"));
}

/// The table as the README has it.
fn report(way: Way, rows: &[&Row], seen: &[[String; 3]]) {
    let head = "| what the plugin does | the host | other plugins | its own files |\n|---|---|---|---|\n";
    let lines = rows.iter().zip(seen).map(|(row, seen)| line(row, [seen.clone()].into_iter()));
    let table = format!("{head}{}", lines.collect::<String>());
    say(&format!("{way:?}\n{table}"));
    let name = format!("misbehaviours-{way:?}.md").to_lowercase();
    fs::write(target_directory().join(name), table).expect("the target directory is writable");
}

fn line(row: &Row, cells: impl Iterator<Item = [String; 3]>) -> String {
    format!("| {} | {} |\n", row.name(), cells.flatten().collect::<Vec<_>>().join(" | "))
}

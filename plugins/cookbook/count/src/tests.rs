use notifyit_plugin_api::json;
use notifyit_plugin_api::testing::TestHost;

use super::*;

fn started(file: &Path) -> TestHost {
    TestHost::start::<Count>(json!({ "file": file })).unwrap()
}

fn totals(file: &Path) -> String {
    let value: serde_json::Value = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
    value["files"].to_string()
}

#[test]
fn files_are_counted_by_their_ending() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("count.json");
    let mut host = started(&file);
    for name in ["a.jpg", "b.JPG", "c.pdf", "sub/none", ".hidden"] {
        host.write(name, "x").assert_done();
    }
    assert_eq!(totals(&file), r#"{"":2,"jpg":2,"pdf":1}"#);
}

#[test]
fn the_next_start_goes_on_and_counts_no_version_twice() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("count.json");
    let mut host = started(&file);
    host.write("a.jpg", "x").assert_done();
    host.shutdown().assert_done();
    let mut next = host.worker().unwrap();
    next.land("a.jpg").assert_done(); // The first host was killed before it knew it as finished.
    next.write("a.jpg", "another version").assert_done();
    assert_eq!(totals(&file), r#"{"jpg":2}"#);
}

#[test]
fn an_instance_that_takes_over_has_what_the_older_one_wrote_last() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("count.json");
    let mut old = started(&file);
    let mut new = old.worker().unwrap();
    old.write("a.jpg", "x").assert_done();
    old.shutdown().assert_done();
    new.write("b.jpg", "x").assert_done();
    assert_eq!(totals(&file), r#"{"jpg":2}"#);
}

#[test]
fn a_burst_that_cannot_be_written_comes_again_and_is_counted_once() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("gone/count.json");
    let host = started(&file);
    let burst = || [host.event("a.jpg").content("x"), host.event("b.jpg").content("x")];
    let again = || [host.event("a.jpg").attempt(2), host.event("b.jpg").attempt(2)];
    host.burst(burst()).iter().for_each(|verdict| verdict.assert_retry("count.json"));
    fs::create_dir(file.parent().unwrap()).unwrap();
    host.burst(again()).iter().for_each(|verdict| verdict.assert_done());
    assert_eq!(totals(&file), r#"{"jpg":2}"#);
}

#[test]
fn what_holds_no_totals_is_not_overwritten() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("notes.txt");
    fs::write(&file, "not mine").unwrap();
    let error = TestHost::start::<Count>(json!({ "file": file })).unwrap_err();
    assert!(error.to_string().contains("mend or remove it"), "{error:#}");
    fs::remove_file(&file).unwrap();
    let mut host = started(&file);
    fs::write(&file, "not mine").unwrap();
    host.write("a.jpg", "x").assert_unavailable("mend or remove it");
    assert_eq!(fs::read_to_string(&file).unwrap(), "not mine");
}

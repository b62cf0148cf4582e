use std::ffi::OsStr;

use notifyit_plugin_api::json;
use notifyit_plugin_api::testing::TestHost;

use super::*;

const OF_X: &str = "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881";

fn start() -> (TestHost, PathBuf, tempfile::TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let manifest = directory.path().join("SHA256SUMS");
    (TestHost::start::<Checksums>(json!({ "manifest": manifest })).unwrap(), manifest, directory)
}

#[test]
fn each_file_has_a_line_with_the_sum_of_its_last_version() {
    let (mut host, manifest, _directory) = start();
    host.write("b", "another").assert_done();
    host.write("a", "x").assert_done();
    host.write("b", "x").assert_done();
    host.land("b").assert_done();
    let root = host.root().display();
    assert_eq!(fs::read_to_string(manifest).unwrap(), format!("{OF_X}  {root}/a\n{OF_X}  {root}/b\n"));
}

#[test]
fn names_of_any_bytes_are_kept_over_a_restart() {
    let (mut host, manifest, _directory) = start();
    host.write(OsStr::from_bytes(b"new\nline\\ \xff"), "x").assert_done();
    let before = fs::read(&manifest).unwrap();
    assert!(before.starts_with(b"\\2d71") && before.ends_with(b"/new\\nline\\\\ \xff\n"), "{before:?}");
    host.shutdown().assert_done();
    let mut next = host.worker().unwrap();
    next.write("a", "x").assert_done();
    let after = fs::read(&manifest).unwrap();
    assert!(after.ends_with(&before) && after.len() > before.len());
}

#[test]
fn what_is_no_manifest_is_not_overwritten() {
    let directory = tempfile::tempdir().unwrap();
    let manifest = directory.path().join("notes");
    fs::write(&manifest, "not mine\n").unwrap();
    let start = || TestHost::start::<Checksums>(json!({ "manifest": manifest }));
    let error = start().unwrap_err();
    assert!(error.to_string().contains("mend or remove it"), "{error:#}");
    fs::remove_file(&manifest).unwrap();
    let mut host = start().unwrap();
    fs::write(&manifest, "not mine\n").unwrap();
    host.write("a", "x").assert_unavailable("mend or remove it");
    assert_eq!(fs::read_to_string(&manifest).unwrap(), "not mine\n");
}

#[test]
fn a_file_that_is_gone_is_no_entry() {
    let (host, manifest, _directory) = start();
    host.event("gone").missing().deliver().assert_retry("No such file");
    assert!(!manifest.exists());
}

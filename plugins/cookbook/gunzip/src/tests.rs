use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use notifyit_plugin_api::json;
use notifyit_plugin_api::testing::TestHost;

use super::*;

fn start(max_bytes: u64) -> (TestHost, tempfile::TempDir) {
    let out = tempfile::tempdir().unwrap();
    let config = json!({ "out": out.path(), "max_bytes": max_bytes });
    (TestHost::start::<Gunzip>(config).unwrap(), out)
}

fn packed(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

fn names(out: &Path) -> Vec<PathBuf> {
    fs::read_dir(out).unwrap().map(|entry| entry.unwrap().file_name().into()).collect()
}

#[test]
fn it_is_unpacked_under_its_path_without_the_ending() {
    let (mut host, out) = start(1000);
    host.write("sub/a.csv.gz", packed(b"a,b\n")).assert_done();
    host.land("sub/a.csv.gz").assert_done();
    assert_eq!(fs::read_to_string(out.path().join("sub/a.csv")).unwrap(), "a,b\n");
    assert_eq!(names(&out.path().join("sub")), [Path::new("a.csv")]);
    host.write("b.gz", [packed(b"one "), packed(b"two")].concat()).assert_done();
    assert_eq!(fs::read_to_string(out.path().join("b")).unwrap(), "one two");
}

#[test]
fn what_is_damaged_or_too_large_is_rejected_and_leaves_nothing() {
    let (mut host, out) = start(1000);
    let zeros = packed(&[0; 1001]);
    host.write("large.gz", &zeros).assert_reject("larger than 1000 bytes");
    host.write("cut.gz", &zeros[..zeros.len() - 9]).assert_reject("no gzip file");
    host.write("text.gz", "text").assert_reject("no gzip file");
    host.write("empty.gz", "").assert_reject("no gzip file");
    assert_eq!(names(out.path()), [""; 0].map(PathBuf::from));
}

#[test]
fn other_files_are_left_alone() {
    let (mut host, out) = start(1000);
    for name in ["a.txt", ".gz", "..gz", "...gz"] {
        host.write(name, "text").assert_done();
    }
    assert_eq!(names(out.path()), [""; 0].map(PathBuf::from));
}

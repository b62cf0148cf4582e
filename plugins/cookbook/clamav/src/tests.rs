use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::thread::JoinHandle;

use notifyit_plugin_api::json;
use notifyit_plugin_api::testing::TestHost;

use super::*;

/// A clamd that answers one request with this, and tells what it was sent.
fn clamd(directory: &Path, answer: &'static [u8]) -> (PathBuf, JoinHandle<Vec<u8>>) {
    let socket = directory.join("clamd.ctl");
    let listener = UnixListener::bind(&socket).unwrap();
    let thread = std::thread::spawn(move || {
        let mut stream = listener.accept().unwrap().0;
        let mut command = [0; 10];
        stream.read_exact(&mut command).unwrap();
        assert_eq!(&command, b"zINSTREAM\0");
        let mut content = Vec::new();
        loop {
            let mut length = [0; 4];
            stream.read_exact(&mut length).unwrap();
            let mut piece = vec![0; u32::from_be_bytes(length) as usize];
            if piece.is_empty() {
                break;
            }
            stream.read_exact(&mut piece).unwrap();
            content.extend(piece);
        }
        stream.write_all(answer).unwrap();
        content
    });
    (socket, thread)
}

#[test]
fn a_clean_file_is_sent_whole_and_done() {
    let directory = tempfile::tempdir().unwrap();
    let (socket, thread) = clamd(directory.path(), b"stream: OK\0");
    let mut host = TestHost::start::<ClamAv>(json!({ "socket": socket })).unwrap();
    let content = vec![7; 200_000];
    host.write("a", &content).assert_done();
    assert!(thread.join().unwrap() == content);
    assert!(host.emitted().is_empty());
}

#[test]
fn a_clean_file_is_handed_on_if_that_is_asked_for() {
    for (answer, is_clean) in [(&b"stream: OK\0"[..], true), (b"stream: Eicar-Signature FOUND\0", false)] {
        let directory = tempfile::tempdir().unwrap();
        let (socket, _) = clamd(directory.path(), answer);
        let mut host = TestHost::start::<ClamAv>(json!({ "socket": socket, "emits": true })).unwrap();
        assert_eq!(host.write("a", "x").is_done(), is_clean);
        assert_eq!(!host.emitted().is_empty(), is_clean);
    }
}

#[test]
fn an_infected_file_is_rejected_or_moved_away() {
    let directory = tempfile::tempdir().unwrap();
    let (socket, thread) = clamd(directory.path(), b"stream: Eicar-Signature FOUND\0");
    let mut host = TestHost::start::<ClamAv>(json!({ "socket": socket })).unwrap();
    host.write("a", "x").assert_reject("infected: Eicar-Signature");
    assert!(host.root().join("a").exists());
    thread.join().unwrap();

    let directory = tempfile::tempdir().unwrap();
    let quarantine = directory.path().join("quarantine");
    let (socket, thread) = clamd(directory.path(), b"stream: Eicar-Signature FOUND\0");
    let config = json!({ "socket": socket, "quarantine": quarantine });
    let mut host = TestHost::start::<ClamAv>(config).unwrap();
    host.write("sub/a", "x").assert_done();
    host.assert_logged("sub/a is infected: Eicar-Signature; it is now");
    thread.join().unwrap();
    assert!(!host.root().join("sub/a").exists());
    let moved: Vec<_> = fs::read_dir(&quarantine).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!((moved.len(), fs::read(&moved[0]).unwrap()), (1, b"x".to_vec()));
    assert_eq!(quarantine.metadata().unwrap().permissions().mode() & 0o777, 0o700);
}

#[test]
fn what_clamd_does_not_take_is_rejected_and_what_it_cannot_do_is_tried_again() {
    for (answer, is_reject) in [
        (&b"INSTREAM size limit exceeded. ERROR\0"[..], true),
        (b"stream: Can't allocate memory ERROR\0", false),
        (b"", false),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let (socket, thread) = clamd(directory.path(), answer);
        let mut host = TestHost::start::<ClamAv>(json!({ "socket": socket })).unwrap();
        let verdict = host.write("a", "x");
        assert_eq!((verdict.is_reject(), verdict.is_retry()), (is_reject, !is_reject), "{verdict:?}");
        thread.join().unwrap();
    }
}

#[test]
fn a_clamd_that_is_not_there_is_no_files_fault() {
    let mut host = TestHost::start::<ClamAv>(json!({ "socket": "/no/such/socket" })).unwrap();
    host.write("a", "x").assert_unavailable("clamd does not answer");
}

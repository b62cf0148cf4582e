//! Clients that say nothing, say too much, do not read or do not go: they hold up nobody.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;

use notifyit_tests::{DEADLINE, Running};
use rustix::process::Signal;

use super::{SOCKET, host, status};

fn connected(host: &Running) -> UnixStream {
    let stream = UnixStream::connect(host.temp().join(SOCKET)).expect("the host listens");
    stream.set_read_timeout(Some(DEADLINE)).expect("it is no zero");
    stream.set_write_timeout(Some(DEADLINE)).expect("it is no zero");
    stream
}

/// The answer to one who asks at once.
fn asked(host: &Running) -> String {
    let mut stream = connected(host);
    stream.write_all(b"status\n").expect("the host listens");
    answer(stream)
}

/// What comes back until the host closes.
fn answer(mut stream: UnixStream) -> String {
    let mut all = Vec::new();
    // What it has not read makes the end a reset.
    let _ = stream.read_to_end(&mut all);
    String::from_utf8(all).expect("it is JSON")
}

#[test]
fn a_line_is_answered_by_a_line_and_the_end() {
    let host = host().plugin("print").start();
    for request in ["status\n", "status\r\n", "status\nmore\n"] {
        let mut stream = connected(&host);
        stream.write_all(request.as_bytes()).unwrap();
        let answer = answer(stream);
        assert!(answer.starts_with("{\"v\":1,\"version\":") && answer.ends_with("}\n"), "{answer}");
    }
    let mut stream = connected(&host);
    stream.write_all(b"status").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    assert!(answer(stream).starts_with("{\"v\":1,"), "the end of what is said ends a line, too");
    let mut slow = connected(&host);
    for byte in b"status\n" {
        slow.write_all(&[*byte]).unwrap();
        assert!(asked(&host).starts_with("{\"v\":1,"));
    }
    assert!(answer(slow).starts_with("{\"v\":1,"));
}

#[test]
fn those_that_say_nothing_or_do_not_read_hold_up_nobody() {
    let host = host().plugin("print").start();
    let silent: Vec<UnixStream> = (0..64).map(|_| connected(&host)).collect();
    status(&host);
    host.alive("print");
    let unread: Vec<UnixStream> = (0..64)
        .map(|_| {
            let mut stream = connected(&host);
            stream.write_all(b"status\n").unwrap();
            stream
        })
        .collect();
    status(&host);
    // Each is closed, for the others or when its time is over.
    for stream in silent {
        assert_eq!(answer(stream), "");
    }
    drop(unread);
    status(&host);
    host.alive("print");
    host.stop().success();
}

#[test]
fn garbage_and_a_megabyte_are_answered_with_an_error_and_cost_no_memory() {
    let host = host().plugin("print").start();
    for request in [&b"\xff\0\n"[..], b"stop\n", b"\n", &[b'x'; 65], &vec![b'x'; 1 << 20]] {
        let mut stream = connected(&host);
        // It may be closed before all is said.
        let _ = stream.write_all(request);
        let answer = answer(stream);
        assert!(answer.is_empty() || answer.contains("unknown request"), "{answer}");
    }
    let mut talker = connected(&host);
    let written = (0..1024).take_while(|_| talker.write_all(&[b'x'; 1024]).is_ok()).count();
    assert!(written < 1024, "the host goes away");
    status(&host);
    host.alive("print");
    host.stop().success();
}

#[test]
fn a_stop_does_not_wait_for_them() {
    let [alone, host] = [(); 2].map(|()| host().plugin("print").start());
    let silent: Vec<UnixStream> = (0..8).map(|_| connected(&host)).collect();
    status(&host);
    [&alone, &host].iter().for_each(|host| host.signal(Signal::TERM));
    alone.wait().success();
    // Each has five seconds.
    let begin = std::time::Instant::now();
    host.wait().success();
    assert!(begin.elapsed() < std::time::Duration::from_secs(4), "{:?} longer", begin.elapsed());
    drop(silent);
}

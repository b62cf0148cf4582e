use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::thread::JoinHandle;

use notifyit_plugin_api::json;
use notifyit_plugin_api::testing::TestHost;

use super::*;

/// The lines of its head, and its body.
type Request = (Vec<String>, Vec<u8>);

/// Answers one request with this, and tells what it was.
fn answers(answer: &'static str) -> (String, JoinHandle<Request>) {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/in/", server.local_addr().unwrap());
    let thread = std::thread::spawn(move || {
        let mut stream = BufReader::new(server.accept().unwrap().0);
        let request = request(&mut stream).unwrap();
        write!(stream.get_mut(), "HTTP/1.1 {answer}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            .unwrap();
        request
    });
    (url, thread)
}

/// None when the client has nothing more to say.
fn request(stream: &mut impl BufRead) -> Option<Request> {
    let lines = stream.lines().map_while(Result::ok).take_while(|line| !line.is_empty());
    let head: Vec<String> = lines.map(|line| line.to_lowercase()).collect();
    let length = head.iter().find_map(|line| line.strip_prefix("content-length: "))?;
    let mut body = vec![0; length.parse().unwrap()];
    stream.read_exact(&mut body).unwrap();
    Some((head, body))
}

fn verdict(answer: &'static str) -> notifyit_plugin_api::Verdict {
    let (url, server) = answers(answer);
    let mut host = TestHost::start::<Upload>(json!({ "url": url })).unwrap();
    let verdict = host.write("a", "x");
    server.join().unwrap();
    verdict
}

#[test]
fn the_file_is_put_at_its_path_with_token_and_id() {
    let token = tempfile::NamedTempFile::new().unwrap();
    fs::write(&token, "secret\n").unwrap();
    let (url, server) = answers("201 Created");
    let config = json!({ "url": url, "token_file": token.path() });
    let mut host = TestHost::start::<Upload>(config).unwrap();
    host.write(OsStr::from_bytes(b"sub/a b\xff?.txt"), "content").assert_done();
    let (head, body) = server.join().unwrap();
    assert_eq!(head[0], "put /in/sub/a%20b%ff%3f.txt http/1.1");
    assert!(head.contains(&"authorization: bearer secret".to_owned()), "{head:?}");
    assert!(head.iter().any(|line| line.starts_with("idempotency-key: ") && line.len() == 33), "{head:?}");
    assert_eq!(body, b"content");
}

#[test]
fn an_answer_is_a_verdict() {
    verdict("204 No Content").assert_done();
    verdict("500 Internal Server Error").assert_retry("answers 500");
    verdict("408 Request Timeout").assert_retry("answers 408");
    verdict("503 Service Unavailable").assert_unavailable("answers 503");
    verdict("401 Unauthorized").assert_unavailable("does not let us in");
    verdict("413 Content Too Large").assert_reject("answers 413");
    verdict("307 Temporary Redirect\r\nLocation: http://127.0.0.1:9/").assert_reject("answers 307");
    let later = verdict("429 Too Many Requests\r\nRetry-After: 7");
    later.assert_retry("answers 429");
    assert_eq!(later.retry_after(), Some(Duration::from_secs(7)));
}

#[test]
fn a_server_that_is_not_there_is_no_files_fault() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", server.local_addr().unwrap());
    drop(server);
    let mut host = TestHost::start::<Upload>(json!({ "url": url })).unwrap();
    host.write("a", "x").assert_unavailable("not there");
}

#[test]
fn a_server_that_hangs_up_is_tried_again() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", server.local_addr().unwrap());
    let thread = std::thread::spawn(move || drop(server.accept().unwrap()));
    let mut host = TestHost::start::<Upload>(json!({ "url": url })).unwrap();
    host.write("a", "x").assert_retry("PUT http://");
    thread.join().unwrap();
}

#[test]
fn many_are_in_flight_on_as_many_connections() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", server.local_addr().unwrap());
    let connections = Arc::new(AtomicUsize::new(0));
    let opened = Arc::clone(&connections);
    std::thread::spawn(move || {
        // No request is answered before sixteen have come.
        let all = Arc::new(Barrier::new(16));
        for stream in server.incoming() {
            opened.fetch_add(1, Ordering::Relaxed);
            let (mut stream, all) = (BufReader::new(stream.unwrap()), Arc::clone(&all));
            std::thread::spawn(move || {
                while request(&mut stream).is_some() {
                    all.wait();
                    stream.get_mut().write_all(b"HTTP/1.1 204 No Content\r\n\r\n").unwrap();
                }
            });
        }
    });
    let mut host = TestHost::start::<Upload>(json!({ "url": url })).unwrap();
    host.set_timeout(Some(Duration::from_secs(5)));
    let names: Vec<String> = (0..48).map(|n| format!("{n}.txt")).collect();
    let verdicts = host.burst(names.iter().map(|name| host.event(name).content("x")));
    verdicts.iter().for_each(notifyit_plugin_api::Verdict::assert_done);
    assert_eq!(connections.load(Ordering::Relaxed), 16);
}

#[test]
fn a_server_that_never_answers_has_the_time_of_the_event() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", server.local_addr().unwrap());
    let host = TestHost::start::<Upload>(json!({ "url": url })).unwrap();
    let event = || host.event("a").content("x").timeout(Duration::from_millis(200));
    event().deliver().assert_retry("timeout");
    drop(server);
}

#[test]
fn what_is_no_address_is_refused_at_the_start() {
    let start = TestHost::start::<Upload>(json!({ "url": "files.example/in" }));
    assert!(start.is_err_and(|error| error.is::<Reject>()));
}

#[test]
fn without_tls_an_https_address_is_refused_at_the_start() {
    let start = TestHost::start::<Upload>(json!({ "url": "https://files.example" }));
    assert_eq!(start.is_err_and(|error| error.is::<Reject>()), !cfg!(feature = "tls"));
}

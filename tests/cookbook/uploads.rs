//! `upload`, with a server that answers when it is told to.

use std::collections::BTreeSet;
use std::fs;
use std::io::{ErrorKind, Read};
use std::net::TcpListener;

use notifyit_tests::{DEADLINE, Host, Running};
use rustix::process::Signal;

use super::host;
use super::servers::{Server, http};
use crate::state::Site;

fn uploading(server: &Server) -> Host {
    host("upload").set(&format!("upload.url=\"{}/in\"", server.url))
}

fn wait_for_requests(host: &Running, server: &Server, count: usize) {
    let what = format!("{count} requests, not {}", server.requests().len());
    host.wait_for(&what, |_| (server.requests().len() >= count).then_some(()));
}

/// The files of which it was told.
fn files(server: &Server) -> BTreeSet<String> {
    server.requests().into_iter().map(|(line, _)| line).collect()
}

#[test]
fn upload_waits_for_its_server_and_loses_no_file() {
    let server = http(&["503 Service Unavailable", "413 Content Too Large"]);
    let host = uploading(&server).start();
    host.write("a b.txt", "first");
    host.logged(&["upload", "a b.txt", "413"]);
    host.write("c.txt", "second");
    wait_for_requests(&host, &server, 3);
    let request = |name: &str, body: &str| (format!("PUT /in/{name} HTTP/1.1"), body.to_owned());
    let first = request("a%20b.txt", "first");
    assert_eq!(server.requests(), [first.clone(), first, request("c.txt", "second")]);
    host.stop().success();
}

#[test]
fn as_many_files_are_in_flight_as_the_plugin_takes_and_the_user_allows() {
    for (allowed, most) in [(None, 16), (Some(4), 4)] {
        let server = http(&[]);
        let host = uploading(&server).plugin("print");
        let host = match allowed {
            Some(allowed) => host.set(&format!("plugin.upload.in_flight={allowed}")),
            None => host,
        };
        let host = host.start();
        let held = server.hold();
        (0..40).for_each(|n| host.write(format!("{n}.txt"), "x"));
        wait_for_requests(&host, &server, most);
        // Time for more, if there were any.
        host.all_handled("print", (0..40).map(|n| format!("{n}.txt")));
        assert_eq!(server.requests().len(), most);
        drop(held);
        wait_for_requests(&host, &server, 40);
        host.stop().success();
        assert_eq!((server.requests().len(), files(&server).len()), (40, 40), "each once");
    }
}

#[test]
fn an_outage_with_many_in_flight_costs_no_file_an_attempt() {
    let server = http(&["503 Service Unavailable"; 16]);
    let host = uploading(&server).set("plugin.upload.retry.attempts=1").start();
    let held = server.hold();
    (0..20).for_each(|n| host.write(format!("{n}.txt"), "x"));
    wait_for_requests(&host, &server, 16);
    drop(held);
    wait_for_requests(&host, &server, 36);
    host.logged(&["upload", "answers 503"]);
    let exit = host.stop();
    exit.success();
    assert_eq!((server.requests().len(), files(&server).len()), (36, 20));
    assert_eq!(exit.lines(&["gave up"]).len(), 0, "{}", exit.stderr());
}

#[test]
fn a_kill_with_uploads_in_flight_loses_none() {
    let (site, server) = (Site::new(), http(&[]));
    let start = || {
        let host = uploading(&server).watching([site.root()]);
        host.arg("--state-dir").arg(site.0.path().join("state")).start()
    };
    let host = start();
    let held = server.hold();
    (0..40).for_each(|n| site.write(format!("{n}.txt"), "x"));
    wait_for_requests(&host, &server, 16);
    host.signal(Signal::KILL);
    host.wait();
    drop(held);
    let host = start();
    // Of those that were in flight the server had heard before, and hears again.
    wait_for_requests(&host, &server, 56);
    host.stop().success();
    assert_eq!((server.requests().len(), files(&server).len()), (56, 40));
}

#[test]
fn what_is_in_flight_when_the_plugin_has_to_go_is_hung_up() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let host = host("upload").set(&format!("upload.url=\"http://{}\"", server.local_addr().unwrap()));
    let host = host.set("host.grace='100ms'").start();
    host.write("a.txt", "x");
    let (mut stream, _) = server.accept().unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    fs::remove_file(host.plugins().join("libnotifyit_upload.so")).unwrap();
    let mut request = Vec::new();
    let end = stream.read_to_end(&mut request).map_err(|error| error.kind());
    assert!(matches!(end, Ok(_) | Err(ErrorKind::ConnectionReset)), "{end:?}: {}", host.log());
    assert!(request.starts_with(b"PUT /a.txt "));
    host.stop().success();
}

//! What the cookbook's plugins talk to. Each serves until the test's process ends.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::{Arc, Mutex};

/// The requests that a server has had: first line and body.
pub(super) type Requests = Arc<Mutex<Vec<(String, String)>>>;

/// An HTTP server: its address, and what it was asked. It gives these answers in turn, then `204`.
pub(super) fn http(answers: &'static [&'static str]) -> (String, Requests) {
    let server = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", server.local_addr().expect("it is bound"));
    let requests = Requests::default();
    let had = Arc::clone(&requests);
    std::thread::spawn(move || {
        for (stream, n) in server.incoming().flatten().zip(0..) {
            let mut stream = BufReader::new(stream);
            let Some(request) = request(&mut stream) else { continue };
            had.lock().expect("no test panics with it").push(request);
            let answer = answers.get(n).unwrap_or(&"204 No Content");
            let end = "Content-Length: 0\r\nConnection: close\r\n\r\n";
            let _ = write!(stream.get_mut(), "HTTP/1.1 {answer}\r\n{end}");
        }
    });
    (url, requests)
}

fn request(stream: &mut impl BufRead) -> Option<(String, String)> {
    let mut head = Vec::new();
    for line in stream.lines() {
        match line.ok()? {
            line if line.is_empty() => break,
            line => head.push(line),
        }
    }
    let length =
        head.iter().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
    let mut body = vec![0; length?];
    stream.read_exact(&mut body).ok()?;
    Some((head.swap_remove(0), String::from_utf8_lossy(&body).into_owned()))
}

/// A clamd at this socket, to which each file with the text `EICAR` in it is infected.
pub(super) fn clamd(socket: &Path) {
    let server = UnixListener::bind(socket).expect("a new socket");
    std::thread::spawn(move || {
        for mut stream in server.incoming().flatten() {
            let Some(content) = instream(&mut stream) else { continue };
            let is_infected = content.windows(5).any(|text| text == b"EICAR");
            let answer: &[u8] = if is_infected { b"stream: Eicar-Test FOUND\0" } else { b"stream: OK\0" };
            let _ = stream.write_all(answer);
        }
    });
}

fn instream(stream: &mut UnixStream) -> Option<Vec<u8>> {
    let mut command = [0; 10];
    stream.read_exact(&mut command).ok()?;
    assert_eq!(&command, b"zINSTREAM\0");
    let mut content = Vec::new();
    loop {
        let mut length = [0; 4];
        stream.read_exact(&mut length).ok()?;
        let mut piece = vec![0; usize::try_from(u32::from_be_bytes(length)).ok()?];
        if piece.is_empty() {
            return Some(content);
        }
        stream.read_exact(&mut piece).ok()?;
        content.extend(piece);
    }
}

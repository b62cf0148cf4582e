//! What the cookbook's plugins talk to. Each serves until the test's process ends.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::{Arc, Mutex, RwLock};
use std::thread;

/// An HTTP server.
pub(crate) struct Server {
    pub(crate) url: String,
    had: Arc<Mutex<Vec<Request>>>,
    gate: Arc<RwLock<()>>,
}

/// A request's first line, and its body.
type Request = (String, String);

/// It gives these answers, in the order in which it was asked, then `204`.
pub(crate) fn http(answers: &'static [&'static str]) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("it is bound"));
    let server = Server { url, had: Arc::default(), gate: Arc::default() };
    let (had, gate) = (Arc::clone(&server.had), Arc::clone(&server.gate));
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (had, gate) = (Arc::clone(&had), Arc::clone(&gate));
            thread::spawn(move || answer(BufReader::new(stream), answers, &had, &gate));
        }
    });
    server
}

impl Server {
    /// What it was asked so far.
    pub(crate) fn requests(&self) -> Vec<Request> {
        self.had.lock().expect("nobody panics with it").clone()
    }

    /// It answers nothing for as long as this is kept.
    pub(super) fn hold(&self) -> impl Sized + '_ {
        self.gate.write().expect("nobody panics with it")
    }
}

fn answer(
    mut stream: BufReader<TcpStream>,
    answers: &[&str],
    had: &Mutex<Vec<Request>>,
    gate: &RwLock<()>,
) -> Option<()> {
    loop {
        let request = request(&mut stream)?;
        let mut had = had.lock().ok()?;
        let answer = answers.get(had.len()).unwrap_or(&"204 No Content");
        had.push(request);
        drop(had);
        let is_open = gate.read();
        write!(stream.get_mut(), "HTTP/1.1 {answer}\r\nContent-Length: 0\r\n\r\n").ok()?;
        drop(is_open);
    }
}

fn request(stream: &mut impl BufRead) -> Option<Request> {
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
    thread::spawn(move || {
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

use std::ffi::OsStr;
use std::io::{self, Read};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use notifyit_plugin_api::testing::TestHost;
use notifyit_plugin_api::{Verdict, json};
use rustix::io::ioctl_fionbio;
use rustix::pipe::{PipeFlags, pipe_with};

use super::*;

/// The printer before an output that a test has left here.
struct Piped {
    printer: Printer<Medium>,
}

#[config]
struct PipedConfig {
    form: Format,
    #[serde(default)]
    terminal: bool,
    medium: usize,
}

static MEDIA: Mutex<Vec<Option<Medium>>> = Mutex::new(Vec::new());

impl Plugin for Piped {
    type Config = PipedConfig;

    fn new(config: PipedConfig, host: Host) -> Result<Self> {
        let medium = MEDIA.lock().unwrap()[config.medium].take().unwrap();
        let output = Output::new(medium, Box::leak(Box::default()));
        Ok(Piped { printer: Printer::new(output, Form::new(config.form, config.terminal), host) })
    }

    fn on_event(&mut self, event: &Event<'_>) -> Result<()> {
        self.printer.print(event);
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        self.printer.flush()
    }
}

/// What a test writes to.
enum Medium {
    File(File),
    Disk(Disk),
}

/// A disk with so many bytes left.
#[derive(Clone, Default)]
struct Disk(Arc<Mutex<DiskState>>);

#[derive(Default)]
struct DiskState {
    room: usize,
    content: Vec<u8>,
    writes: usize,
}

impl Disk {
    fn with_room(room: usize) -> Disk {
        let disk = Disk::default();
        disk.free(room);
        disk
    }

    fn free(&self, room: usize) {
        self.0.lock().unwrap().room = room;
    }

    fn bytes(&self) -> Vec<u8> {
        self.0.lock().unwrap().content.clone()
    }

    fn text(&self) -> String {
        String::from_utf8(self.bytes()).unwrap()
    }
}

impl Write for Medium {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let disk = match self {
            Medium::File(file) => return file.write(bytes),
            Medium::Disk(disk) => disk,
        };
        let mut disk = disk.0.lock().unwrap();
        let n = bytes.len().min(disk.room);
        if n == 0 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        disk.room -= n;
        disk.writes += 1;
        disk.content.extend_from_slice(&bytes[..n]);
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl AsFd for Medium {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Medium::File(file) => file.as_fd(),
            Medium::Disk(_) => unreachable!("a disk never blocks"),
        }
    }
}

/// Leaves it where a `Piped` finds it.
fn leave(medium: Medium) -> usize {
    let mut media = MEDIA.lock().unwrap();
    media.push(Some(medium));
    media.len() - 1
}

fn start(medium: Medium, form: &str) -> TestHost {
    let index = leave(medium);
    TestHost::start::<Piped>(json!({"form": form, "medium": index})).unwrap()
}

fn on_disk(room: usize, form: &str) -> (TestHost, Disk) {
    let disk = Disk::with_room(room);
    (start(Medium::Disk(disk.clone()), form), disk)
}

fn on_pipe() -> (TestHost, File, OwnedFd) {
    let (read, write) = pipe_with(PipeFlags::CLOEXEC).unwrap();
    let again = write.try_clone().unwrap();
    (start(Medium::File(write.into()), "text"), read.into(), again)
}

fn close_write(host: &TestHost, name: &str) -> Verdict {
    host.event(name).kind(Kind::CloseWrite).deliver()
}

#[test]
fn text_is_the_path_and_a_newline_as_they_are() {
    let (mut host, disk) = on_disk(1000, "text");
    let name = OsStr::from_bytes(b"a b\x1b\xff");
    host.write(name, "x").assert_done();
    assert_eq!(disk.bytes(), [host.root().join(name).as_os_str().as_bytes(), b"\n"].concat());
}

#[test]
fn nul_ends_each_path_with_a_nul() {
    let (mut host, disk) = on_disk(1000, "nul");
    host.write("new\nline", "x");
    host.write("b", "x");
    let root = host.root().display();
    assert_eq!(disk.text(), format!("{root}/new\nline\0{root}/b\0"));
}

#[test]
fn json_is_the_event_on_one_line() {
    let (mut host, disk) = on_disk(10_000, "json");
    host.write("new\nline", "four");
    let text = disk.text();
    let lines: Vec<&str> = text.lines().collect();
    let [line] = lines[..] else { panic!("{lines:?}") };
    let value: notifyit_plugin_api::serde_json::Value =
        notifyit_plugin_api::serde_json::from_str(line).unwrap();
    assert_eq!((&value["v"], &value["name"], &value["size"]), (&json!(1), &json!("new\nline"), &json!(4)));
}

#[test]
fn a_burst_is_one_write_and_a_flood_is_few() {
    let (mut host, disk) = on_disk(usize::MAX, "text");
    for i in 0..100 {
        close_write(&host, &format!("{i}")).assert_done();
    }
    assert_eq!(disk.0.lock().unwrap().writes, 0, "before the end of the burst");
    host.flush().assert_done();
    assert_eq!(disk.0.lock().unwrap().writes, 1);
    host.flush().assert_done();
    assert_eq!(disk.0.lock().unwrap().writes, 1, "an empty burst");
    let long = "x".repeat(250);
    for i in 0..1000 {
        close_write(&host, &format!("{i}{long}"));
    }
    host.flush().assert_done();
    let state = disk.0.lock().unwrap();
    assert!(state.writes <= 1 + state.content.len() / FULL + 1, "{} writes", state.writes);
    assert_eq!(state.content.iter().filter(|b| **b == b'\n').count(), 1100);
}

#[test]
fn a_line_torn_by_a_full_disk_is_completed_and_none_is_doubled() {
    let (mut host, disk) = on_disk(0, "text");
    let line = format!("{}/a\n", host.root().display()).len();
    disk.free(line + line / 2);
    for name in ["a", "b", "c"] {
        close_write(&host, name).assert_done();
    }
    host.flush().assert_retry("failed to write to standard output: ");
    disk.free(3); // Still not enough for the torn line's rest.
    host.deliver(Kind::CloseWrite, "b", 2).assert_done();
    host.flush().assert_retry("");
    disk.free(usize::MAX);
    for (name, attempt) in [("c", 2), ("a", 2), ("b", 3)] {
        host.deliver(Kind::CloseWrite, name, attempt).assert_done();
    }
    host.flush().assert_done();
    close_write(&host, "a");
    assert!(host.flush().is_done(), "another close of the same version");
    let root = host.root().display();
    assert_eq!(disk.text(), format!("{root}/a\n{root}/b\n{root}/c\n{root}/a\n"));
}

#[test]
fn an_error_in_the_middle_of_a_burst_fails_the_whole_burst() {
    let (mut host, disk) = on_disk(10, "text");
    let long = "x".repeat(250);
    for i in 0..1000 {
        close_write(&host, &format!("{i}{long}")).assert_done();
    }
    disk.free(usize::MAX);
    assert!(host.flush().is_retry());
    assert_eq!(disk.text().len(), 10, "nothing is written behind the gap");
    for i in 0..1000 {
        host.deliver(Kind::CloseWrite, format!("{i}{long}"), 2);
    }
    host.flush().assert_done();
    let root = host.root().display();
    let expected: String = (0..1000).map(|i| format!("{root}/{i}{long}\n")).collect();
    assert_eq!(disk.text(), expected);
}

#[test]
fn a_broken_pipe_stops_the_host_once_and_is_no_error() {
    let _nobody_starts = STARTING.lock().unwrap();
    let (mut host, reader, writer) = on_pipe();
    drop(writer);
    host.write("a", "x").assert_done();
    assert_eq!(host.stopped(), None);
    drop(reader);
    for name in ["b", "c"] {
        host.write(name, "x").assert_done();
    }
    assert_eq!(host.stopped().as_deref(), Some("nobody reads standard output any more"));
    assert_eq!(host.logs(), [""; 0]);
}

#[test]
fn a_non_blocking_output_that_is_full_is_waited_for() {
    let (mut host, mut reader, writer) = on_pipe();
    ioctl_fionbio(&writer, true).unwrap();
    drop(writer);
    let reading = std::thread::spawn(move || {
        let mut text = String::new();
        reader.read_to_string(&mut text).map(|_| text)
    });
    let long = "x".repeat(250);
    for i in 0..2000 {
        close_write(&host, &format!("{i}{long}")).assert_done();
    }
    host.flush().assert_done();
    let root = host.root().to_owned();
    drop(host);
    let text = reading.join().unwrap().unwrap();
    let expected: String = (0..2000).map(|i| format!("{}/{i}{long}\n", root.display())).collect();
    assert!(text == expected, "{} bytes instead of {}", text.len(), expected.len());
}

#[test]
fn what_is_shown_on_a_terminal_is_escaped() {
    let disk = Disk::with_room(1000);
    let index = leave(Medium::Disk(disk.clone()));
    let config = json!({"form": "text", "medium": index, "terminal": true});
    let mut host = TestHost::start::<Piped>(config).unwrap();
    host.write("\u{1b}[2J\n", "x");
    assert_eq!(disk.text(), format!("{}/\\x1b[2J\\n\n", host.root().display()));
}

#[test]
fn a_wrong_format_is_refused_by_name() {
    let error = TestHost::start::<Print>(json!({"format": "xml"})).unwrap_err().to_string();
    assert_eq!(
        error,
        "configuration: key `format`: unknown variant `xml`, expected one of `text`, `json`, `nul`"
    );
    let error = TestHost::start::<Print>(json!({"formt": "json"})).unwrap_err().to_string();
    assert_eq!(error, "configuration: unknown key `formt`");
}

/// Runs `tests::in_a_process_of_its_own` with this standard output.
/// A process that is being started has what is open here, until its own exec: then a pipe has one reader more.
static STARTING: Mutex<()> = Mutex::new(());

fn in_another_process(stdout: Stdio) -> std::process::Output {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "tests::in_a_process_of_its_own", "--ignored", "--nocapture"]);
    command.stdout(stdout).stderr(Stdio::piped());
    let starting = STARTING.lock().unwrap();
    let child = command.spawn().unwrap();
    drop(starting);
    child.wait_with_output().unwrap()
}

#[test]
#[ignore = "run by the two below, with a standard output of their own"]
fn in_a_process_of_its_own() {
    let mut host = TestHost::start::<Print>(json!({})).unwrap();
    host.write("printed", "x").assert_done();
}

#[test]
fn it_prints_to_standard_output() {
    let output = in_another_process(Stdio::piped());
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.lines().any(|line| line.ends_with("/printed")), "{text}");
}

#[test]
fn a_standard_output_that_cannot_be_written_to_is_refused_at_start() {
    let output = in_another_process(File::open("/dev/null").unwrap().into());
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("failed to open standard output: it is not open for writing"), "{text}");
}

/// Prints its event many times over, and says how long one took.
struct Measured(Piped);

impl Plugin for Measured {
    type Config = PipedConfig;

    fn new(config: PipedConfig, host: Host) -> Result<Self> {
        Piped::new(config, host).map(Measured)
    }

    fn on_event(&mut self, event: &Event<'_>) -> Result<()> {
        for _ in 0..20 {
            let start = Instant::now();
            for _ in 0..1000 {
                self.0.on_event(event)?;
            }
            let each = start.elapsed() / 1000;
            self.0.flush()?;
            notifyit_plugin_api::log::info!("{each:?} each");
        }
        Ok(())
    }
}

/// `cargo test --release -p notifyit-print -- --ignored --nocapture time_of_an_event`
#[test]
#[ignore = "a measurement"]
fn time_of_an_event() {
    let index = leave(Medium::File(File::options().write(true).open("/dev/null").unwrap()));
    let host = TestHost::start::<Measured>(json!({"form": "text", "medium": index})).unwrap();
    close_write(&host, "sub/a-name-of-usual-length.txt");
    std::io::stderr().write_all(host.logs().join("\n").as_bytes()).unwrap();
}

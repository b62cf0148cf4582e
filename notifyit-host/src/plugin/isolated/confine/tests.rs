//! Each restriction in a child that confines itself, tries what it must not do, and says how it went. The child is the
//! test itself, started once more.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use expect_test::expect;
use rustix::fs::{CWD, FileType, mknodat};
use rustix::process::{getgroups, getpid, getrlimit, getsid, parent_process_death_signal, test_kill_process};
use rustix::thread::{CapabilitiesSecureBits, set_capabilities_secure_bits};

use super::*;
use crate::config::Sandbox;
use crate::plugin::load;
use crate::plugin::stage::Staging;
use crate::plugin::tests::built;

const PLACE: &str = "NOTIFYIT_TEST_PLACE";
const PART: &str = "NOTIFYIT_TEST_PART";

/// What a child has said, and how it ended.
#[derive(Debug)]
struct Ended {
    said: String,
    status: ExitStatus,
}

/// This test once more, in a process of its own, as this part of it.
fn again(test: &str, part: &str, place: &Path) -> Command {
    let module = module_path!().split_once("::").unwrap().1;
    let mut command = Command::new("/proc/self/exe");
    command.args(["--exact", "--nocapture", &format!("{module}::{test}")]);
    command.env(PLACE, place).env(PART, part);
    command
}

/// In the child: where it may work, and as which part.
fn as_a_child() -> Option<(PathBuf, String)> {
    Some((std::env::var_os(PLACE)?.into(), std::env::var(PART).ok()?))
}

fn say(what: impl std::fmt::Display) {
    writeln!(io::stdout(), "\nsaid: {what}").unwrap();
}

/// A directory that everyone can reach.
fn place() -> tempfile::TempDir {
    let place = tempfile::tempdir().unwrap();
    fs::set_permissions(place.path(), Permissions::from_mode(0o755)).unwrap();
    place
}

/// Runs `child` in a child, with a directory that everyone can reach; what it returns is what it says.
fn in_a_child(test: &str, child: impl FnOnce(&Path) -> String) -> Ended {
    if let Some((place, _)) = as_a_child() {
        say(child(&place));
        std::process::exit(0);
    }
    let place = place();
    let output = again(test, "child", place.path()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let said = text.split_once("\nsaid: ").map(|(_, said)| said.to_owned());
    let said = said.unwrap_or_else(|| format!("nothing: {text}{}", String::from_utf8_lossy(&output.stderr)));
    Ended { said: said.trim().to_owned() + "\n", status: output.status }
}

/// Confines this process as a child of the test.
fn confined(confinement: &Confinement, roots: &[PathBuf]) -> Result<Vec<String>, String> {
    let host = u32::try_from(getppid().unwrap().as_raw_nonzero().get()).unwrap();
    confine(confinement, roots, host, File::open("/proc/self/exe").unwrap())
}

fn is_root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        writeln!(io::stderr(), "skipped: needs root").unwrap();
    }
    root
}

/// Is all of Landlock there that a sandbox uses?
fn has_landlock() -> bool {
    let lacks = as_a_child().is_none() && {
        let said = required().said;
        said.contains("the sandbox leaves open") || said.contains("there is no sandbox")
    };
    if lacks {
        writeln!(io::stderr(), "skipped: needs all of Landlock that Linux 6.12 has").unwrap();
    }
    !lacks
}

/// What comes of a sandbox that is required.
fn required() -> Ended {
    in_a_child("a_sandbox_that_is_required_is_there", |_| {
        format!("{:?}", confined(&sandboxed(Sandbox { require: true, ..Sandbox::default() }), &[]))
    })
}

fn nobody() -> Confinement {
    Confinement { user: Some("nobody".to_owned()), ..Confinement::default() }
}

fn limited(limits: Limits) -> Confinement {
    Confinement { limits, ..Confinement::default() }
}

fn sandboxed(sandbox: Sandbox) -> Confinement {
    Confinement { sandbox: Some(sandbox), ..Confinement::default() }
}

/// `ok`, or the kind of error.
fn how<T, E: Into<io::Error>>(result: Result<T, E>) -> String {
    match result {
        Ok(_) => "ok".to_owned(),
        Err(error) => format!("{:?}", error.into().kind()),
    }
}

/// A line of this thread's status.
fn status(key: &str) -> String {
    let status = fs::read_to_string("/proc/thread-self/status").unwrap();
    status.lines().find_map(|line| line.strip_prefix(key)).unwrap().trim_start_matches(':').trim().to_owned()
}

/// One line a try.
fn lines(tries: &[(&str, String)]) -> String {
    tries.iter().map(|(what, how)| format!("{what}: {how}\n")).collect()
}

#[test]
fn every_worker_is_confined_a_little() {
    let ended = in_a_child("every_worker_is_confined_a_little", |_| {
        assert_eq!(confined(&Confinement::default(), &[]), Ok(vec![]));
        lines(&[
            ("a session of its own", (getsid(None).unwrap() == getpid()).to_string()),
            ("no_new_privs", status("NoNewPrivs")),
            ("oom_score_adj", fs::read_to_string("/proc/self/oom_score_adj").unwrap().trim().to_owned()),
            ("core", format!("{:?}", getrlimit(Resource::Core).maximum)),
            (
                "at the host's end",
                format!("{:?}", parent_process_death_signal().unwrap() == Some(Signal::KILL)),
            ),
        ])
    });
    expect![[r#"
        a session of its own: true
        no_new_privs: 1
        oom_score_adj: 500
        core: Some(1)
        at the host's end: true
    "#]]
    .assert_eq(&ended.said);
}

#[test]
fn a_worker_whose_host_has_ended_goes_no_further() {
    let ended = in_a_child("a_worker_whose_host_has_ended_goes_no_further", |_| {
        confine(&Confinement::default(), &[], 1, io::stdin()).unwrap_err()
    });
    assert_eq!(ended.said, "its host has ended\n");
}

#[test]
fn a_worker_dies_with_its_host() {
    const TEST: &str = "a_worker_dies_with_its_host";
    match as_a_child() {
        Some((place, part)) if part == "host" => {
            let mut worker = again(TEST, "worker", &place).spawn().unwrap();
            worker.wait().unwrap();
        }
        Some(_) => {
            // The kernel forgets the wish at a change of user.
            let user = if is_root() { nobody().user } else { None };
            confined(&Confinement { user, sandbox: Some(Sandbox::default()), ..nobody() }, &[]).unwrap();
            say("confined");
            // The test's deadline: killed long before.
            std::thread::sleep(Duration::from_secs(20));
            say("alive");
        }
        None => {
            let place = place();
            let mut host = again(TEST, "host", place.path()).stdout(Stdio::piped()).spawn().unwrap();
            let mut said = BufReader::new(host.stdout.take().unwrap());
            let mut line = String::new();
            while !line.contains("said: confined") {
                line.clear();
                assert!(said.read_line(&mut line).unwrap() > 0, "the worker has ended too early");
            }
            host.kill().unwrap();
            host.wait().unwrap();
            let mut rest = String::new();
            said.read_to_string(&mut rest).unwrap();
            assert!(!rest.contains("alive"), "{rest}");
        }
    }
}

#[test]
fn what_it_makes_has_its_umask() {
    let ended = in_a_child("what_it_makes_has_its_umask", |place| {
        confined(&Confinement { umask: Some(0o027), ..Confinement::default() }, &[]).unwrap();
        let file = File::create(place.join("new")).unwrap();
        format!("{:o}", file.metadata().unwrap().permissions().mode() & 0o777)
    });
    assert_eq!(ended.said, "640\n");
}

#[test]
fn what_it_uses_up_is_limited() {
    let ended = in_a_child("what_it_uses_up_is_limited", |place| {
        let limits = Limits {
            memory: Some(1 << 30),
            open_files: Some(100),
            file_size: Some(1000),
            ..Limits::default()
        };
        confined(&limited(limits), &[]).unwrap();
        let mut file = File::create(place.join("new")).unwrap();
        let null = || File::open("/dev/null");
        let open: Vec<_> = std::iter::repeat_with(null).take_while(Result::is_ok).take(200).collect();
        let open = open.len();
        lines(&[
            ("2 GiB", Vec::<u8>::new().try_reserve_exact(2 << 30).is_ok().to_string()),
            ("100 files", (open < 100).to_string()),
            ("1000 bytes", how(file.write_all(&[0; 1000]))),
            ("1 more", how(file.write_all(&[0]))),
        ])
    });
    expect![[r#"
        2 GiB: false
        100 files: true
        1000 bytes: ok
        1 more: FileTooLarge
    "#]]
    .assert_eq(&ended.said);
}

#[test]
fn one_that_uses_up_its_time_ends_by_a_signal_that_says_so() {
    let ended = in_a_child("one_that_uses_up_its_time_ends_by_a_signal_that_says_so", |_| {
        confined(&limited(Limits { cpu: Some(Duration::from_millis(500)), ..Limits::default() }), &[])
            .unwrap();
        let begin = std::time::Instant::now();
        while begin.elapsed() < Duration::from_secs(60) {}
        "still here".to_owned()
    });
    assert_eq!(ended.status.signal(), Some(libc::SIGXCPU), "{ended:?}");
}

#[test]
fn it_becomes_another_user_for_good() {
    if !is_root() {
        return;
    }
    let ended = in_a_child("it_becomes_another_user_for_good", |place| {
        fs::write(place.join("secret"), "x").unwrap();
        fs::set_permissions(place.join("secret"), Permissions::from_mode(0o600)).unwrap();
        // As a host's supervisor may have set it: the kernel then takes no capabilities from who stops being root.
        set_capabilities_secure_bits(CapabilitiesSecureBits::NO_SETUID_FIXUP).unwrap();
        let limits = Limits { processes: Some(1), ..Limits::default() };
        assert_eq!(confined(&Confinement { limits, ..nobody() }, &[]), Ok(vec![]));
        let groups: Vec<u32> = getgroups().unwrap().iter().map(|group| group.as_raw()).collect();
        let root = nix::unistd::Uid::from_raw(0);
        lines(&[
            ("user", status("Uid")),
            ("group", status("Gid")),
            ("groups", format!("{groups:?}")),
            ("capabilities", status("CapPrm")),
            ("root again", how(nix::unistd::setresuid(root, root, root))),
            ("a secret of root's", how(fs::read(place.join("secret")))),
            ("one process more", Command::new("/bin/true").status().is_err().to_string()),
        ])
    });
    expect![[r#"
        user: 65534	65534	65534	65534
        group: 65534	65534	65534	65534
        groups: [65534]
        capabilities: 0000000000000000
        root again: PermissionDenied
        a secret of root's: PermissionDenied
        one process more: true
    "#]]
    .assert_eq(&ended.said);
}

#[test]
fn a_user_that_it_cannot_become_is_an_error() {
    if !is_root() {
        return;
    }
    let ended = in_a_child("a_user_that_it_cannot_become_is_an_error", |_| {
        let unknown = user::become_user("no-such-user").unwrap_err();
        confined(&nobody(), &[]).unwrap();
        user::become_user("65534").expect("it is that user already");
        let denied = user::become_user("root").unwrap_err();
        // A host that only asks is told the same.
        assert_eq!(user::check("no-such-user"), Err(unknown.clone()));
        assert_eq!(user::check("root"), Err(denied.clone()));
        assert_eq!(user::check("65534"), Ok(()));
        format!("{unknown}\n{denied}")
    });
    assert_eq!(user::check("nobody"), Ok(()), "root may become anyone");
    expect![[r#"
        there is no user `no-such-user`; add it, or name another in user = "…"
        failed to become the user `root`: Operation not permitted (os error 1); only a host that is root can do that
    "#]]
    .assert_eq(&ended.said);
}

#[test]
fn what_root_escapes_is_said() {
    let ended = in_a_child("what_root_escapes_is_said", |_| {
        let limits = Limits { processes: Some(1), ..Limits::default() };
        let notices = confined(&Confinement { limits, ..sandboxed(Sandbox::default()) }, &[]).unwrap();
        notices.join("\n")
    });
    if is_root() && has_landlock() {
        expect![[r#"
            limits.processes does not bind root; add a user
            a sandbox does not hold root, which may change permissions everywhere; add a user
        "#]]
        .assert_eq(&ended.said);
    }
}

#[test]
fn a_sandbox_that_is_required_is_there() {
    let ended = required();
    if has_landlock() {
        assert!(ended.said.starts_with("Ok("), "{ended:?}");
    }
}

#[test]
fn a_sandbox_lets_it_read_the_watched_and_what_programs_need() {
    if !has_landlock() {
        return;
    }
    let ended = in_a_child("a_sandbox_lets_it_read_the_watched_and_what_programs_need", |place| {
        let at = |path: &str| place.join(path);
        for directory in ["in/deep", "out", "tool"] {
            fs::create_dir_all(at(directory)).unwrap();
        }
        for file in ["in/deep/file", "secret", "colours"] {
            fs::write(at(file), "x").unwrap();
        }
        fs::copy("/bin/true", at("tool/true")).unwrap();
        fs::copy("/bin/true", at("in/true")).unwrap();
        let read = vec![at("colours"), at("tool")];
        let sandbox = Sandbox { read, write: vec![at("out")], ..Sandbox::default() };
        confined(&sandboxed(sandbox), &[at("in")]).unwrap();
        let cat = |path: &Path| Command::new("cat").arg(path).stderr(Stdio::null()).status().unwrap();
        let host = getppid().unwrap().as_raw_nonzero();
        lines(&[
            ("a watched file", how(fs::read(at("in/deep/file")))),
            ("a watched directory", how(fs::read_dir(at("in")))),
            ("a file that is allowed", how(fs::read(at("colours")))),
            ("another", how(fs::read(at("secret")))),
            ("another directory", how(fs::read_dir(place))),
            ("by a program", cat(&at("in/deep/file")).success().to_string()),
            ("another by a program", cat(&at("secret")).success().to_string()),
            ("/usr", how(fs::read_dir("/usr"))),
            ("/etc/passwd", how(fs::read("/etc/passwd"))),
            ("/proc/self/maps", how(fs::read("/proc/self/maps"))),
            ("what is private to the host", how(fs::read(format!("/proc/{host}/environ")))),
            ("/dev/urandom", how(File::open("/dev/urandom"))),
            ("an ioctl of it", how(rustix::fs::ioctl_blksszget(File::open("/dev/urandom").unwrap()))),
            ("a program", how(Command::new("true").status())),
            ("an allowed program", how(Command::new(at("tool/true")).status())),
            ("a watched program", how(Command::new(at("in/true")).status())),
        ])
    });
    expect![[r#"
        a watched file: ok
        a watched directory: ok
        a file that is allowed: ok
        another: PermissionDenied
        another directory: PermissionDenied
        by a program: true
        another by a program: false
        /usr: ok
        /etc/passwd: ok
        /proc/self/maps: ok
        what is private to the host: PermissionDenied
        /dev/urandom: ok
        an ioctl of it: PermissionDenied
        a program: ok
        an allowed program: ok
        a watched program: PermissionDenied
    "#]]
    .assert_eq(&ended.said);
}

/// The one device that can be made without a capability.
fn device(path: &Path) -> rustix::io::Result<()> {
    mknodat(CWD, path, FileType::CharacterDevice, Mode::RUSR, 0)
}

#[test]
fn a_sandbox_lets_it_change_what_is_allowed() {
    if !has_landlock() {
        return;
    }
    let ended = in_a_child("a_sandbox_lets_it_change_what_is_allowed", |place| {
        let at = |path: &str| place.join(path);
        for directory in ["in", "out/deep", "other"] {
            fs::create_dir_all(at(directory)).unwrap();
        }
        for file in ["in/file", "in/second", "other/file", "out/old"] {
            fs::write(at(file), "x").unwrap();
        }
        let sandbox = Sandbox { write: vec![at("out")], ..Sandbox::default() };
        confined(&sandboxed(sandbox), &[at("in")]).unwrap();
        lines(&[
            ("/dev/null", how(fs::write("/dev/null", "x"))),
            ("new", how(fs::write(at("out/new"), "x"))),
            ("a new directory", how(fs::create_dir(at("out/new-directory")))),
            ("a link", how(std::os::unix::fs::symlink("/", at("out/link")))),
            ("a device", how(device(&at("out/device")))),
            ("away", how(fs::rename(at("out/new"), at("out/deep/new")))),
            ("shorter", how(nix::unistd::truncate(&at("out/old"), 0))),
            ("removed", how(fs::remove_file(at("out/old")))),
            ("a watched file", how(OpenOptions::new().append(true).open(at("in/file")))),
            ("a watched one removed", how(fs::remove_file(at("in/file")))),
            ("a watched one moved", how(fs::rename(at("in/file"), at("out/file")))),
            ("a watched one linked", how(fs::hard_link(at("in/file"), at("out/file")))),
            ("another", how(OpenOptions::new().append(true).open(at("other/file")))),
            ("another truncated", how(nix::unistd::truncate(&at("other/file"), 0))),
            ("another made", how(fs::write(at("other/new"), "x"))),
            ("/etc", how(OpenOptions::new().append(true).open("/etc/passwd"))),
        ])
    });
    expect![[r#"
        /dev/null: ok
        new: ok
        a new directory: ok
        a link: ok
        a device: PermissionDenied
        away: ok
        shorter: ok
        removed: ok
        a watched file: PermissionDenied
        a watched one removed: PermissionDenied
        a watched one moved: PermissionDenied
        a watched one linked: CrossesDevices
        another: PermissionDenied
        another truncated: PermissionDenied
        another made: PermissionDenied
        /etc: PermissionDenied
    "#]]
    .assert_eq(&ended.said);
}

#[test]
fn a_plugin_that_rewrites_its_files_needs_its_root_to_be_allowed() {
    if !has_landlock() {
        return;
    }
    let ended = in_a_child("a_plugin_that_rewrites_its_files_needs_its_root_to_be_allowed", |place| {
        fs::write(place.join("file"), "x").unwrap();
        let sandbox = Sandbox { write: vec![place.to_owned()], ..Sandbox::default() };
        confined(&sandboxed(sandbox), &[place.to_owned()]).unwrap();
        fs::write(place.join("file.new"), "y").unwrap();
        fs::rename(place.join("file.new"), place.join("file")).unwrap();
        fs::read_to_string(place.join("file")).unwrap()
    });
    assert_eq!(ended.said, "y\n");
}

/// What it reaches of other processes and machines, with and without `network`.
fn reach(sandbox: Option<Sandbox>) -> String {
    let tcp = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = tcp.local_addr().unwrap();
    let name = SocketAddr::from_abstract_name(format!("notifyit-test-{}", std::process::id())).unwrap();
    let _listener = UnixListener::bind_addr(&name).unwrap();
    confined(&Confinement { sandbox, ..Confinement::default() }, &[]).unwrap();
    let own = Command::new("sleep").arg("60").spawn();
    let end = |mut own: Child| {
        let killed = own.kill();
        own.wait().map(|_| killed)
    };
    lines(&[
        ("connect", how(TcpStream::connect(port))),
        ("bind", how(TcpListener::bind(("127.0.0.1", 0)))),
        ("an abstract socket", how(UnixStream::connect_addr(&name))),
        ("a signal to the host", how(test_kill_process(getppid().unwrap()))),
        ("a signal to its own", how(own.and_then(end).and_then(|killed| killed))),
    ])
}

#[test]
fn a_sandbox_keeps_it_from_tcp_and_other_processes() {
    if !has_landlock() {
        return;
    }
    let ended =
        in_a_child("a_sandbox_keeps_it_from_tcp_and_other_processes", |_| reach(Some(Sandbox::default())));
    expect![[r#"
        connect: PermissionDenied
        bind: PermissionDenied
        an abstract socket: PermissionDenied
        a signal to the host: PermissionDenied
        a signal to its own: ok
    "#]]
    .assert_eq(&ended.said);
}

#[test]
fn a_sandbox_with_network_lets_it_use_tcp() {
    if !has_landlock() {
        return;
    }
    let ended = in_a_child("a_sandbox_with_network_lets_it_use_tcp", |_| {
        reach(Some(Sandbox { network: true, ..Sandbox::default() }))
    });
    expect![[r#"
        connect: ok
        bind: ok
        an abstract socket: PermissionDenied
        a signal to the host: PermissionDenied
        a signal to its own: ok
    "#]]
    .assert_eq(&ended.said);
}

#[test]
fn root_has_no_rights_over_the_machine_in_a_sandbox() {
    if !is_root() {
        return;
    }
    let ended = in_a_child("root_has_no_rights_over_the_machine_in_a_sandbox", |_| {
        confined(&sandboxed(Sandbox::default()), &[]).unwrap();
        let program = Command::new("grep").args(["CapEff", "/proc/self/status"]).output().unwrap();
        let program = String::from_utf8_lossy(&program.stdout).into_owned();
        lines(&[("its own", status("CapEff")), ("a program's", program.trim().to_owned())])
    });
    // The lowest bits: chown, dac_override, dac_read_search, fowner, fsetid, setgid, setuid.
    expect![[r#"
        its own: 00000000000000df
        a program's: CapEff:	00000000000000df
    "#]]
    .assert_eq(&ended.said);
}

#[test]
fn what_is_to_be_allowed_and_is_not_there_is_told() {
    let ended = in_a_child("what_is_to_be_allowed_and_is_not_there_is_told", |_| {
        let missing = |path: &str| vec![PathBuf::from(path)];
        let sandbox = Sandbox { write: missing("/missing/out"), ..Sandbox::default() };
        let refused = sandbox::enter(&sandbox, &[], io::stdin().as_fd()).unwrap_err();
        assert_eq!(sandbox::check(&sandbox, &[]).unwrap_err(), refused, "who only asks is told the same");
        let known = check(&sandboxed(Sandbox::default()), &missing("/missing/in"));
        assert!(File::open("/").is_ok(), "asking has confined nobody");
        let notices = confined(&sandboxed(Sandbox::default()), &missing("/missing/in"));
        assert_eq!(known, notices);
        let notices = notices.unwrap();
        format!("{refused}\n{}", notices.concat().split("add a user").last().unwrap())
    });
    expect![[r#"
        failed to allow "/missing/out" in the sandbox: No such file or directory (os error 2); create it or take it out of sandbox.write
        the sandbox is without the watched directory "/missing/in": No such file or directory (os error 2)
    "#]].assert_eq(&ended.said);
}

/// Stages a plugin, confines itself as much as can be, and loads it.
fn loads(staging: &Staging, user: Option<String>) -> String {
    let staged = staging.copy(&mut File::open(built("print")).unwrap(), "print".as_ref()).unwrap();
    let library = File::open(staged.path()).unwrap();
    let host = u32::try_from(getppid().unwrap().as_raw_nonzero().get()).unwrap();
    let confinement = Confinement { user, ..sandboxed(Sandbox::default()) };
    confine(&confinement, &[], host, &library).unwrap();
    let path = format!("/proc/self/fd/{}", library.as_raw_fd());
    load::try_out(Path::new(&path)).unwrap().name
}

#[test]
fn its_plugin_can_be_loaded_from_disk() {
    built("print");
    let ended = in_a_child("its_plugin_can_be_loaded_from_disk", |place| {
        // The strictest that a host may have been started with.
        umask(Mode::from_raw_mode(0o077));
        let staging = Staging::open(&[place.to_owned()], |_| Ok(()));
        assert!(matches!(staging, Staging::Directory(..)));
        loads(&staging, if is_root() { nobody().user } else { None })
    });
    assert_eq!(ended.said, "print\n");
}

#[test]
fn its_plugin_can_be_loaded_from_memory() {
    built("print");
    let ended = in_a_child("its_plugin_can_be_loaded_from_memory", |_| {
        loads(&Staging::Memory, if is_root() { nobody().user } else { None })
    });
    assert_eq!(ended.said, "print\n");
}

#[test]
fn what_others_left_open_is_closed() {
    let ended = in_a_child("what_others_left_open_is_closed", |_| {
        let open = || File::open("/dev/null").unwrap();
        // Owned by nobody, as after a start.
        let [kept, left] = [open(), open()].map(std::os::fd::IntoRawFd::into_raw_fd);
        close_others(&[kept]).unwrap();
        let is_open = |fd: RawFd| fs::read_link(format!("/proc/self/fd/{fd}")).is_ok();
        format!("{:?}", [0, 1, 2, kept, left].map(is_open))
    });
    assert_eq!(ended.said, "[true, true, true, true, false]\n");
}

//! Whose socket it is, where it is, and who may connect.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;

use notifyit_tests::{Host, Place, Running, recorder};
use rustix::process::Signal;

use super::{SOCKET, ask, host, status};

fn pid(host: &Running) -> i32 {
    host.pid().as_raw_nonzero().get()
}

#[test]
fn only_its_owner_may_connect_whatever_the_umask_is() {
    for umask in ["0", "077"] {
        let wrapper =
            ["sh".to_owned(), "-c".to_owned(), format!("umask {umask}; exec \"$@\""), "sh".to_owned()];
        let host = host().plugin("print").wrapped(wrapper).start();
        let socket = fs::symlink_metadata(host.temp().join(SOCKET)).unwrap();
        assert!(socket.file_type().is_socket());
        assert_eq!(socket.mode() & 0o7777, 0o600, "umask {umask}");
        host.stop().success();
    }
}

#[test]
fn the_socket_goes_with_its_host_and_that_of_a_dead_one_is_replaced() {
    let first = host().plugin("print").start();
    let place = Place::clone(&first);
    first.signal(Signal::KILL);
    drop(first.wait());
    assert!(place.temp().join(SOCKET).exists(), "nobody has removed it");
    ask(&place, &["--socket", SOCKET]).code(1).one_error(&["no host answers at", "is it running"]);
    let second = Host::at(place.clone()).args(["--socket", SOCKET]).start();
    assert_eq!(status(&second)["pid"], pid(&second));
    second.stop().success();
    assert!(!place.temp().join(SOCKET).exists());
    ask(&place, &["--socket", SOCKET]).code(1).one_error(&["no host answers at"]);
}

#[test]
fn that_of_a_living_host_is_left_alone() {
    let first = host().plugin("print").start();
    let exit = Host::at(Place::clone(&first)).args(["--socket", SOCKET]).run();
    exit.code(1).one_error(&["failed to listen at", SOCKET, &format!("process {}", pid(&first)), "--socket"]);
    assert_eq!(status(&first)["pid"], pid(&first));
    // Nor if it does not answer.
    first.signal(Signal::STOP);
    let exit = Host::at(Place::clone(&first)).args(["--socket", SOCKET]).run();
    exit.code(1).one_error(&["another host", "listens there"]);
    first.signal(Signal::CONT);
    first.stop().success();
}

#[test]
fn of_two_hosts_that_start_at_once_on_a_dead_socket_one_has_it() {
    for _ in 0..5 {
        let place = Place::clone(&host().plugin("print"));
        drop(UnixListener::bind(place.temp().join(SOCKET)).unwrap());
        let hosts = [(); 2].map(|()| Host::at(place.clone()).args(["--socket", SOCKET]).spawn());
        let mut lost = 0;
        let mut won = None;
        for host in hosts {
            host.wait_for("a start or an end", |host| {
                (host.exited().is_some() || host.log().contains("ready")).then_some(())
            });
            match host.exited() {
                Some(_) => {
                    lost += 1;
                    host.wait().code(1).one_error(&["another host", "listens there"]);
                }
                None => won = Some(host),
            }
        }
        assert_eq!(lost, 1);
        let won = won.unwrap();
        assert_eq!(status(&won)["pid"], pid(&won));
        won.stop().success();
    }
}

#[test]
fn what_else_is_there_is_left_alone() {
    let host = host().plugin("print");
    let file = host.aside(SOCKET, "mine");
    let exit = host.run();
    exit.code(1).one_error(&["failed to listen at", "something else is there"]);
    assert_eq!(fs::read_to_string(file).unwrap(), "mine");
}

#[test]
fn a_socket_that_has_taken_the_place_of_the_hosts_is_not_removed() {
    let host = host().plugin("print").start();
    let socket = host.temp().join(SOCKET);
    fs::remove_file(&socket).unwrap();
    let _other = UnixListener::bind(&socket).unwrap();
    let exit = host.stop();
    exit.success();
    assert!(socket.exists());
}

#[test]
fn a_path_that_is_too_long_for_an_address_is_reached_all_the_same() {
    let host = Host::new().plugin("print");
    let state = host.temp().join("d".repeat(90)).join("d".repeat(90));
    let state = state.to_str().unwrap().to_owned();
    let host = host.args(["--state-dir", &state]).start();
    let exit = ask(&host, &["--state-dir", &state]);
    exit.success();
    assert!(String::from_utf8_lossy(exit.stdout()).contains("running"));
    host.stop().success();
    let host = Host::new().plugin("print").args(["--socket", &"s".repeat(120)]);
    host.run().code(1).one_error(&["failed to listen at", "too long for a socket", "--socket"]);
}

/// Where it is, and what finds it: what the host is told, what `status` is told.
#[test]
fn it_is_found_as_the_host_finds_it() {
    let config = "[host]\nsocket = \"named.sock\"\n[[watch]]\npath = \"{root}\"\n";
    let named = Host::new().plugin("print").config(config).start();
    ask(&named, &["-c", "notifyit.toml"]).success();
    assert!(named.temp().join("named.sock").exists(), "beside the file that names it");
    drop(named);

    let state = Host::new().plugin("print").args(["--state-dir", "state"]).start();
    ask(&state, &["--state-dir", "state"]).success();
    drop(state);

    let host = Host::new().plugin("print");
    let run = host.temp().join("run");
    fs::create_dir(&run).unwrap();
    let host = host.env("RUNTIME_DIRECTORY", &run).args(["--state-dir", "state"]).start();
    assert!(run.join("notifyit.sock").exists());
    let asking = || {
        let asking = Host::at(Place::clone(&host)).verb("status").watching(Vec::<PathBuf>::new());
        asking.env("RUNTIME_DIRECTORY", &run)
    };
    asking().run().success();
    asking().args(["--state-dir", "state"]).run().success();
    asking().args(["--socket", "run/notifyit.sock"]).run().success();
    let nowhere = ask(&host, &[]);
    nowhere.code(2).one_error(&["no socket is known", "--socket PATH", "--state-dir DIR"]);
}

#[test]
fn without_any_place_there_is_no_socket_and_one_that_nobody_asked_for_is_no_must() {
    let host = Host::new().plugin("print").start();
    host.alive("print");
    host.stop().success();
    let host = Host::new().plugin("print").env("RUNTIME_DIRECTORY", "/no/such/directory").start();
    host.logged(&["WARN", "failed to listen at", "`notifyit status` finds no host"]);
    host.alive("print");
    host.stop().success();
    let host = Host::new().plugin("print").args(["--socket", "/no/such/directory/socket"]);
    host.run().code(1).one_error(&["failed to listen at", "No such file or directory"]);
}

#[test]
fn a_host_that_leaves_at_once_leaves_no_socket() {
    // During the start, and by a second signal.
    let host = host();
    let out = host.temp().join("recorder.jsonl");
    fs::write(host.plugins().join("libnotifyit_recorder.so"), recorder("hang-new")).expect("it is ours");
    let host = host.env("RECORDER_OUT", out).set("recorder.hold_new='{temp}/hold'");
    host.aside("hold", "");
    let host = host.spawn();
    host.logged(&["holding"]);
    status(&host);
    let exit = host.stop();
    exit.success();
    assert!(!exit.temp().join(SOCKET).exists());

    let host = super::host().plugin("recorder").set("recorder.hold='{temp}/hold'").args(["--grace", "60s"]);
    host.aside("hold", "");
    let host = host.start();
    host.write("a.txt", "x");
    host.logged(&["holding"]);
    host.signal(Signal::TERM);
    host.logged(&["stopping after SIGTERM"]);
    host.signal(Signal::TERM);
    let exit = host.wait();
    exit.code(1);
    assert!(!exit.temp().join(SOCKET).exists());
}

#[test]
fn a_start_that_fails_and_a_check_leave_no_socket() {
    let host = host().plugin("print").watching(["missing"]);
    let exit = host.run();
    exit.code(1);
    assert!(!exit.temp().join(SOCKET).exists());
    let check = super::host().verb("check").plugin("print");
    let plugins = check.plugins();
    let exit = check.arg("--plugin-dir").arg(plugins).run();
    exit.success();
    assert!(!exit.temp().join(SOCKET).exists());
}

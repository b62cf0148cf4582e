//! A panic anywhere in a plugin is contained; `print` beside it does not notice.

use notifyit_tests::{Exit, Host, Running};

fn panics_in(places: &str) -> Host {
    Host::new()
        .plugin("print")
        .plugin("panics")
        .set(&format!("panics.in={places}"))
        .set(r#"plugin.panics.retry={first="10ms"}"#)
}

/// Sends a poisoned file through a host whose plugin panics there, and sees it handled in the second attempt.
fn poison(places: &str) -> Running {
    let host = panics_in(places).start();
    host.write("poison", "x");
    host.logged(&["panics", "handled poison in attempt 2"]);
    host.handled("print", "poison");
    host.write("next", "x");
    host.logged(&["panics", "handled next in attempt 1"]);
    host.alive("print");
    host
}

fn stop(host: Running) -> Exit {
    let exit = host.stop();
    exit.success();
    exit
}

#[test]
fn a_panic_in_new_ends_the_start() {
    let host = panics_in(r#"["new"]"#).args(["-p", "print", "-p", "panics"]);
    host.run().code(1).one_error(&["panics", "panics in new"]);
}

#[test]
fn a_panic_in_new_of_what_was_only_found_leaves_it_out() {
    let host = panics_in(r#"["new"]"#).start();
    host.alive("print");
    assert_eq!(host.count_logged(&["ERROR", "panics", "panics in new"]), 1);
    stop(host);
}

#[test]
fn a_panic_in_on_event_makes_the_instance_anew_and_tries_the_event_again() {
    let exit = stop(poison(r#"["on_event"]"#));
    let lines = exit.lines(&["panics", "poison", "panics in on_event"]);
    assert_eq!(lines.len(), 1);
    assert!(lines[0].contains("src/lib.rs:"), "file and line of the panic: {}", lines[0]);
    assert!(!exit.stderr().contains("thread '"), "the panic is told by the host alone");
}

#[test]
fn a_payload_whose_drop_panics_is_contained() {
    stop(poison(r#"["payload"]"#));
}

#[test]
fn a_panic_in_the_drop_after_a_panic_is_contained() {
    let host = poison(r#"["on_event", "drop"]"#);
    host.logged(&["panics", "panics in drop"]);
    stop(host);
}

#[test]
fn a_panic_in_flush_makes_its_burst_a_retry() {
    let host = poison(r#"["flush"]"#);
    host.logged(&["panics", "panics in flush"]);
    stop(host);
}

#[test]
fn a_panic_in_shutdown_is_logged_and_the_host_ends_as_it_should() {
    let host = panics_in(r#"["shutdown"]"#).start();
    host.alive("print");
    let exit = stop(host);
    assert_eq!(exit.lines(&["panics", "panics in shutdown"]).len(), 1);
}

#[test]
fn a_panic_in_drop_is_logged_and_the_host_ends_as_it_should() {
    let host = panics_in(r#"["drop"]"#).start();
    host.alive("print");
    let exit = stop(host);
    assert_eq!(exit.lines(&["panics", "panics in drop"]).len(), 1);
}

#[test]
fn a_thread_of_the_plugins_own_speaks_and_panics_in_the_log() {
    let host = panics_in(r#"["thread"]"#).start();
    host.write("a", "x");
    host.logged(&["INFO panics: a thread speaks"]);
    host.logged(&["ERROR panics: a thread of its own panicked: panics in a thread, at "]);
    host.logged(&["panics", "handled a in attempt 1"]);
    assert!(!stop(host).stderr().contains("thread '"), "the panic is told by the host alone");
}

#[test]
fn a_backtrace_comes_when_it_was_asked_for() {
    let host = panics_in(r#"["on_event"]"#).env("RUST_BACKTRACE", "1").start();
    host.write("poison", "x");
    host.logged(&["panics", "handled poison in attempt 2"]);
    let exit = stop(host);
    assert!(exit.stderr().contains("notifyit_panics::"), "the backtrace names the plugin's functions");
}

//! Where plugins run: inside the host, or, in the test target `isolated`, each worker as a process of its own.

/// Are these the tests of the target `isolated`?
pub fn is_isolated() -> bool {
    let own = std::env::current_exe().expect("the test binary has a path");
    own.file_name().is_some_and(|name| name.to_string_lossy().starts_with("isolated-"))
}

/// What `watch` is told in these tests.
pub(crate) fn arguments() -> &'static [&'static str] {
    if is_isolated() { &["--isolation", "process"] } else { &[] }
}

/// For a test that means something only where plugins run inside the host: true, and says so with the reason, if they
/// do not.
pub fn inline_only(why: &str) -> bool {
    if is_isolated() {
        crate::skip(&format!("where plugins run inside the host alone: {why}"));
    }
    is_isolated()
}

//! Several events in one call.

use notifyit_tests::{Running, is_isolated};

use super::Scene;

/// A host that is at a first file, with these behind it.
fn behind(scene: &Scene, files: &[&str]) -> Running {
    let host = scene.host().set("flying.batches=true").start_and_look();
    scene.hold();
    scene.write("first.txt");
    scene.wait(&host, "began 1 first.txt");
    files.iter().for_each(|file| scene.write(file));
    // They are before the plugin when the next one's file has been seen, too.
    scene.write("last.txt");
    host
}

#[test]
fn what_waits_comes_in_one_call_with_a_verdict_for_each() {
    let scene = Scene::new();
    let host = behind(&scene, &["a.txt", "b.fail.txt", "c.reject.txt", "d.txt"]);
    scene.release();
    scene.wait_until(&host, "the one that failed", || scene.count("began 2 b.fail.txt") == 1);
    host.logged(&["c.reject.txt", "told to reject"]);
    for file in ["first.txt", "a.txt", "d.txt", "last.txt"] {
        scene.wait(&host, &format!("done 1 {file}"));
    }
    host.stop().success();
    assert_eq!(scene.count_of("began 1 "), 6, "{:?}", scene.lines());
    let sizes: Vec<usize> =
        scene.lines().iter().filter_map(|l| l.strip_prefix("batch ")?.parse().ok()).collect();
    assert!(sizes.iter().any(|size| *size > 1) && sizes.iter().all(|size| *size <= 8), "{sizes:?}");
    assert_eq!(sizes.iter().sum::<usize>(), 7, "what has failed comes alone");
}

#[test]
fn the_one_that_ends_a_call_with_several_is_found() {
    for sin in ["panic", "abort"] {
        if sin == "abort" && !is_isolated() {
            continue;
        }
        let scene = Scene::new();
        let guilty = format!("b.{sin}.txt");
        let host = behind(&scene, &["a.txt", &guilty, "c.txt"]);
        scene.release();
        for file in ["first.txt", "a.txt", "c.txt", "last.txt"] {
            scene.wait(&host, &format!("done 1 {file}"));
        }
        if sin == "abort" {
            host.logged(&["gave up", &guilty, "3 times"]);
        } else {
            // Tried again and again, alone, and the only one that fails.
            scene.wait_until(&host, "a third attempt", || scene.count_of(&format!("began 3 {guilty}")) > 0);
            assert_eq!(host.count_logged(&["attempt", "a.txt"]), 0, "{}", host.log());
        }
        assert_eq!(
            scene.count_of("began 2 a.txt") + scene.count_of("began 2 c.txt"),
            0,
            "{:?}",
            scene.lines()
        );
        host.stop().success();
    }
}

//! Several plugins at once, of one type and of one library.

use notifyit_tests::Host;

const TWO_OF_ONE: &str = r#"
[[watch]]
path = "{root}"

[plugin.alpha]
library = "recorder"
retry = { first = "10ms" }
[plugin.alpha.config]
out = "{temp}/alpha.jsonl"

[plugin.omega]
library = "recorder"
include = ["*.txt"]
[plugin.omega.config]
out = "{temp}/omega.jsonl"
"#;

#[test]
fn plugins_that_share_all_their_types_stay_themselves() {
    let host = Host::new().plugin("print").plugin("recorder").plugin("panics").set("panics.in=[]").start();
    host.write("a.txt", "x");
    host.handled("print", "a.txt");
    host.handled("recorder", "a.txt");
    host.logged(&["panics", "handled a.txt in attempt 1"]);
    host.stop().success();
}

#[test]
fn two_instances_of_one_library_have_their_own_names_and_configurations() {
    let host = Host::new().named_plugin("recorder").config(TWO_OF_ONE).start();
    host.write("a.reject.txt", "x");
    host.write("b.dat", "x");
    host.write("c.txt", "x");
    host.handled("alpha", "c.txt");
    host.handled("omega", "c.txt");
    host.handled("alpha", "b.dat");
    assert!(host.attempts("omega", "b.dat").is_empty(), "its `include` is its own");
    let exit = host.stop();
    exit.success();
    for name in ["alpha", "omega"] {
        assert_eq!(exit.lines(&[name, "a.reject.txt", "told to reject"]).len(), 1);
        assert_eq!(exit.records(name).iter().filter(|r| r.say == "shutdown").count(), 1);
    }
}

#[test]
fn one_instance_that_fails_leaves_the_other_alone() {
    let host = Host::new().named_plugin("recorder").config(TWO_OF_ONE);
    let host = host.set("alpha.fail_while='{temp}/broken'");
    host.aside("broken", "");
    let host = host.start();
    for n in 0..20 {
        host.write(format!("{n}.txt"), "x");
    }
    host.all_handled("omega", (0..20).map(|n| format!("{n}.txt")));
    assert!(host.records("alpha").iter().all(|r| r.say != "done"));
    host.stop().success();
}

#[test]
fn what_lies_in_a_plugin_directory_runs_and_what_lies_in_the_path_only_when_it_is_named() {
    let host = Host::new().plugin("print").named_plugin("panics").start();
    host.write("a.txt", "x");
    host.handled("print", "a.txt");
    let exit = host.stop();
    exit.success();
    assert!(exit.lines(&["panics"]).is_empty());
    let host =
        Host::new().plugin("print").named_plugin("panics").args(["-p", "panics"]).set("panics.in=[]").start();
    host.write("a.txt", "x");
    host.logged(&["panics", "handled a.txt"]);
    host.stop().success();
}

#[test]
fn a_name_narrows_a_plugin_directory() {
    let host = Host::new().plugin("print").plugin("recorder").args(["-p", "recorder"]).start();
    host.write("a.txt", "x");
    host.handled("recorder", "a.txt");
    let exit = host.stop();
    exit.success();
    assert!(exit.stdout().is_empty(), "print was not named");
}

#[test]
fn a_plugin_is_named_by_its_file_too() {
    let host = Host::new();
    let file = host.add_plugin("print");
    let hidden = host.temp().join("named/elsewhere.so");
    std::fs::rename(file, &hidden).unwrap();
    let host = host.arg("-p").arg(hidden).start();
    host.write("a.txt", "x");
    host.handled("print", "a.txt");
    host.stop().success();
}

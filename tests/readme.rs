//! What the README says is tried.

use std::fs;
use std::path::Path;

use notifyit_tests::{Host, library};

fn readme() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md");
    fs::read_to_string(path).expect("the README is there")
}

/// The code blocks in this language.
fn blocks(language: &str) -> Vec<String> {
    let text = readme();
    let fence = format!("```{language}\n");
    let parts = text.split(&fence).skip(1);
    parts.map(|part| part.split("```").next().expect("a block ends").to_owned()).collect()
}

/// The arguments of the README's commands that watch, with this host's directories for the README's.
fn watch_commands(host: &Host) -> Vec<Vec<String>> {
    let (root, plugins) = (host.root().display().to_string(), host.plugins().display().to_string());
    let lines = blocks("sh").join("");
    let watching = lines.lines().filter_map(|line| line.split("notifyit watch ").nth(1));
    let filled =
        watching.map(|rest| rest.replace("/tmp/incoming", &root).replace("target/release", &plugins));
    filled.map(|rest| rest.split_whitespace().map(str::to_owned).collect()).collect()
}

#[test]
fn the_first_command_prints_paths_and_the_second_runs_a_program() {
    for (place, plugin) in [(0, "print"), (1, "exec")] {
        let host = Host::new().plugin("print").plugin("exec");
        let commands = watch_commands(&host);
        assert_eq!(commands.len(), 2, "{commands:?}");
        let mut parts = commands[place].split(|word| word == "--");
        let mut host = host.watching(Vec::<String>::new()).args(parts.next().expect("the options").to_vec());
        if let Some(command) = parts.next() {
            host = host.command(command.to_vec());
        }
        let host = host.start();
        host.write("report.pdf", "hello\n");
        if plugin == "print" {
            host.handled("print", "report.pdf");
        } else {
            let sum = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03";
            host.logged(&["exec", sum]);
        }
        host.stop().success();
    }
}

/// The README's commands on a state directory, in their order: all but `dead list` changes what the next one finds.
#[test]
fn the_commands_for_files_that_cannot_be_handled_do_what_is_said() {
    let temp = tempfile::tempdir().expect("a temporary directory");
    let at = |name: &str| temp.path().join(name).display().to_string();
    fs::create_dir_all(at("in/archive")).expect("a new directory");
    let config = format!(
        "[host]\nstate_dir = {:?}\n[[watch]]\npath = {:?}\nrecursive = true\n[plugin.thumbnails]\n\
         library = \"recorder\"\n[plugin.thumbnails.config]\nout = \"{{temp}}/out\"\n",
        at("state"),
        at("in")
    );
    let host = Host::new().named_plugin("recorder").config(&config).start();
    fs::write(at("in/a.reject.jpg"), "x").expect("a file");
    host.logged(&["rejected"]);
    host.stop().success();
    fs::write(at("in/archive/old.jpg"), "x").expect("a file");

    let mut id = String::new();
    let mut told = Vec::new();
    let lines = blocks("sh").join("");
    let is_one = |line: &&str| line.starts_with("notifyit ") && !line.starts_with("notifyit plugin ");
    for line in lines.lines().filter(is_one) {
        let line = line.replace("/var/lib/notifyit", &at("state")).replace("/srv/incoming", &at("in"));
        let line = line.replace("90ecea534aca7128", &id).replace('\'', "");
        let mut words = line.split_whitespace().skip(1);
        let verb = words.next().expect("a command");
        let verb = ["dead", "replay", "skip", "forget"].into_iter().find(|known| *known == verb);
        let host = Host::new().verb(verb.expect("one of these")).watching([""; 0]);
        let exit = host.args(words.map(str::to_owned)).run();
        let text = String::from_utf8_lossy(exit.success().stdout()).into_owned();
        if id.is_empty() {
            id = text.lines().nth(1).expect("a dead letter").split(' ').next().unwrap_or_default().to_owned();
        }
        told.push(text.lines().last().expect("it says something").to_owned());
    }
    assert!(told[0].ends_with("rejected: told to reject") && told[1].ends_with("as it was"), "{told:?}");
    assert_eq!(
        told[2..],
        [
            "1 dead letter is handed out again at the next start",
            "0 dead letters are forgotten",
            "plugin `thumbnails`: 0 files would come again",
            "plugin `thumbnails`: 1 file entered as finished",
            "forgot plugin `thumbnails`: 1 finished file, 0 dead letters among them; 1 file waited for another try",
        ]
    );
}

/// With `print` for the plugin of the README.
#[test]
fn the_commands_for_plugin_files_do_what_is_said() {
    let place = Host::new();
    let plugins = place.plugins().display().to_string();
    let built = library("print").display().to_string();
    let mut told = Vec::new();
    for line in blocks("sh").join("").lines().filter_map(|line| line.strip_prefix("notifyit plugin ")) {
        let line = line.replace("target/release/libnotifyit_lines.so", &built);
        let line = line.replace("/etc/notifyit/plugins", &plugins).replace(" lines", " print");
        let words: Vec<_> = line.split(' ').map(str::to_owned).collect();
        let exit = Host::new().verb("plugin").args(words).watching([""; 0]).run();
        told.push(String::from_utf8_lossy(exit.success().stdout()).into_owned());
    }
    let [inspect, install, list, remove] = &told[..] else { panic!("four commands: {told:?}") };
    let file = format!("{plugins}/libnotifyit_print.so");
    assert!(inspect.contains("\nruns         yes\n\n[plugin.print.config]\n"), "{inspect}");
    assert!(install.starts_with(&format!("installed print 0.1.0 as {file:?}\n")), "{install}");
    assert!(list.contains("  0.1.0  ") && list.contains("  always ") && list.contains(&file), "{list}");
    assert!(remove.starts_with(&format!("removed {file:?}\n")), "{remove}");
}

#[test]
fn the_configuration_is_one_that_the_host_takes() {
    let [_, config] = blocks("toml").try_into().expect("two examples");
    let config = config
        .replace("/etc/notifyit/plugins", "{plugins}")
        .replace("/srv/incoming", "{root}")
        .replace("/var/lib/notifyit", "{temp}/state");
    let exit = Host::new().plugin("print").plugin("exec").verb("check").config(&config).run();
    exit.success();
    assert_eq!(exit.lines(&["all is well", "print", "thumbnails"]).len(), 1);
}

#[test]
fn one_plugin_hands_on_to_the_next_as_is_said() {
    let [config, _] = blocks("toml").try_into().expect("two examples");
    let config = config.replace("/srv/incoming", "{root}").replace("/etc/notifyit/plugins", "{plugins}");
    let config = config.replace("/var/lib/notifyit", "{temp}/state");
    let host = Host::new().plugin("print").plugin("exec").config(&config).start();
    host.write("a.txt", "text");
    host.write("b.pdf", "%PDF-1.7");
    host.handled("print", "b.pdf");
    let exit = host.stop();
    exit.success();
    assert_eq!(String::from_utf8_lossy(exit.stdout()).lines().count(), 1);
    assert_eq!(exit.lines(&["screen", "rejected", "a.txt"]).len(), 1);
}

#[test]
fn the_commands_of_the_first_screen_and_of_the_tests_are_there() {
    let commands = blocks("sh").join("");
    assert!(
        commands
            .starts_with("cargo build --release && mkdir -p /tmp/incoming && target/release/notifyit watch ")
    );
    assert!(commands.contains("\ncargo test --workspace\n"));
}

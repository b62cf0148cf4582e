//! The cookbook's plugins, each under the real host on real files, and what they say of their configuration.

use std::fs;
use std::path::Path;
use std::process::Command;

use notifyit_tests::{Host, Running, inline_only, library};
use rusqlite::Connection;
use rustix::process::Signal;

use crate::state::Site;

pub(crate) mod servers;
mod uploads;

const COOKBOOK: [&str; 8] =
    ["call", "checksums", "clamav", "count", "csv-to-sqlite", "gunzip", "thumbnails", "upload"];

/// A host with one of them that tries again at once.
fn host(plugin: &str) -> Host {
    Host::new().plugin(plugin).set(&format!(r#"plugin.{plugin}.retry={{first="10ms",max="50ms"}}"#))
}

/// Waits until this file aside is there with a content that will do.
fn wait_for(host: &Running, name: &str, is_it: impl Fn(&str) -> bool) -> String {
    host.wait_for(name, |host| fs::read_to_string(host.temp().join(name)).ok().filter(|text| is_it(text)))
}

#[test]
fn count_counts_by_the_ending() {
    let host = host("count").set("count.file=\"{temp}/count.json\"").start();
    for name in ["a.jpg", "b.jpg", "c.pdf"] {
        host.write(name, "x");
    }
    wait_for(&host, "count.json", |text| text.contains(r#"{"jpg":2,"pdf":1}"#));
    host.stop().success();
}

#[test]
fn call_gives_a_program_the_file() {
    let command = r#"call.command=["sh", "-c", "cat > {temp}/part && mv {temp}/part {temp}/content"]"#;
    let host = host("call").set(command).start();
    host.write("a.txt", "the content\n");
    assert_eq!(wait_for(&host, "content", |_| true), "the content\n");
    host.stop().success();
}

/// A red dot.
const PNG: [u8; 69] = [
    0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a, 0x00, 0x00, 0x00, 0x0d, 0x49, 0x48, 0x44, 0x52, 0x00,
    0x00, 0x00, 0x01, 0x00, 0x00, 0x00, 0x01, 0x08, 0x02, 0x00, 0x00, 0x00, 0x90, 0x77, 0x53, 0xde, 0x00,
    0x00, 0x00, 0x0c, 0x49, 0x44, 0x41, 0x54, 0x78, 0x9c, 0x63, 0xf8, 0xcf, 0xc0, 0x00, 0x00, 0x03, 0x01,
    0x01, 0x00, 0xc9, 0xfe, 0x92, 0xef, 0x00, 0x00, 0x00, 0x00, 0x49, 0x45, 0x4e, 0x44, 0xae, 0x42, 0x60,
    0x82,
];

#[test]
fn thumbnails_makes_a_jpeg_of_an_image_and_rejects_what_is_none() {
    let host = host("thumbnails").set("thumbnails.out=\"{temp}/thumbs\"").arg("-r");
    host.mkdir("sub");
    let host = host.start();
    host.write("sub/dot.png", PNG);
    host.write("text.png", "text");
    let file = host.temp().join("thumbs/sub/dot.png.jpg");
    let bytes = host.wait_for("a small image", |_| fs::read(&file).ok());
    assert!(bytes.starts_with(&[0xff, 0xd8]) && bytes.ends_with(&[0xff, 0xd9]), "a JPEG");
    host.logged(&["thumbnails", "text.png", "no image"]);
    host.stop().success();
}

#[test]
fn checksums_writes_what_sha256sum_checks() {
    let host = host("checksums").set("checksums.manifest=\"{temp}/SHA256SUMS\"").start();
    for name in ["a", "b\nnew line", "back\\slash", "c"] {
        host.write(name, name);
    }
    wait_for(&host, "SHA256SUMS", |text| text.lines().count() == 4);
    let check = || {
        let mut check = Command::new("sha256sum");
        let output =
            check.args(["--check", "--strict"]).arg(host.temp().join("SHA256SUMS")).output().unwrap();
        (output.status.success(), String::from_utf8_lossy(&output.stdout).matches("OK").count())
    };
    assert_eq!(check(), (true, 4));
    host.write("c", "another version");
    host.wait_for("the sum of the new version", |_| check().0.then_some(()));
    host.stop().success();
}

/// How many rows there are so far.
fn rows(directory: &Path) -> u32 {
    let database = Connection::open(directory.join("sales.db"));
    let counted =
        database.and_then(|database| database.query_row("SELECT count(*) FROM sales", [], |row| row.get(0)));
    counted.unwrap_or(0)
}

const SALES: [&str; 3] =
    ["database=\"{temp}/sales.db\"", "table=\"sales\"", "columns=[\"date\", \"amount\"]"];

#[test]
fn csv_to_sqlite_reads_rows_and_rejects_what_is_no_table() {
    let host =
        SALES.iter().fold(host("csv-to-sqlite"), |host, key| host.set(&format!("csv-to-sqlite.{key}")));
    let host = host.start();
    host.write("a.csv", "amount,date\n1,mon\n2,tue\n");
    host.write("b.csv", "amount,date\n1\n");
    host.logged(&["csv-to-sqlite", "b.csv", "no CSV that can be read"]);
    host.wait_for("two rows", |host| (rows(host.temp()) == 2).then_some(()));
    host.stop().success();
}

#[test]
fn a_kill_loses_nothing_and_counts_nothing_twice() {
    let site = Site::new();
    let aside = site.0.path().to_owned();
    let start = || {
        let host = Host::new().plugin("csv-to-sqlite").plugin("count");
        let own = |key: &str| key.replace("{temp}", aside.to_str().expect("a plain name"));
        let host = SALES.iter().fold(host, |host, key| host.set(&format!("csv-to-sqlite.{}", own(key))));
        let host = host.set(&own("count.file=\"{temp}/count.json\"")).watching([site.root()]);
        host.arg("--state-dir").arg(aside.join("state")).start()
    };
    let write = |from, to| (from..to).for_each(|n| site.write(format!("{n}.csv"), "date,amount\nmon,1\n"));
    for round in 0..3 {
        let host = start();
        write(round * 100, round * 100 + 75);
        host.wait_for("some rows", |_| (rows(&aside) > round * 100).then_some(()));
        host.signal(Signal::KILL);
        host.wait();
        write(round * 100 + 75, round * 100 + 100);
    }
    let host = start();
    host.wait_for("300 rows", |_| (rows(&aside) >= 300).then_some(()));
    let counted = || {
        let text = fs::read_to_string(aside.join("count.json")).unwrap_or_default();
        let (_, number) = text.split_once(r#"{"csv":"#)?;
        number.split('}').next()?.parse::<u32>().ok()
    };
    host.wait_for("300 files to be counted", |_| (counted() >= Some(300)).then_some(()));
    host.stop().success();
    assert_eq!((rows(&aside), counted()), (300, Some(300)));
}

#[test]
fn clamav_waits_for_clamd_and_moves_what_is_infected_away() {
    let host = host("clamav").set("clamav.socket=\"{temp}/clamd.ctl\"");
    let host = host.set("clamav.quarantine=\"{temp}/quarantine\"").start();
    host.write("bad.exe", "EICAR");
    host.logged(&["clamav", "clamd does not answer"]);
    servers::clamd(&host.temp().join("clamd.ctl"));
    host.logged(&["ERROR", "clamav", "bad.exe is infected: Eicar-Test"]);
    host.wait_for("the file to be gone", |host| (!host.path("bad.exe").exists()).then_some(()));
    host.write("good.txt", "x");
    let exit = host.stop();
    exit.success();
    assert!(exit.path("good.txt").exists());
    assert_eq!(fs::read_dir(exit.temp().join("quarantine")).unwrap().count(), 1);
}

#[test]
fn what_is_clean_is_uploaded() {
    let server = servers::http(&[]);
    let [clamav, chain] = &examples("clamav")[..] else { panic!("two examples") };
    let config = format!(
        "[[watch]]\npath = \"{{root}}\"\n{clamav}\n{chain}\n[plugin.upload.config]\nurl = \"{}\"\n",
        server.url
    );
    let config = config.replace("/run/clamav/clamd.ctl", "{temp}/clamd.ctl");
    let config = config.replace("/srv/quarantine", "{temp}/quarantine");
    let host = Host::new().plugin("clamav").plugin("upload").config(&config);
    servers::clamd(&host.temp().join("clamd.ctl"));
    let host = host.start();
    host.write("bad.exe", "EICAR");
    host.logged(&["ERROR", "clamav", "bad.exe is infected: Eicar-Test"]);
    host.write("good.txt", "x");
    host.wait_for("the upload", |_| (!server.requests().is_empty()).then_some(()));
    host.stop().success();
    assert_eq!(server.requests(), [("PUT /good.txt HTTP/1.1".to_owned(), "x".to_owned())]);
}

#[test]
fn two_plugins_are_chained_by_a_directory() {
    let [gunzip, chain] = &examples("gunzip")[..] else { panic!("two examples") };
    let sales = SALES.join("\n");
    let config = format!("{gunzip}\n{chain}\n[plugin.csv-to-sqlite.config]\n{sales}\n");
    let config = config.replace("/srv/incoming", "{root}").replace("/srv/unpacked", "{temp}/unpacked");
    let host = Host::new().plugin("gunzip").plugin("csv-to-sqlite");
    fs::create_dir(host.temp().join("unpacked")).unwrap();
    let host = host.config(&config).start();
    let script =
        r"for n in 1 2 3; do printf 'date,amount\nmon,%s\n' $n | gzip > $n.csv.gz; done; echo x > text.gz";
    assert!(host.shell(script).wait().unwrap().success());
    host.wait_for("three rows", |host| (rows(host.temp()) == 3).then_some(()));
    host.logged(&["gunzip", "text.gz", "no gzip file"]);
    host.stop().success();
}

/// What stands between "```toml" and "```" in a plugin's own documentation.
fn examples(plugin: &str) -> Vec<String> {
    let source =
        Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../plugins/cookbook/{plugin}/src/lib.rs"));
    let text = fs::read_to_string(source).expect("the source is there");
    let docs: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("//!")).collect();
    let docs = docs.iter().map(|line| line.strip_prefix(' ').unwrap_or(line)).collect::<Vec<_>>().join("\n");
    let parts = docs.split("```toml\n").skip(1);
    parts.map(|part| part.split("```").next().expect("a block ends").to_owned()).collect()
}

#[test]
fn each_is_a_plugin_whose_own_example_is_a_right_configuration() {
    if inline_only("no plugin runs") {
        return;
    }
    for plugin in COOKBOOK {
        let inspect = Host::new().verb("plugin").arg("inspect").arg(library(plugin)).watching([""; 0]).run();
        let said = String::from_utf8_lossy(inspect.success().stdout()).into_owned();
        assert!(said.contains("\nruns         yes\n"), "{said}");
        let [example, ..] = &examples(plugin)[..] else { panic!("{plugin} has an example") };
        let watch =
            "[host]\nplugin_dirs = [\"{plugins}\"]\n[[watch]]\nname = \"incoming\"\npath = \"{root}\"\n";
        let config = format!("{watch}{example}");
        let host = Host::new().plugin(plugin).verb("check").config(&config);
        let exit = host.run();
        exit.success();
        assert_eq!(exit.lines(&["all is well", plugin]).len(), 1, "{}", exit.stderr());
    }
}

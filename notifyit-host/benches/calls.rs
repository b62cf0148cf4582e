//! What the call of a plugin costs that does nothing: inline, and in a process of its own. `cargo bench --bench calls`
//! builds plugin and host in the release profile first.

use std::path::{Path, PathBuf};
use std::process::Command;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use notifyit_host::config::{Confinement, Isolation, Library, PluginSettings, Trust};
use notifyit_host::plugin::set::{By, Member};
use notifyit_host::plugin::{Instance, Loader, Maker, Prober, Reply, Services};
use notifyit_plugin_api::Kind;
use notifyit_plugin_api::abi::{Bytes, EventRaw, Text};

/// As many events as a batch may hold.
const BATCH: u64 = 256;

fn built() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let packages = ["-p", "notifyit-host", "-p", "notifyit-idle", "-p", "notifyit-idles"];
    let arguments = ["build", "--release", "--quiet"].into_iter().chain(packages);
    let built = Command::new(env!("CARGO")).args(arguments).current_dir(&root).status();
    assert!(built.is_ok_and(|status| status.success()), "the plugin is not built");
    let bench = std::env::current_exe().expect("the benchmark has a path");
    bench.ancestors().nth(2).expect("it lies in the target directory").to_owned()
}

fn instance(plugin: &str, isolation: Isolation) -> Instance {
    let built = built();
    let (program, file) = (built.join("notifyit"), built.join(format!("libnotifyit_{plugin}.so")));
    let loader = Loader::new(Trust::Off, &[], Prober::by(&program));
    let library = loader.load(&file, &|_| isolation == Isolation::Process).expect("it can be loaded");
    let settings = PluginSettings {
        isolation,
        confinement: Confinement::default(),
        ..PluginSettings::with_defaults(plugin.to_owned(), Library::File(file))
    };
    let member = Member { settings, library, by: By::Request, since_nanos: 0 };
    let maker = Maker::new(Services::new(|_, _| {}), program, vec!["/srv/in".into()]);
    maker.of(&member).expect("its configuration is empty").instance(&|| false).expect("an instance is made")
}

fn event() -> EventRaw<'static> {
    EventRaw {
        id: 1,
        kind: Kind::CloseWrite.code(),
        origin: 0,
        attempt: 1,
        flags: 0,
        watch: Text::from_str("in"),
        root: Bytes::from_slice(b"/srv/in"),
        path: Bytes::from_slice(b"/srv/in/2026/11/26/an-ordinary-name.pdf"),
        relative_from: 8,
        renamed_from: Bytes::EMPTY,
        device: 1,
        inode: 2,
        size: 3,
        mode: 0o100_644,
        mtime_nanos: 4,
        mtime_seconds: 5,
        seen_nanos: 6,
        timeout_nanos: 0,
        spare: [0; 8],
        extra: Bytes::EMPTY,
    }
}

/// Hands over so many events, and takes their answers.
fn call(instance: &mut Instance, count: u64) {
    let mut left = count;
    while left > 0 {
        let now = left.min(instance.room() as u64);
        for _ in 0..now {
            instance.hand(&event());
        }
        let answers = instance.answers(&|| false);
        let done = answers.each.iter().flatten().filter(|answer| answer.reply == Reply::Done).count() as u64;
        // One that answers each at once has been asked already.
        left -= if answers.each.is_empty() { now } else { done };
        assert_eq!(answers.lost, None);
    }
}

fn calls(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("calls");
    let (inline, process) = (Isolation::Inline, Isolation::Process);
    let all = [
        ("inline", "idle", inline),
        ("inline, on_batch", "idles", inline),
        ("isolated", "idle", process),
        ("isolated, on_batch", "idles", process),
    ];
    for (name, plugin, isolation) in all {
        let mut instance = instance(plugin, isolation);
        for count in [1, BATCH] {
            group.throughput(Throughput::Elements(count));
            group.bench_function(format!("{name}/{count}"), |bencher| {
                bencher.iter(|| call(&mut instance, count));
            });
        }
    }
    group.finish();
}

criterion_group!(benches, calls);
criterion_main!(benches);

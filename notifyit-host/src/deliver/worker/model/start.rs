//! The world of the model, and how its hosts start.

use super::*;

impl World {
    pub(super) fn new(kind: Kind, clock: Clock) -> World {
        World::with_pauses(kind, clock, Duration::ZERO)
    }

    /// One whose plugin is as if it lived in a process of its own.
    pub(super) fn isolated(kind: Kind, clock: Clock) -> World {
        let mut world = World::new(kind, clock);
        world.isolation = Isolation::Process;
        world.host = None;
        world.start();
        world
    }

    /// One whose plugin may have several events in hand.
    pub(super) fn flying(kind: Kind, clock: Clock, isolation: Isolation) -> World {
        let mut world = World::new(kind, clock);
        world.library = PluginLibrary::in_process::<Scripted<3>>();
        world.isolation = isolation;
        world.host = None;
        script(|script| script.is_isolated = isolation == Isolation::Process);
        world.start();
        world
    }

    /// One where a file that has failed is tried again after so long.
    pub(super) fn with_pauses(kind: Kind, clock: Clock, pause: Duration) -> World {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("sub")).unwrap();
        let ledger = Arc::new(Ledger::in_memory(&[]));
        assert_eq!(ledger.lane_of("test").unwrap(), LANE);
        let mut tree = Tree::numbered_by(Arc::clone(&ledger) as _);
        let root = tree.add_root(WATCH, "in", directory.path());
        let nodes = [root, tree.add_child(root, OsStr::new("sub"))];
        let own_times = clock == Clock::Fine;
        tree.set_terms(WATCH, filesystem::Terms { own_times, ..filesystem::Terms::default() });
        script(|script| *script = Script::default());
        let mut world = World {
            directory,
            kind,
            library: PluginLibrary::in_process::<Scripted<1>>(),
            tree: Arc::new(SharedTree::new(tree)),
            ledger,
            nodes,
            queue: VecDeque::new(),
            sequence: 0,
            version: 0,
            clock,
            pause,
            isolation: Isolation::Inline,
            host: None,
            settled: HashSet::new(),
            known: HashSet::new(),
        };
        world.start();
        world
    }

    /// A host on what the last one has left.
    pub(super) fn start(&mut self) {
        let places =
            Places { tree: Arc::clone(&self.tree), renames: Arc::default(), watches: vec!["in".into()] };
        let outside = Outside {
            places: Arc::new(places),
            settle: Arc::new(Settle::default()),
            takers: Arc::default(),
            ledger: Arc::clone(&self.ledger),
            recorders: Recorders::default(),
            source: SourceHandle::new().unwrap(),
            rescans: RescanHandle::default(),
        };
        let policy = RetryPolicy {
            first: self.pause,
            max: self.pause,
            within: Duration::from_secs(1000),
            attempts: None,
            crashes: 3,
        };
        let subscription = Subscription::new([self.kind].into_iter().collect(), None, everything());
        let name = (LANE, "test".to_owned());
        let rescans = outside.rescans.clone();
        let lane = Lane::new(
            name,
            subscription,
            outside.settle.account("test"),
            policy,
            (None, None, None),
            (CAPACITY, 1, Some(self.library.info.in_flight).filter(|most| *most > 1)),
            rescans,
        );
        let lane = Arc::new(lane);
        let create = Arc::new(self.create());
        let mut worker = Worker::new(Arc::clone(&lane), 0, create, outside.clone());
        worker.make_instance().unwrap();
        worker.open_tickets();
        let lineup = Arc::new(Lineup::default());
        lineup.add(Seat {
            lane,
            looks: Arc::from([FirstLook::Taken]),
            pending: Arc::from([AtomicBool::new(false)]),
        });
        let entrance = Entrance::new(Arc::clone(&lineup), vec![everything()], &outside);
        let watch = Terms { patterns: everything(), recursive: true, existing: Existing::Skip };
        let inlet = Inlet::new(lineup, vec![watch], &outside);
        self.queue.clear();
        self.host = Some(Running { worker, entrance, inlet });
        self.known.clear();
        let nodes = self.nodes.to_vec();
        self.carry_out(&Order::Start { nodes });
    }

    pub(super) fn create(&self) -> Create {
        let (library, isolation) = (self.library.clone(), self.isolation);
        let grant = Services::new(|_, _| {}).grant("test");
        Create::bare(move |_| {
            let instance = library.lend(&grant, "{}")?;
            Ok(if isolation == Isolation::Process { instance.pretend_isolated(fate) } else { instance })
        })
    }
}

//! Events that an inline plugin gets in one call. They are kept here until it is made: what the host knows of a file lives
//! no longer than its look at the next one.

use notifyit_plugin_api::abi::{Bytes, CallResult, EventRaw, HandlerBox, RETRY, Text};

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Batch {
    events: Vec<Kept>,
    bytes: Vec<u8>,
    text: String,
}

#[derive(Debug)]
struct Kept {
    /// Its numbers alone.
    raw: EventRaw<'static>,
    root: usize,
    path: usize,
    renamed_from: usize,
    extra: usize,
    watch: usize,
}

impl Batch {
    pub(super) fn put(&mut self, raw: &EventRaw<'_>) {
        let [root, path, renamed_from, extra] =
            [raw.root, raw.path, raw.renamed_from, raw.extra].map(|bytes| {
                self.bytes.extend_from_slice(bytes.as_slice());
                bytes.len()
            });
        self.text.push_str(raw.watch.as_str());
        let kept = Kept { raw: numbers(raw), root, path, renamed_from, extra, watch: raw.watch.len() };
        self.events.push(kept);
    }

    /// Calls the plugin with what is kept. Returns as many results.
    pub(super) fn call(&mut self, handler: &mut HandlerBox) -> Vec<CallResult> {
        if self.events.is_empty() {
            return Vec::new();
        }
        let (mut bytes, mut text) = (self.bytes.as_slice(), self.text.as_str());
        let mut take = |length| {
            let (taken, rest) = bytes.split_at(length);
            bytes = rest;
            Bytes::from_slice(taken)
        };
        let raws = self.events.iter().map(|kept| {
            let (watch, rest) = text.split_at(kept.watch);
            text = rest;
            let (root, path, renamed_from) = (take(kept.root), take(kept.path), take(kept.renamed_from));
            let extra = take(kept.extra);
            EventRaw { watch: Text::from_str(watch), root, path, renamed_from, extra, ..kept.raw }
        });
        let raws: Vec<EventRaw<'_>> = raws.collect();
        let results = call(handler, &raws);
        self.events.clear();
        self.bytes.clear();
        self.text.clear();
        results
    }
}

/// Calls a plugin with these events. Returns as many results: whoever gives fewer has not handled the others.
pub(super) fn call(handler: &mut HandlerBox, raws: &[EventRaw<'_>]) -> Vec<CallResult> {
    let mut results = handler.on_batch(raws.into()).into_vec();
    if results.len() != raws.len() {
        let said = format!("the plugin lied: it answered {} of {} events", results.len(), raws.len());
        results.resize_with(raws.len(), || CallResult::new(RETRY, said.as_str()));
    }
    results
}

fn numbers(raw: &EventRaw<'_>) -> EventRaw<'static> {
    let EventRaw { id, kind, origin, attempt, flags, relative_from, device, inode, size, .. } = *raw;
    let EventRaw { mode, mtime_nanos, mtime_seconds, seen_nanos, timeout_nanos, spare, .. } = *raw;
    EventRaw {
        id,
        kind,
        origin,
        attempt,
        flags,
        watch: Text::from_str(""),
        root: Bytes::EMPTY,
        path: Bytes::EMPTY,
        relative_from,
        renamed_from: Bytes::EMPTY,
        device,
        inode,
        size,
        mode,
        mtime_nanos,
        mtime_seconds,
        seen_nanos,
        timeout_nanos,
        spare,
        extra: Bytes::EMPTY,
    }
}

//! What a lane is made of, by the settings and what the library says of itself.

use anyhow::{Error, Result};
use tracing::warn;

use crate::config::{self, Library, RetrySettings, Settings, WatchSettings};
use crate::deliver::retry::RetryPolicy;
use crate::deliver::{Existing, LaneSpec, Terms};
use crate::event::WatchId;
use crate::plugin::Maker;
use crate::plugin::isolated::confine;
use crate::plugin::set::{self, Member};
use crate::route::Subscription;

/// What of a lane cannot change while it goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Shape {
    kinds: Vec<String>,
    workers: u16,
    in_flight: Option<u16>,
}

impl Shape {
    pub(super) fn of(member: &Member) -> Result<Shape> {
        let kinds = set::kinds(member)?.iter().map(ToString::to_string).collect();
        Ok(Shape { kinds, workers: workers(member), in_flight: member.in_flight() })
    }

    /// Does a rescan find again whatever it is told of?
    pub(super) fn is_recoverable(&self) -> bool {
        self.kinds.iter().all(|kind| matches!(kind.as_str(), "landed" | "close-write" | "emitted"))
    }
}

/// Would a lane be made of it, as far as can be told without its `new`? Returns what a person should know of how its
/// processes would be confined.
///
/// # Errors
///
/// As [`set::kinds`], [`set::check_config`] and [`confine::check`].
pub(super) fn check(settings: &Settings, member: &Member) -> Result<Vec<String>> {
    subscription(settings, member)?;
    set::check_config(member)?;
    let roots: Vec<_> = settings.watches.iter().map(|watch| watch.path.clone()).collect();
    confine::check(&member.settings.confinement, &roots).map_err(Error::msg)
}

/// # Errors
///
/// As [`set::kinds`], [`set::check_config`] and [`set::config_json`].
pub(super) fn of(settings: &Settings, member: &Member, maker: &Maker) -> Result<LaneSpec> {
    set::check_config(member)?;
    let wanted = &member.settings;
    Ok(LaneSpec {
        name: wanted.name.clone(),
        subscription: subscription(settings, member)?,
        workers: workers(member),
        in_flight: member.in_flight(),
        capacity: wanted.queue,
        timeout: wanted.timeout,
        isolation: wanted.isolation,
        quiet: wanted.quiet,
        reads_only: member.library.info.reads_only,
        coalesce: wanted.coalesce,
        retry: policy(&wanted.retry),
        create: maker.of(member)?,
    })
}

fn policy(retry: &RetrySettings) -> RetryPolicy {
    let RetrySettings { first, max, for_: within, attempts, crashes } = *retry;
    RetryPolicy { first, max, within, attempts, crashes }
}

/// That of the instance of this name, whether it runs or not.
pub(super) fn policy_of(name: &str, members: &[Member], settings: &Settings) -> RetryPolicy {
    let running = members.iter().map(|member| &member.settings).find(|settings| settings.name == name);
    let written = || settings.plugins.settings_for(name, Library::Name(name.to_owned())).retry;
    policy(&running.map_or_else(written, |settings| settings.retry))
}

/// The user wants more of it than it can have.
pub(super) fn say_fewer(member: &Member) {
    let (wanted, has) = (member.settings.workers, workers(member));
    if wanted > has {
        let name = &member.settings.name;
        warn!("plugin `{name}` can have {has} at most of the {wanted} workers that are wanted");
    }
    let (wanted, takes) = (member.settings.in_flight.unwrap_or(1), member.library.info.in_flight.max(1));
    if wanted > takes {
        let name = &member.settings.name;
        warn!("plugin `{name}` takes {takes} at most of the {wanted} events in flight that are allowed");
    }
}

fn workers(member: &Member) -> u16 {
    member.settings.workers.min(member.library.info.max_workers.max(1))
}

fn subscription(settings: &Settings, member: &Member) -> Result<Subscription> {
    let watches = member.settings.watch.as_ref().map(|names| {
        let wanted = |watch: &WatchSettings| names.contains(&watch.name);
        let places = settings.watches.iter().enumerate().filter(|(_, watch)| wanted(watch));
        places.filter_map(|(place, _)| u16::try_from(place).ok().map(WatchId)).collect()
    });
    let kinds = set::kinds(member)?.into_iter().collect();
    let subscription = Subscription::new(kinds, watches, member.settings.patterns.clone());
    Ok(subscription.emitted_by(member.settings.emitted_by.clone()))
}

/// The watches, as far as the lanes go.
pub(super) fn terms(settings: &Settings) -> Vec<Terms> {
    let terms = |watch: &WatchSettings| {
        let existing = match watch.existing {
            config::Existing::Skip => Existing::Skip,
            config::Existing::Deliver => Existing::Deliver,
        };
        Terms { patterns: watch.patterns.clone(), recursive: watch.recursive, existing }
    };
    settings.watches.iter().map(terms).collect()
}

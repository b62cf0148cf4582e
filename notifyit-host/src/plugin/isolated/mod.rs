//! An instance of a plugin in a process of its own: whatever it does, it does to that process alone.
//!
//! The process is this program again (`notifyit __worker`), one for each worker of the lane, so that a death or a missed
//! deadline costs the event that this worker has in hand and no other. Host and process talk over a socket pair:
//!
//! ```text
//!  lane's worker                                     process
//!  Process::start    ── Hello, plugin's file ──▶     confine itself, load the plugin, create the instance
//!                    ◀── Made ──
//!  hand, answers     ── Events ──▶                   note which event is in hand; call; next …
//!                    ◀── Answers ──                  … until all are answered, or 5 ms are over
//!  flush, shutdown   ── Flush, Shutdown ──▶
//!  Ears              ◀── records, stop; stderr ──    at any time, on ways of their own
//!                    ◀── Ask ── Answer ──▶           from any thread of the plugin, one after the other
//!  Signal, Tally     ── to end ──▶ ◀── figures ──    a pipe, and a file in memory: nobody waits for the other
//! ```
//!
//! **Batches** make up for the price of a switch between processes. They grow while all events of a batch are answered
//! within 5 ms, and shrink when they are not: a slow plugin gets one event at a time, and what it has not begun when the
//! time is over goes back to the lane.
//!
//! **In hand** is what the process says so in a file in memory, before each call. That event is blamed when the process
//! dies or does not come back; those behind it, and those before it whose answers are not here yet, are handed over
//! again without blame.
//!
//! **The end**: the process leads a session of its own. When it ends, whatever is left of that session is killed. Its end
//! is seen by the process itself, not by the channel alone, which a child of it may hold open. It is killed with the host by
//! the kernel (`PR_SET_PDEATHSIG`), for which the thread that starts it must live as long as it: that is what the spawner is
//! there for. SIGTERM and SIGINT it leaves to the host. stdout is the host's, but where possible a file description of its
//! own.
//!
//! | file | holds |
//! |---|---|
//! | `terms` | what a process is started with, and what it is handed |
//! | `process` | the host's end |
//! | `worker` | the process's end |
//! | `wire` | what goes between them |
//! | `ears` | the thread that listens to records and stderr |
//! | `asks` | what the plugin asks of its host, and the answers |
//! | `in_hand` | which event is in hand |
//! | `spawner` | the thread that starts the processes |
//! | `exit` | waits for their ends, and kills what is left |
//! | `confine` | what a process may not do |

pub mod confine;
pub mod worker;
mod terms;
mod process;
mod wire;
mod ears;
mod asks;
mod in_hand;
mod spawner;
mod exit;
#[cfg(test)]
pub(crate) mod pretended;

pub(super) use process::Process;
pub(super) use spawner::Spawner;
pub(super) use terms::Terms;

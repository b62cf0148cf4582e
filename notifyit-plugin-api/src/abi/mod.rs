//! The wire between host and plugin: the only place that knows `abi_stable`.
//!
//! | file | holds |
//! |---|---|
//! | `module` | what a library exports (`PluginModule`) and what the host lends (`HostApi`) |
//! | `object` | the handler object that `create` returns |
//! | `types` | what crosses in a call: `EventRaw`, `CallResult`, … and the integer codes |
//! | `asks` | what a plugin may ask of its host |
//! | `notes` | what a call says beside its verdict, and what else there is to an event |
//! | `guard` | the adapter that is compiled *into the plugin*: turns the author's trait into the above, catches panics |
//!
//! # How the wire may grow
//!
//! A plugin built today must load for as long as the major version lives. So:
//!
//! 1. [`PluginModule`], [`HostApi`] and [`Handler`] grow **only by fields or methods appended at the end**. What
//!    stands up to `last_prefix_field` (which never moves) is there in every version. What comes behind is read as an
//!    `Option`, a method has a default body, and the crate's minor version goes up with it.
//! 2. [`EventRaw`], [`CallResult`], [`CreateResult`] and [`ControlResult`] **never change**: the layout checker
//!    compares the fields' names. They carry spare numbers and one byte slice or JSON string to grow into; what a
//!    reader does not know in there it leaves alone.
//! 3. No enum of ours crosses, for an enum cannot grow. Kinds, origins and statuses are integers, and a value that
//!    the reader does not know has a stated meaning.
//! 4. `info` is JSON and may gain any key. `control` takes a number and bytes: the way to add an ability without
//!    touching the wire. So does [`HostApi::ask`] in the other direction. An operation that the reader does not know answers [`UNKNOWN_OPERATION`].
//! 5. No panic crosses: [`guard`] catches them inside the plugin. (A panic that reached the boundary would end the
//!    process: every `cdylib` has a standard library of its own, whose panics the host cannot catch.)
//!
//! # What is promised, and what holds it
//!
//! A user reads: same major version; older plugins run on newer hosts; newer plugins run on older hosts if they only
//! add. The tests are in `tests/compat.rs` of the workspace, with **frozen** copies of 1.0 and 1.1 and a later minor version that
//! is made from today's sources by adding to all three types of rule 1.
//!
//! | promise | held by |
//! |---|---|
//! | what 1.0 and 1.1 have keeps its layout | the frozen ones are compared with today's types and with the later ones |
//! | what they have keeps its meaning | codes are compared; a plugin and a host of each version answer and log the same in all sixteen pairs |
//! | an older plugin runs on a newer host, a newer one on an older host | a host of each version runs a plugin of each |
//! | what the other side lacks is `None`, or a method's default | in the same sixteen pairs: [`Host::instance`](crate::Host::instance), and what the later version adds |
//! | old and new plugins run side by side, whichever is loaded first | one host runs all of them |
//! | debug or release, and which rustc, is all the same | in that host, each is built in debug and release by the tests' own compiler, and by nightly and beta where they are installed |

#![expect(
    unsafe_code,
    non_local_definitions,
    non_camel_case_types,
    missing_debug_implementations,
    reason = "what abi_stable's derives expand to"
)]

pub mod module;
pub mod object;
pub mod types;
pub mod asks;
pub mod notes;
pub mod guard;

pub use module::{HostApi, HostApi_Ref, PluginModule, PluginModule_Ref, export, lend};
pub use notes::{Emission, Emitted, Extra, Left, Notes, Said};
pub use object::{Handler, Handler_TO, HandlerBox};
pub use types::{
    Bytes, CREATED, CallResult, ControlResult, CreateResult, DEFERRED, DONE, EventRaw, FLAG_DIRECTORY,
    FLAG_HANDS_ON, FLAG_RETRY_AFTER, FLAG_UNAVAILABLE, PANICKED, REJECT, RETRY, Text, UNKNOWN_OPERATION,
};

#[doc(hidden)]
pub use abi_stable::library::{LibHeader, RootModuleResult};
#[doc(hidden)]
pub use abi_stable::std_types::RString;

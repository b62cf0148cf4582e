//! Pages for authors that belong to no single item. There is no code here.
//!
//! | page | answers |
//! |---|---|
//! | [`cookbook`] | how do others do it? Eight whole plugins, and what all of them have in common |
//! | [`refused`] | why does the host not run my plugin, and what do I do? |
//! | [`compatibility`] | which host runs my plugin, for how long, and who tests that? |
//! | [`safety`] | what may a plugin do, what can go wrong, and what do processes and sandboxes change? |
//!
//! How a plugin lives, step by step, is on the [front page](crate#a-plugins-life); how it is tested, in [`testing`](crate::testing).

pub mod cookbook;
pub mod refused;
pub mod compatibility;
pub mod safety;

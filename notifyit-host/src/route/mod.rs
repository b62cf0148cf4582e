//! Which plugins want an event.

pub mod patterns;

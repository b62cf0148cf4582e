//! `notifyit-plugin-api` as a later minor version could be. The sources are today's, with what `build.rs` adds.

include!(concat!(env!("OUT_DIR"), "/lib.rs"));

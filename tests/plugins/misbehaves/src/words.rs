//! Harm by words: too many, too long, or where they do not belong.

use std::io::Write;
use std::time::Duration;

use notifyit_plugin_api::{Result, RetryAfter, bail, log};

const TEN_MB: usize = 10_000_000;

pub(crate) fn to_stdout() -> Result<()> {
    let mut garbage = b"\0\xff\x1b[31m".repeat(1000);
    garbage.push(b'\n');
    std::io::stdout().write_all(&garbage)?;
    Ok(std::io::stdout().flush()?)
}

pub(crate) fn to_stderr() -> Result<()> {
    let mut garbage = b"\0\xff\x1b[31m.".repeat(14);
    garbage.push(b'\n');
    for _ in 0..10_000 {
        std::io::stderr().write_all(&garbage)?;
    }
    Ok(())
}

pub(crate) fn many_lines() -> Result<()> {
    for line in 0..10_000 {
        log::info!("line {line} of 10,000");
    }
    Ok(())
}

pub(crate) fn long_line() -> Result<()> {
    log::info!("{}", "ü".repeat(TEN_MB / 2));
    Ok(())
}

pub(crate) fn long_error() -> Result<()> {
    bail!("ü".repeat(TEN_MB / 2))
}

pub(crate) fn never_again() -> Result<()> {
    bail!(RetryAfter(Duration::from_secs(u64::MAX)))
}

//! Starts the processes. The kernel kills a process when *the thread* that started it ends (`PR_SET_PDEATHSIG`), so that
//! is one that lives until the last of them has gone.

use std::io;
use std::process::{Child, Command};
use std::sync::mpsc::{Sender, SyncSender, channel, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::thread::{self, JoinHandle};

type Job = (Command, SyncSender<io::Result<Child>>);

/// See the module. Its thread is started when it is first needed, and ends with it.
#[derive(Debug, Default)]
pub(in crate::plugin) struct Spawner(Mutex<Option<(Sender<Job>, JoinHandle<()>)>>);

impl Spawner {
    /// As [`Command::spawn`].
    pub(super) fn spawn(&self, command: Command) -> io::Result<Child> {
        let (answer, answers) = sync_channel(1);
        {
            let mut thread = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let (jobs, _) = match &*thread {
                Some(running) => running,
                None => thread.insert(start()?),
            };
            jobs.send((command, answer)).map_err(|_| gone())?;
        }
        answers.recv().map_err(|_| gone())?
    }
}

fn start() -> io::Result<(Sender<Job>, JoinHandle<()>)> {
    let (jobs, inbox) = channel::<Job>();
    let run = move || {
        for (mut command, answer) in inbox {
            let _ = answer.send(command.spawn());
        }
    };
    Ok((jobs, thread::Builder::new().name("spawner".into()).spawn(run)?))
}

fn gone() -> io::Error {
    io::Error::other("the thread that starts processes is gone")
}

impl Drop for Spawner {
    fn drop(&mut self) {
        let thread = self.0.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        if let Some((jobs, thread)) = thread {
            drop(jobs);
            let _ = thread.join();
        }
    }
}

/// What helps where the error alone does not say.
pub(super) fn remedy(error: &io::Error) -> &'static str {
    match error.raw_os_error() {
        Some(libc::EMFILE) => {
            "; each process takes 11 descriptors of the host: raise its limit (ulimit -n, LimitNOFILE=)"
        }
        Some(libc::EAGAIN) => "; raise the limit of processes (ulimit -u, TasksMax=)",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_of_descriptors_has_its_remedy() {
        let error = |number| io::Error::from_raw_os_error(number);
        assert!(remedy(&error(libc::EMFILE)).contains("LimitNOFILE="));
        assert!(remedy(&error(libc::EAGAIN)).contains("TasksMax="));
        assert_eq!(remedy(&error(libc::ENOENT)), "");
    }
}

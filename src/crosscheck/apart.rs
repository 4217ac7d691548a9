//! The second opinion in a process of its own: this program once more, with the file as its standard input, bounded in
//! memory and time. What kills it is told of one file.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::AsFd as _;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Resource, Rlimit, Signal, set_parent_process_death_signal, setrlimit};
use serde::{Deserialize, Serialize};

use super::{Disagreement, MEMORY, NoOpinion, cross_check};

/// The subcommand that gives the answer.
pub const SUBCOMMAND: &str = "second-opinion";
/// How long the process may take for a small file.
const PATIENCE: Duration = Duration::from_mins(1);
/// Bytes of a large file for which it gets another second.
const BYTES_PER_SECOND: u64 = 10_000_000;
/// Longest answer, in bytes.
const ANSWER_MAX: usize = 16 << 20;

/// What the process says.
#[derive(Serialize, Deserialize)]
enum Answer {
    Disagreements(Vec<Disagreement>),
    NotOpened(i32),
    Unreadable(String),
}

/// Asks for a second opinion of a file, in a process of its own.
///
/// # Errors
/// Why there is none: the process was killed, by a fault of CFITSIO's or by a limit, or cannot do it.
pub fn opinion(file: &File) -> Result<Vec<Disagreement>, NoOpinion> {
    let mut command = Command::new("/proc/self/exe");
    command
        .arg0(env!("CARGO_PKG_NAME"))
        .arg(SUBCOMMAND)
        .env_clear()
        .stdin(file.try_clone().map_err(NoOpinion::NotAsked)?);
    match ask(command, patience(file)?)? {
        Answer::Disagreements(found) => Ok(found),
        Answer::NotOpened(status) => Err(NoOpinion::NotOpened { status }),
        Answer::Unreadable(why) => Err(NoOpinion::Unreadable(io::Error::other(why))),
    }
}

/// Gives the answer about the file that is the standard input; what the subcommand does.
///
/// # Errors
/// The limits cannot be set, or nobody listens.
pub fn answer() -> io::Result<()> {
    let file = File::from(io::stdin().as_fd().try_clone_to_owned()?);
    confine(patience(&file)?)?;
    let answer = match cross_check(&file) {
        Ok(found) => Answer::Disagreements(found),
        Err(NoOpinion::NotOpened { status }) => Answer::NotOpened(status),
        Err(NoOpinion::Unreadable(why)) => Answer::Unreadable(why.to_string()),
        Err(other) => return Err(io::Error::other(other)),
    };
    Ok(serde_json::to_writer(io::stdout(), &answer)?)
}

fn patience(file: &File) -> io::Result<Duration> {
    Ok(PATIENCE + Duration::from_secs(file.metadata()?.len() / BYTES_PER_SECOND))
}

/// Limits this process for good: memory, processor time, no core, no file written, and no life after whoever asked.
fn confine(patience: Duration) -> io::Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    let seconds = patience.as_secs();
    let limits = [(Resource::As, MEMORY), (Resource::Core, 0), (Resource::Fsize, 0), (Resource::Cpu, seconds)];
    for (resource, limit) in limits {
        setrlimit(resource, Rlimit { current: Some(limit), maximum: Some(limit) })?;
    }
    Ok(())
}

/// Runs the process to its end, or ends it.
fn ask(mut command: Command, patience: Duration) -> Result<Answer, NoOpinion> {
    let mut process = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().map_err(NoOpinion::NotAsked)?;
    let said = process.stdout.take().map_or(Ok(Heard::All(Vec::new())), |out| hear(out, Instant::now() + patience));
    if !matches!(said, Ok(Heard::All(_))) {
        process.kill().map_err(NoOpinion::NotAsked)?;
    }
    let status = process.wait().map_err(NoOpinion::NotAsked)?;
    match (said.map_err(NoOpinion::NotAsked)?, status.signal()) {
        (Heard::NotYetAll, _) => Err(NoOpinion::TooSlow { patience }),
        (Heard::All(_), Some(signal)) => Err(NoOpinion::Died { signal }),
        (Heard::All(said), None) if status.success() => {
            serde_json::from_slice(&said).map_err(|_| NoOpinion::NoAnswer { status })
        }
        _ => Err(NoOpinion::NoAnswer { status }),
    }
}

/// What a process has said by its deadline.
enum Heard {
    All(Vec<u8>),
    NotYetAll,
    TooMuch,
}

fn hear(mut out: ChildStdout, deadline: Instant) -> io::Result<Heard> {
    let mut said = Vec::new();
    let mut block = [0; 4096];
    loop {
        let left = Timespec::try_from(deadline.saturating_duration_since(Instant::now())).map_err(io::Error::other)?;
        match poll(&mut [PollFd::new(&out, PollFlags::IN)], Some(&left)) {
            Ok(0) => return Ok(Heard::NotYetAll),
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => continue,
            Err(error) => return Err(error.into()),
        }
        match out.read(&mut block)? {
            0 => return Ok(Heard::All(said)),
            length => said.extend_from_slice(&block[..length]),
        }
        if said.len() > ANSWER_MAX {
            return Ok(Heard::TooMuch);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn asked(script: &str, patience: Duration) -> Result<Answer, NoOpinion> {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]);
        ask(command, patience)
    }

    #[test]
    fn a_second_opinion_that_takes_too_long_is_ended() {
        for script in ["exec sleep 1000", "while :; do :; done", "echo '{'; exec sleep 1000"] {
            let answer = asked(script, Duration::from_millis(50));
            assert!(matches!(answer, Err(NoOpinion::TooSlow { .. })), "{script}");
        }
    }

    #[test]
    fn however_the_process_ends_it_is_known_how() {
        assert!(matches!(asked("kill -SEGV $$", PATIENCE), Err(NoOpinion::Died { signal: 11 })));
        // an answer counts only from a process that ended well
        for script in ["exit 3", "echo '{\"NotOpened\":1}'; exit 3", "", "printf '{\"Not'", "exec yes"] {
            assert!(matches!(asked(script, PATIENCE), Err(NoOpinion::NoAnswer { .. })), "{script}");
        }
        assert!(matches!(asked("echo '{\"NotOpened\":104}'", PATIENCE), Ok(Answer::NotOpened(104))));
    }
}

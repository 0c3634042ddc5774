//! The test binary started again as a process of its own: to be killed, to have logs of its own, or to have its memory
//! measured.
//!
//! Parent and child agree on the name of an ignored test; the child says words on standard output.

use std::{
    env,
    io::Write,
    path::{Path, PathBuf},
    process::Stdio,
};

use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStdout, Command},
};

/// In the child: the directory the parent gave it. `None` when somebody runs all ignored tests by hand.
pub fn directory() -> Option<PathBuf> {
    env::var_os(DIRECTORY).map(PathBuf::from)
}

/// A command that runs the ignored test `name` alone.
pub fn command(name: &str, directory: &Path) -> Command {
    let mut command = Command::new(env::current_exe().expect("a running binary has a path"));
    command.args([name, "--exact", "--ignored", "--nocapture"]).env(DIRECTORY, directory);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
    command
}

/// In the child: says something to the parent. The test framework may stand in the middle of a line.
pub fn say(word: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "\n{MARK}{word}").and_then(|()| out.flush()).expect("the parent listens");
}

/// In the parent: what the child says.
pub struct Words(Lines<BufReader<ChildStdout>>);

impl Words {
    /// Of a child whose output nobody has taken yet.
    pub fn of(child: &mut Child) -> Self {
        Self(BufReader::new(child.stdout.take().expect("stdout is piped")).lines())
    }

    /// The next word; `None` when the child has ended.
    pub async fn next(&mut self) -> Option<String> {
        loop {
            let line = self.0.next_line().await.expect("the child writes text")?;
            if let Some(word) = line.strip_prefix(MARK) {
                return Some(word.to_owned());
            }
        }
    }
}

const DIRECTORY: &str = "FELDAKTE_TEST_DIRECTORY";
const MARK: &str = "> ";

//! This test binary started again as a process of its own, to run one test that only makes sense there.

use std::{
    env,
    ffi::OsString,
    io::{BufRead, BufReader, Lines},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
};

const DIRECTORY: &str = "FELDAKTE_TEST_DIRECTORY";

/// In the child: the directory the parent gave it. `None` when somebody runs all ignored tests by hand.
pub fn directory() -> Option<PathBuf> {
    env::var_os(DIRECTORY).map(PathBuf::from)
}

/// Arguments that run the ignored test `name` alone and let its output through.
pub fn arguments(name: &str) -> [&str; 4] {
    [name, "--exact", "--ignored", "--nocapture"]
}

/// A command that runs the ignored test `name` in a new process.
pub fn command(name: &str, directory: &Path) -> Command {
    let mut command = Command::new(binary());
    command.args(arguments(name));
    with_directory(&mut command, directory);
    command
}

pub fn with_directory(command: &mut Command, directory: &Path) {
    command.env(DIRECTORY, directory).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
}

pub fn binary() -> OsString {
    env::current_exe().expect("a running binary has a path").into_os_string()
}

/// Says something to the parent. The test harness may stand in the middle of a line.
pub fn say(word: &str) {
    println!("\n> {word}");
}

/// What a child says.
pub struct Words(Lines<BufReader<ChildStdout>>);

impl Words {
    pub fn of(child: &mut Child) -> Self {
        Self(BufReader::new(child.stdout.take().expect("stdout is piped")).lines())
    }
}

impl Iterator for Words {
    type Item = String;

    fn next(&mut self) -> Option<String> {
        self.0.by_ref().map_while(Result::ok).find_map(|line| Some(line.strip_prefix("> ")?.to_owned()))
    }
}

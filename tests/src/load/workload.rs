//! Case documents as the field writes them: the scripts that scenarios replay.
//!
//! One file per case, JSON lines: a header, then one line per change. `small_1.jsonl` … are small cases,
//! `large_1.jsonl.gz` is a large one. A file that says something else than its header announces is refused.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{BufRead, BufReader, Read},
    path::Path,
    sync::Arc,
};

use anyhow::{Context, Result, bail, ensure};
use feldakte_core::crdt::{Container, CrdtError, Edits, Value};
use flate2::read::GzDecoder;
use serde::Deserialize;

mod vary;

/// All scripts.
#[derive(Debug)]
pub struct Workload {
    /// Small cases: about a hundred changes each.
    small: Vec<Arc<Script>>,
    /// One large case: thousands of changes.
    pub large: Arc<Script>,
}

/// How one case came into being, change by change.
#[derive(Debug)]
pub struct Script {
    /// Its changes in order.
    pub steps: Vec<Step>,
}

/// One change: everything a person did between two saves.
#[derive(Debug, Clone, Deserialize)]
pub struct Step {
    c: usize,
    /// Milliseconds since the case began.
    pub t: u64,
    ops: Vec<Op>,
}

#[derive(Debug, Deserialize)]
struct Header {
    changes: usize,
}

/// One operation on a root container `k`.
#[derive(Debug, Clone, Deserialize)]
#[serde(tag = "o", rename_all = "lowercase")]
enum Op {
    MkMap { k: String },
    MkList { k: String },
    MkText { k: String },
    Put { k: String, f: String, v: Scalar },
    Push { k: String, v: BTreeMap<String, Scalar> },
    Splice { k: String, i: usize, d: usize, s: String },
}

#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "serde_json::Value")]
struct Scalar(Value);

impl TryFrom<serde_json::Value> for Scalar {
    type Error = &'static str;
    fn try_from(value: serde_json::Value) -> Result<Self, Self::Error> {
        Ok(Scalar(match value {
            serde_json::Value::Null => Value::Null,
            serde_json::Value::Bool(flag) => Value::Boolean(flag),
            serde_json::Value::String(text) => Value::Text(text),
            serde_json::Value::Number(number) => match number.as_i64() {
                Some(whole) => Value::Integer(whole),
                None => Value::Decimal(number.as_f64().ok_or("a number that is neither whole nor decimal")?),
            },
            serde_json::Value::Array(_) | serde_json::Value::Object(_) => return Err("values are flat"),
        }))
    }
}

impl Workload {
    /// Reads every script of a directory.
    ///
    /// # Errors
    /// When a file is missing or malformed.
    pub fn read(dir: &Path) -> Result<Self> {
        let mut small = Vec::new();
        for number in 1..=SMALL_MAX {
            let path = dir.join(format!("small_{number}.jsonl"));
            if !path.exists() {
                break;
            }
            small.push(Arc::new(Script::read(&path)?));
        }
        ensure!(!small.is_empty(), "{} holds no small_1.jsonl: name the workload's directory", dir.display());
        let large = Arc::new(Script::read(&dir.join("large_1.jsonl.gz"))?);
        Ok(Self { small, large })
    }

    /// Small cases of which no two are alike; see [`vary`].
    pub fn varied_case(&self, index: usize, seed: u64) -> Arc<Script> {
        Arc::new(vary::vary(&self.small_case(index), &self.small, seed ^ index as u64))
    }

    /// The small scripts in turn, for any number of cases.
    pub fn small_case(&self, index: usize) -> Arc<Script> {
        self.small[index % self.small.len()].clone()
    }
}

impl Script {
    /// Reads one file, gunzipped where its name ends in `.gz`.
    ///
    /// # Errors
    /// When it cannot be read or is malformed.
    pub fn read(path: &Path) -> Result<Self> {
        let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
        let is_packed = path.extension().is_some_and(|extension| extension == "gz");
        let content: Box<dyn Read> = if is_packed { Box::new(GzDecoder::new(file)) } else { Box::new(file) };
        Self::parse(BufReader::new(content)).with_context(|| format!("cannot use {}", path.display()))
    }

    pub(super) fn parse(content: impl BufRead) -> Result<Self> {
        let mut lines = content.lines();
        let Some(header) = lines.next() else { bail!("the file is empty") };
        let Header { changes } = serde_json::from_str(&header?).context("the first line is not a header")?;
        let mut steps: Vec<Step> = Vec::with_capacity(changes.min(STEPS_MAX));
        for (index, line) in lines.enumerate() {
            ensure!(index < STEPS_MAX, "more than {STEPS_MAX} changes");
            let step: Step = serde_json::from_str(&line?).with_context(|| format!("line {}", index + 2))?;
            ensure!(step.c == index, "line {}: change {} stands out of order", index + 2, step.c);
            steps.push(step);
        }
        ensure!(steps.len() == changes, "{} changes announced, {} there", changes, steps.len());
        Ok(Self { steps })
    }
}

impl Step {
    /// Does it.
    ///
    /// # Errors
    /// When the document lacks a container or a range.
    pub fn apply(&self, edits: &mut Edits<'_>) -> Result<(), CrdtError> {
        self.ops.iter().try_for_each(|op| op.apply(edits))
    }
}

impl Op {
    fn apply(&self, edits: &mut Edits<'_>) -> Result<(), CrdtError> {
        match self {
            Op::MkMap { k } => edits.create(k, Container::Map),
            Op::MkList { k } => edits.create(k, Container::List),
            Op::MkText { k } => edits.create(k, Container::Text),
            Op::Put { k, f, v } => edits.put(k, f, &v.0),
            Op::Push { k, v } => edits.push(k, v.iter().map(|(name, value)| (name.as_str(), &value.0))),
            Op::Splice { k, i, d, s } => edits.splice(k, *i, *d, s),
        }
    }
}

/// More small cases than this are not looked for.
const SMALL_MAX: usize = 64;
/// Changes of one script.
const STEPS_MAX: usize = 100_000;

#[cfg(test)]
pub(super) mod tests {
    use std::io::Write;

    use flate2::{Compression, write::GzEncoder};

    use super::*;

    pub(in crate::load) const SCRIPT: &str = concat!(
        r#"{"case":1,"kind":"small","changes":4}"#,
        "\n",
        r#"{"c":0,"t":0,"ops":[{"o":"mkmap","k":"patient"},{"o":"mklist","k":"vitals"},{"o":"mktext","k":"notes"}]}"#,
        "\n",
        r#"{"c":1,"t":1000,"ops":[{"o":"put","k":"patient","f":"family_name","v":"Müller"}]}"#,
        "\n",
        r#"{"c":2,"t":2000,"ops":[{"o":"push","k":"vitals","v":{"t":2000,"temp":40.0,"hr":130}}]}"#,
        "\n",
        r#"{"c":3,"t":3000,"ops":[{"o":"splice","k":"notes","i":0,"d":0,"s":"pale "}]}"#,
        "\n",
    );

    pub(in crate::load) fn script() -> Arc<Script> {
        Arc::new(Script::parse(SCRIPT.as_bytes()).unwrap())
    }

    #[test]
    fn packed_and_plain_files_read_alike() {
        let dir = tempfile::tempdir().unwrap();
        let plain = dir.path().join("small_1.jsonl");
        std::fs::write(&plain, SCRIPT).unwrap();
        let packed = dir.path().join("large_1.jsonl.gz");
        let mut gz = GzEncoder::new(File::create(&packed).unwrap(), Compression::fast());
        gz.write_all(SCRIPT.as_bytes()).unwrap();
        gz.finish().unwrap();
        let workload = Workload::read(dir.path()).unwrap();
        assert_eq!((workload.small.len(), workload.small[0].steps.len()), (1, 4));
        assert_eq!(format!("{:?}", workload.large), format!("{:?}", workload.small[0]));
    }

    #[test]
    fn a_truncated_file_is_refused() {
        let (cut, _) = SCRIPT.trim_end().rsplit_once('\n').unwrap();
        let error = Script::parse(cut.as_bytes()).unwrap_err();
        assert_eq!(error.to_string(), "4 changes announced, 3 there");
    }

    #[test]
    fn unknown_operations_and_nested_values_are_refused() {
        let with =
            |op: &str| Script::parse(format!("{{\"changes\":1}}\n{{\"c\":0,\"t\":0,\"ops\":[{op}]}}").as_bytes());
        assert!(with(r#"{"o":"put","k":"a","f":"b","v":1}"#).is_ok());
        assert!(with(r#"{"o":"erase","k":"a"}"#).is_err());
        assert!(with(r#"{"o":"put","k":"a","f":"b","v":[1]}"#).is_err());
    }
}

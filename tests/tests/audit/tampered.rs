//! Whoever can write the file drops its triggers first. Each way of lying with SQL is found, and its first row named.

use std::path::{Path, PathBuf};

use feldakte_certs::signing::VerifyingKey;
use feldakte_core::audit::{Act, Chain, Head, Record};
use feldakte_gateway::{
    audit::{Audit, AuditKey, check::CheckError},
    environment::Environment,
    store::audit::sqlite::SqliteAuditStore,
};
use feldakte_tests::harness::process;
use sqlx::{Connection, SqliteConnection};
use tokio_util::sync::CancellationToken;

use super::{dortmund, records, verify};

/// A file that a gateway's audit task has written: two chains, each with a checkpoint at its end.
struct Log {
    directory: tempfile::TempDir,
    key: VerifyingKey,
}

impl Log {
    async fn write(rows: u64) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let key = AuditKey::load_or_create(&directory.path().join("audit.key")).unwrap();
        let pem = key.public_pem();
        let store = SqliteAuditStore::open(&directory.path().join("audit.sqlite")).await.unwrap();
        let (audit, scribe) = Audit::new(store, key.into(), Environment::system());
        let stop = CancellationToken::new();
        let task = tokio::spawn(scribe.run(stop.clone()));
        let hagen = Chain::Tenant("hagen".parse().unwrap());
        for number in 0..rows {
            let who = feldakte_core::audit::Actor::Gateway;
            let record =
                |chain: &Chain| Record { count: number + 1, ..Record::new(chain.clone(), who.clone(), Act::Wrote) };
            audit.record_all(vec![record(&dortmund()), record(&hagen)]).await.unwrap();
        }
        stop.cancel();
        task.await.unwrap();
        Self { directory, key: VerifyingKey::from_pem(&pem).unwrap() }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("audit.sqlite")
    }

    /// Copies the file and has somebody at the copy.
    async fn tampered(&self, statements: &[&str]) -> PathBuf {
        let copy = self.directory.path().join(format!("copy-{}.sqlite", rand::random::<u64>()));
        std::fs::copy(self.path(), &copy).unwrap();
        let mut shell = SqliteConnection::connect(&format!("sqlite://{}", copy.display())).await.unwrap();
        for trigger in TRIGGERS {
            let sql = format!("drop trigger {trigger}");
            sqlx::query(sqlx::AssertSqlSafe(sql)).execute(&mut shell).await.unwrap();
        }
        for sql in statements {
            sqlx::query(sqlx::AssertSqlSafe((*sql).to_owned())).execute(&mut shell).await.unwrap();
        }
        shell.close().await.unwrap();
        copy
    }

    async fn first_bad_row(&self, path: &Path) -> u64 {
        match verify(path, &dortmund(), &self.key).await {
            Err(CheckError::Fault(fault)) => fault.first_bad_row(),
            other => panic!("not found: {other:?}"),
        }
    }
}

const TRIGGERS: [&str; 4] =
    ["row_is_never_changed", "row_is_never_removed", "checkpoint_is_never_changed", "checkpoint_is_never_removed"];

#[tokio::test]
async fn each_way_of_lying_with_sql_is_found_and_its_first_row_named() {
    let log = Log::write(20).await;
    assert_eq!(verify(&log.path(), &dortmund(), &log.key).await.unwrap().rows, 20);
    let of = "chain = 'dortmund' and";
    let attacks: [(&str, Vec<String>, u64); 9] = [
        ("a record changed", vec![format!("update row set record = cast(record || x'00' as blob) where {of} seq = 7")], 7),
        ("a hash changed", vec![format!("update row set hash = zeroblob(32) where {of} seq = 7")], 7),
        ("a hash shortened", vec![format!("update row set hash = x'00' where {of} seq = 7")], 7),
        ("a row removed", vec![format!("delete from row where {of} seq = 7")], 7),
        ("the first removed", vec![format!("delete from row where {of} seq = 1")], 1),
        (
            "a row removed and the gap closed",
            vec![
                format!("delete from row where {of} seq = 7"),
                format!("update row set seq = -(seq - 1) where {of} seq > 7"),
                format!("update row set seq = -seq where {of} seq < 0"),
            ],
            7,
        ),
        (
            "a row of another tenant put in",
            vec![
                format!("update row set seq = -(seq + 1) where {of} seq >= 7"),
                format!("update row set seq = -seq where {of} seq < 0"),
                "insert into row select 'dortmund', 7, previous, record, hash from row where chain = 'hagen' and seq = 7"
                    .into(),
            ],
            7,
        ),
        (
            "two rows swapped",
            vec![
                format!("update row set seq = 1000 where {of} seq = 7"),
                format!("update row set seq = 7 where {of} seq = 9"),
                format!("update row set seq = 9 where {of} seq = 1000"),
            ],
            7,
        ),
        ("the end cut off", vec![format!("delete from row where {of} seq > 12")], 13),
    ];
    for (name, statements, expected) in attacks {
        let statements: Vec<&str> = statements.iter().map(String::as_str).collect();
        let copy = log.tampered(&statements).await;
        assert_eq!(log.first_bad_row(&copy).await, expected, "{name}");
        let hagen = Chain::Tenant("hagen".parse().unwrap());
        assert!(verify(&copy, &hagen, &log.key).await.is_ok(), "{name}: the other tenant's chain is whole");
    }
}

#[tokio::test]
async fn a_chain_that_is_made_anew_does_not_fit_its_checkpoint_and_a_new_one_is_not_signed() {
    let log = Log::write(5).await;
    let copy = log.tampered(&["delete from row where chain = 'dortmund'"]).await;
    let mut shell = SqliteConnection::connect(&format!("sqlite://{}", copy.display())).await.unwrap();
    let mut head = Head::START;
    for record in records(&log.path(), &dortmund()).await {
        let (row, next) = head.append(&Record { count: 100, ..record });
        head = next;
        let sql = "insert into row values ('dortmund', ?, ?, ?, ?)";
        let query = sqlx::query(sql).bind(row.seq as i64).bind(&row.previous[..]).bind(&row.record[..]);
        query.bind(&row.hash[..]).execute(&mut shell).await.unwrap();
    }
    let fault = verify(&copy, &dortmund(), &log.key).await.unwrap_err();
    assert_eq!(fault.to_string(), "rows 1 to 5 are not those that were signed");
    let sql = "update checkpoint set hash = ? where chain = 'dortmund'";
    sqlx::query(sql).bind(&head.hash[..]).execute(&mut shell).await.unwrap();
    let fault = verify(&copy, &dortmund(), &log.key).await.unwrap_err();
    assert_eq!(fault.to_string(), "the signature of the checkpoint at row 5 is wrong");
    let sql = "delete from checkpoint where chain = 'dortmund'";
    sqlx::query(sql).execute(&mut shell).await.unwrap();
    let unsigned = verify(&copy, &dortmund(), &log.key).await.unwrap();
    assert_eq!(unsigned.signed_up_to, 0, "without its checkpoints the chain proves nothing, and says so");
}

#[tokio::test]
async fn the_command_line_names_the_first_bad_row_and_fails() {
    let log = Log::write(20).await;
    let copy = log.tampered(&["update row set record = x'00' where chain = 'dortmund' and seq = 7"]).await;
    let verify = async |path: &Path, more: &[&str]| {
        let arguments = [&["audit", "verify", "--path", path.to_str().unwrap()], more].concat();
        let output = process::command(&arguments).await.output().await.unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let (code, text) = verify(&log.path(), &[]).await;
    assert_eq!((code, text.lines().count()), (Some(0), 3), "{text}");
    let head = text.lines().find(|line| line.starts_with("dortmund")).unwrap().rsplit(' ').next().unwrap().to_owned();
    let (code, text) = verify(&copy, &[]).await;
    assert_eq!(code, Some(1));
    assert!(text.contains("dortmund  BAD  row 7 was changed") && text.contains("hagen  whole"), "{text}");
    let (code, text) = verify(&copy, &["--tenant", "dortmund", "--json"]).await;
    assert_eq!((code, text.contains("\"first_bad_row\":7")), (Some(1), true), "{text}");
    assert_eq!(verify(&copy, &["--tenant", "hagen"]).await.0, Some(0));
    assert_eq!(verify(&copy, &["--tenant", "essen"]).await.0, Some(1), "a chain that is gone is not whole");

    // Rows and their checkpoint cut off together: only what was written down elsewhere tells.
    let of = "where chain = 'dortmund'";
    let cut = [format!("delete from row {of} and seq > 12"), format!("delete from checkpoint {of}")];
    let cut = log.tampered(&cut.each_ref().map(String::as_str)).await;
    assert_eq!(verify(&cut, &["--tenant", "dortmund"]).await.0, Some(0));
    let (code, text) = verify(&cut, &["--tenant", "dortmund", "--head", &head]).await;
    assert_eq!((code, text.contains("written down")), (Some(1), true), "{text}");
    assert_eq!(verify(&log.path(), &["--tenant", "dortmund", "--head", &head]).await.0, Some(0));
}

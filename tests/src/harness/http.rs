//! The operators' port, asked as a probe would ask it.

use std::{net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{LOOK_AGAIN, within};

/// Status and body of a GET; `None` when nobody answers.
pub async fn get(ops: SocketAddr, path: &str) -> Option<(u16, String)> {
    tokio::time::timeout(ANSWER_WITHIN, ask(ops, path)).await.ok()?
}

/// Waits until the path answers with that status.
///
/// # Panics
/// When it does not in time.
pub async fn until_status(ops: SocketAddr, path: &str, wanted: u16) {
    within(&format!("{path} answers {wanted}"), async {
        while get(ops, path).await.is_none_or(|(status, _)| status != wanted) {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    })
    .await;
}

/// The sum of a metric's samples, or one of them when the name is as it stands there, labels included; 0 when there is
/// none yet.
///
/// # Panics
/// When the port does not answer.
pub async fn metric(ops: SocketAddr, name: &str) -> u64 {
    let (status, text) = get(ops, "/metrics").await.expect("the operators' port answers");
    assert_eq!(status, 200);
    let value_of = |line: &str| -> Option<f64> {
        let (sample, value) = line.rsplit_once(' ')?;
        if sample == name {
            return value.parse().ok();
        }
        let sample = sample.split('{').next()?;
        let is_it = sample.strip_suffix("_total").unwrap_or(sample) == name;
        is_it.then(|| value.parse().ok()).flatten()
    };
    text.lines().filter(|line| !line.starts_with('#')).filter_map(value_of).sum::<f64>() as u64
}

async fn ask(ops: SocketAddr, path: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(ops).await.ok()?;
    let request = format!("GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n");
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
}

const ANSWER_WITHIN: Duration = Duration::from_secs(10);

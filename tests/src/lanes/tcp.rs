//! Bulk and echo over TCP, without TLS: what connections do to each other, and streams within one.

use std::{
    ffi::CStr,
    io,
    net::SocketAddr,
    os::fd::AsRawFd,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result};
use feldakte_core::lane::TAIL_AFTER;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpSocket, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    task::JoinSet,
};

use super::{echo::Message, run::Ends};
use crate::netns::{link::Link, network::Network};

/// One connection carries both: between two pieces of bulk there is room for a message.
///
/// # Errors
/// When there is no connection.
pub async fn start_one(network: &Network, link: &Link, ends: &Ends, tasks: &mut JoinSet<Result<()>>) -> Result<()> {
    let (device, gateway) = connect((network, link), PORT, c"cubic").await?;
    let (from, to) = device.into_split();
    tasks.spawn(serve(gateway, ends.arrived.clone(), None));
    tasks.spawn(take_back(from, ends.clone()));
    tasks.spawn(send_both(to, ends.clone()));
    Ok(())
}

/// Each has a connection of its own.
///
/// # Errors
/// When there is no connection.
pub async fn start_pair(
    on: (&Network, &Link),
    ends: &Ends,
    control: &CStr,
    tasks: &mut JoinSet<Result<()>>,
) -> Result<()> {
    let (device, gateway) = connect(on, PORT, control).await?;
    let (from, to) = device.into_split();
    tasks.spawn(serve(gateway, Arc::default(), Some(TAIL_AFTER)));
    tasks.spawn(take_back(from, ends.clone()));
    tasks.spawn(send_messages(to, ends.clone()));
    upload_with(on, ends.arrived.clone(), control, tasks).await
}

/// A connection that uploads and nothing else.
///
/// # Errors
/// When there is no connection.
pub async fn upload(
    network: &Network,
    link: &Link,
    arrived: Arc<AtomicU64>,
    tasks: &mut JoinSet<Result<()>>,
) -> Result<()> {
    upload_with((network, link), arrived, c"cubic", tasks).await
}

async fn upload_with(
    on: (&Network, &Link),
    arrived: Arc<AtomicU64>,
    control: &CStr,
    tasks: &mut JoinSet<Result<()>>,
) -> Result<()> {
    let (device, gateway) = connect(on, PORT + 1, control).await?;
    tasks.spawn(serve(gateway, arrived, None));
    let (from, mut to) = device.into_split();
    tasks.spawn(async move {
        let _open = from;
        loop {
            send_bulk(&mut to).await?;
        }
    });
    Ok(())
}

async fn connect((network, link): (&Network, &Link), port: u16, control: &CStr) -> Result<(TcpStream, TcpStream)> {
    let address = SocketAddr::from((network.address(), port));
    let listener = network.gateway().enter(|| {
        let listener = std::net::TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        TcpListener::from_std(listener)
    })?;
    let socket = link.device().enter(TcpSocket::new_v4)?;
    let (device, gateway) = tokio::try_join!(socket.connect(address), listener.accept()).context("no connection")?;
    for stream in [&device, &gateway.0] {
        stream.set_nodelay(true)?;
        use_control(stream, control).with_context(|| format!("no congestion control {control:?}"))?;
    }
    Ok((device, gateway.0))
}

/// The system's own choice may be another one.
#[expect(unsafe_code, reason = "the standard library knows no congestion control")]
fn use_control(stream: &TcpStream, name: &CStr) -> io::Result<()> {
    // SAFETY: setsockopt reads as many bytes as it is told from a string that outlives the call.
    let result = unsafe {
        let len = name.count_bytes() as libc::socklen_t;
        libc::setsockopt(stream.as_raw_fd(), libc::IPPROTO_TCP, libc::TCP_CONGESTION, name.as_ptr().cast(), len)
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

async fn send_both(mut to: OwnedWriteHalf, ends: Ends) -> Result<()> {
    let mut clock = Ends::clock();
    loop {
        tokio::select! {
            biased;
            message = ends.next_message(&mut clock) => send_message(&mut to, &message).await?,
            () = std::future::ready(()) => send_bulk(&mut to).await?,
        }
    }
}

async fn send_messages(mut to: OwnedWriteHalf, ends: Ends) -> Result<()> {
    let mut clock = Ends::clock();
    loop {
        let message = ends.next_message(&mut clock).await;
        send_message(&mut to, &message).await?;
        tokio::time::sleep(TAIL_AFTER).await;
        to.write_all(&[TAIL]).await?;
    }
}

async fn send_message(to: &mut OwnedWriteHalf, message: &Message) -> Result<()> {
    let mut frame = vec![MESSAGE];
    frame.extend_from_slice(message);
    Ok(to.write_all(&frame).await?)
}

async fn send_bulk(to: &mut OwnedWriteHalf) -> Result<()> {
    let mut frame = [0; 1 + BULK_LEN];
    frame[0] = BULK;
    Ok(to.write_all(&frame).await?)
}

async fn take_back(mut from: OwnedReadHalf, ends: Ends) -> Result<()> {
    let mut message: Message = [0; size_of::<Message>()];
    loop {
        if from.read_u8().await? == TAIL {
            continue;
        }
        from.read_exact(&mut message).await?;
        ends.on_back(&message).await;
    }
}

async fn serve(stream: TcpStream, arrived: Arc<AtomicU64>, tail_after: Option<Duration>) -> Result<()> {
    let (mut stream, mut to) = stream.into_split();
    let mut bulk = vec![0; BULK_LEN];
    let mut message: Message = [0; size_of::<Message>()];
    loop {
        match stream.read_u8().await? {
            MESSAGE => {
                stream.read_exact(&mut message).await?;
                send_message(&mut to, &message).await?;
                if let Some(after) = tail_after {
                    tokio::time::sleep(after).await;
                    to.write_all(&[TAIL]).await?;
                }
            }
            TAIL => {}
            _ => {
                stream.read_exact(&mut bulk).await?;
                arrived.fetch_add(BULK_LEN as u64, Ordering::Relaxed);
            }
        }
    }
}

const PORT: u16 = 8443;
const BULK: u8 = 0;
const MESSAGE: u8 = 1;
const TAIL: u8 = 2;
/// A frame of HTTP/2 by default.
const BULK_LEN: usize = 16 << 10;

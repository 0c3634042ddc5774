//! Datagrams of live vitals of one session, both ways. They are read for as long as the session lasts, so that nothing waits in
//! the transport, and written when its path has room.

use feldakte_core::access::{PartSet, policy::Vitals};

use super::{Device, SessionError};
use crate::{
    live::{Flood, Member, Outbox},
    outlet::Outlet,
    transport::{LiveReceiver, LiveSender},
};

/// Serves a session that is welcome; ends when it has to.
pub(super) async fn serve(device: &Device, outlet: &Outlet) -> SessionError {
    let mut member = device.shared.live.enter(device.mailbox.session(), may(device));
    let outbox = member.outbox();
    loop {
        let (sender, receiver) = match outlet.connection().accept_live().await {
            Ok(live) => live,
            Err(error) => return error.into(),
        };
        tokio::select! {
            read = read(receiver, &mut member) => match read {
                Ok(()) => {}
                Err(error) => return error,
            },
            () = write(sender, &outbox) => {}
        }
    }
}

/// What the role of whoever speaks has to do with them; nothing when he may read nothing at all.
fn may(device: &Device) -> Vitals {
    match device.reader.parts == PartSet::NONE {
        true => Vitals::No,
        false => device.shared.policy.row(device.speaker.principal.role).vitals,
    }
}

/// Until the device lets go.
async fn read(mut receiver: LiveReceiver, member: &mut Member) -> Result<(), SessionError> {
    while let Some(datagram) = receiver.next().await? {
        member.take(datagram).map_err(|Flood| SessionError::Unexpected("a flood of datagrams"))?;
    }
    Ok(())
}

/// First the room, then the choice: what is newest is known at the last moment.
async fn write(mut sender: LiveSender, outbox: &Outbox) {
    loop {
        outbox.filled().await;
        if sender.ready().await.is_err() {
            return;
        }
        if let Some(datagram) = outbox.take() {
            sender.send(datagram);
        }
    }
}

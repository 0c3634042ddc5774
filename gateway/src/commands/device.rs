//! `feldakte device`: how devices come to the gateway, and how they end.

use std::time::Duration;

use anyhow::Context;
use clap::{Args, Subcommand};
use feldakte_core::{
    access::Role,
    ids::{DeviceId, TenantId, UnitId},
};
use feldakte_gateway::{
    control::{
        devices::{DeviceEntry, InviteEntry, Invited, NewInvite, Revoke, RevokedDevice},
        wipes::WipeEntry,
    },
    store::registry::RevocationReason,
};
use qrcode::{EcLevel, QrCode, render::unicode::Dense1x2};

use super::control::{Connect, duration, moment, scoped, table};

/// How devices come to the gateway, and how they end.
///
/// To be run by an operator with the role `operator`: the token is taken from FELDAKTE_OPERATOR_TOKEN or --token-file. An
/// operator who is bound to a tenant sees and touches its devices alone.
#[derive(Args)]
pub struct Device {
    #[command(flatten)]
    connect: Connect,
    #[command(subcommand)]
    act: Act,
}

#[derive(Subcommand)]
enum Act {
    /// Make a one-time code with which one device enrols itself.
    ///
    /// The code is shown this once, in letters to be typed and as a QR code that also says where the gateway is and by which
    /// root to believe it. It makes one device; the device keeps its key to itself.
    Invite(Invite),
    /// Which invitations there are, used and unused.
    Invites {
        /// Of one tenant.
        #[arg(long)]
        tenant: Option<TenantId>,
    },
    /// Which devices there are.
    List {
        /// Of one tenant.
        #[arg(long)]
        tenant: Option<TenantId>,
    },
    /// Everything about one device.
    Show {
        /// Its id.
        device: DeviceId,
    },
    /// Have a lost device destroy what it holds, at its next contact. From then on it gets the order and nothing else, for good.
    ///
    /// Work that it had not delivered is kept for a supervisor: `feldakte review list`. `device show` says when it has
    /// confirmed. It need not be revoked: a revoked device hears of no order and keeps what it holds. One that was found again
    /// is enrolled anew.
    Wipe {
        /// Its id.
        device: DeviceId,
    },
    /// Take a device no more. Its session is closed at once, and it gets no certificate again.
    ///
    /// It hears of no order to wipe from then on. For a tablet that is lost or stolen use `feldakte device wipe`, which blocks it
    /// just as well and destroys what it holds at its next contact.
    Revoke {
        /// Its id.
        device: DeviceId,
        /// Why.
        #[arg(long, value_name = "lost|stolen|key-compromised|misused|replaced|retired")]
        reason: RevocationReason,
        /// Leave what it holds on a device that is lost or stolen.
        #[arg(long)]
        unwiped: bool,
    },
}

#[derive(Args)]
struct Invite {
    /// Whose device, such as `dortmund`.
    #[arg(long)]
    tenant: TenantId,
    /// What it is for, such as `ambulance_crew`.
    #[arg(long)]
    role: Role,
    /// What people call it, such as "RTW 1-83-1".
    #[arg(long)]
    label: String,
    /// Its unit; devices of one unit share its cases [default: the label in lower case, with hyphens].
    #[arg(long)]
    unit: Option<UnitId>,
    /// How long the code is taken: 30m, 24h, 7d.
    #[arg(long, default_value = "24h", value_parser = duration)]
    valid: Duration,
    /// Print no QR code.
    #[arg(long)]
    no_qr: bool,
}

impl Device {
    /// Does it.
    pub async fn run(self) -> anyhow::Result<()> {
        let (connect, client) = (&self.connect, self.connect.client()?);
        match self.act {
            Act::Invite(invite) => {
                let has_qr = !invite.no_qr;
                let invited: Invited = client.post("/invites", &invite.request()?).await?;
                connect.print(&invited, |invited| invitation(invited, has_qr))
            }
            Act::Invites { tenant } => {
                let invites: Vec<InviteEntry> = client.get(&scoped("/invites", tenant.as_ref())).await?;
                let heading = ["TENANT", "UNIT", "ROLE", "LABEL", "BY", "UNTIL", "VAIN", "DEVICE"];
                connect.print(&invites, |invites| table(heading, invites.iter().map(invite_row)))
            }
            Act::List { tenant } => {
                let devices: Vec<DeviceEntry> = client.get(&scoped("/devices", tenant.as_ref())).await?;
                let heading = ["DEVICE", "TENANT", "UNIT", "ROLE", "LABEL", "STATE", "LAST SEEN", "CERTIFIED UNTIL"];
                connect.print(&devices, |devices| table(heading, devices.iter().map(device_row)))
            }
            Act::Show { device } => {
                let device: DeviceEntry = client.get(&format!("/devices/{device}")).await?;
                connect.print(&device, show)
            }
            Act::Wipe { device } => {
                let wipe: WipeEntry = client.post(&format!("/devices/{device}/wipe"), &()).await?;
                connect.print(&wipe, |wipe| format!("ordered  {}\ndevice   {}", wipe.order, wipe.device))
            }
            Act::Revoke { device, reason, unwiped } => {
                let path = format!("/devices/{device}/revoke");
                let revoked: RevokedDevice = client.post(&path, &Revoke { reason, unwiped }).await?;
                connect.print(&revoked, |revoked| {
                    format!("revoked  {}\nclosed   {} session(s)", revoked.id, revoked.closed)
                })
            }
        }
    }
}

impl Invite {
    fn request(self) -> anyhow::Result<NewInvite> {
        let Self { tenant, role, label, unit, valid, no_qr: _ } = self;
        let unit = match unit {
            Some(unit) => unit,
            None => slug(&label).parse().with_context(|| format!("no unit can be made of `{label}`: use --unit"))?,
        };
        Ok(NewInvite { tenant, unit, role, label, valid_s: valid.as_secs() })
    }
}

fn invitation(invited: &Invited, has_qr: bool) -> String {
    let Invited { code, gateway, root, tenant, unit, role, label, expires_at_ms } = invited;
    let qr = if has_qr { qr(&uri(invited)) } else { String::new() };
    format!(
        "{qr}code     {code}\nfor      {label}: {unit} of {tenant}, {role}\nuntil    {until}, once\ngateway  {gateway}\n\
         root     {root}",
        until = moment(*expires_at_ms),
    )
}

fn uri(Invited { code, gateway, root, .. }: &Invited) -> String {
    format!("feldakte://enrol?gateway={gateway}&code={code}&root={root}")
}

/// Two rows of the code per line; the quiet zone belongs to it.
fn qr(text: &str) -> String {
    match QrCode::with_error_correction_level(text, EcLevel::L) {
        Ok(code) => format!("{}\n\n", code.render::<Dense1x2>().build()),
        // Too long for any QR code: the text below says the same.
        Err(_) => String::new(),
    }
}

fn invite_row(invite: &InviteEntry) -> [String; 8] {
    let InviteEntry { tenant, unit, role, label, invited_by, expires_at_ms, attempts, device } = invite;
    let device = device.map_or_else(|| "-".to_owned(), |device| device.to_string());
    let (by, until, vain) = (invited_by.to_string(), moment(*expires_at_ms), attempts.to_string());
    [tenant.to_string(), unit.to_string(), role.to_string(), label.clone(), by, until, vain, device]
}

fn device_row(device: &DeviceEntry) -> [String; 8] {
    let DeviceEntry { id, tenant, unit, role, label, last_seen_ms, not_after_ms, .. } = device;
    let when = |ms: &Option<i64>| ms.map_or_else(|| "-".to_owned(), moment);
    let (id, tenant, unit) = (id.to_string(), tenant.to_string(), unit.to_string());
    [id, tenant, unit, role.to_string(), label.clone(), state(device), when(last_seen_ms), when(not_after_ms)]
}

fn state(device: &DeviceEntry) -> String {
    match (&device.revoked, &device.wipe, device.is_connected) {
        (Some(revoked), ..) => format!("revoked: {}", revoked.reason),
        (None, Some(WipeEntry { done_at_ms: Some(_), .. }), _) => "wiped".to_owned(),
        (None, Some(_), _) => "to be wiped".to_owned(),
        (None, None, true) => "online".to_owned(),
        (None, None, false) => "offline".to_owned(),
    }
}

fn show(device: &DeviceEntry) -> String {
    let DeviceEntry { id, tenant, unit, role, label, enrolled_at_ms, last_seen_ms, .. } = device;
    let when = |ms: Option<i64>| ms.map_or_else(|| "-".to_owned(), moment);
    let mut text = format!(
        "device       {id}\nlabel        {label}\nunit         {unit} of {tenant}\nrole         {role}\n\
         state        {}\nenrolled     {}\nlast seen    {}\ncertificate  {}, until {}\nsha256       {}\n",
        state(device),
        moment(*enrolled_at_ms),
        when(*last_seen_ms),
        device.serial.as_deref().unwrap_or("-"),
        when(device.not_after_ms),
        device.fingerprint.as_deref().unwrap_or("-"),
    );
    if let Some(WipeEntry { ordered_at_ms, done_at_ms, .. }) = &device.wipe {
        let done = done_at_ms.map_or_else(|| "not confirmed".to_owned(), |at| format!("confirmed {}", moment(at)));
        text += &format!("wipe         ordered {}, {done}\n", moment(*ordered_at_ms));
    }
    if let Some(revoked) = &device.revoked {
        text += &format!("revoked      {} by {}: {}\n", moment(revoked.at_ms), revoked.by, revoked.reason);
    }
    text
}

/// Lower case, hyphens between what are letters and digits: `RTW 1-83-1` becomes `rtw-1-83-1`.
fn slug(label: &str) -> String {
    let spelled = label.to_lowercase().replace('ä', "ae").replace('ö', "oe").replace('ü', "ue").replace('ß', "ss");
    let words = spelled.split(|character: char| !character.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_become_units() {
        assert_eq!(slug("RTW 1-83-1"), "rtw-1-83-1");
        assert_eq!(slug("  Gesundheitsamt Süd/3 "), "gesundheitsamt-sued-3");
        assert!(slug("…").parse::<UnitId>().is_err());
    }

    #[test]
    fn an_invitation_shows_the_code_and_a_picture_of_where_to_go() {
        let invited = Invited {
            code: "01234-56789-ABCDE-FGHJK".into(),
            gateway: "gateway.example:4434".into(),
            root: "ab".repeat(32),
            tenant: "dortmund".parse().expect("a slug"),
            unit: "rtw-1-83-1".parse().expect("a slug"),
            role: Role::AmbulanceCrew,
            label: "RTW 1-83-1".into(),
            expires_at_ms: 0,
        };
        assert!(invitation(&invited, false).starts_with("code     01234-56789-ABCDE-FGHJK"));
        assert!(invitation(&invited, true).contains('█'));
        assert!(uri(&invited).starts_with("feldakte://enrol?gateway=gateway.example:4434&code=01234-"));
    }
}

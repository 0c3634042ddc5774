//! An operator at the control socket of a gateway, and devices that he invites.

use std::{path::PathBuf, sync::Arc};

use feldakte_client_sdk::enrol::{EnrolOptions, Trust};
use feldakte_core::{access::Role, ids::TenantId};
use feldakte_gateway::{
    control::{
        self, Control,
        client::{Client, ClientError},
        devices::{Invited, NewInvite},
        operators::{AddedOperator, OperatorEntry, RoleName},
        socket::Socket,
    },
    store::registry::{OperatorRole, RegistryStore},
};
use tokio_util::sync::CancellationToken;

use super::{
    local::{LocalGateway, Site},
    pki::GATEWAY_NAME,
    process::ChildGateway,
};

/// Opens the control socket of a gateway in this process, until the test ends.
///
/// # Panics
/// When it cannot be bound.
pub async fn open(site: &Site, gateway: &LocalGateway) {
    let socket = Socket::bind(&socket_of(site), 0o600).await.expect("the socket is bound");
    let registry = RegistryStore::open(&site.dir().join("registry.sqlite")).await.expect("the registry opens");
    let (shared, keyring) = (gateway.gateway.shared(), gateway.keyring.clone());
    let owner = socket.owner().expect("it is there");
    let control = Arc::new(Control { shared, registry, keyring, enrol_address: String::new(), owner });
    tokio::spawn(control::serve(socket, control, CancellationToken::new()));
}

/// The user the gateway runs as.
pub fn owner(site: &Site) -> Client {
    Client::new(&socket_of(site), None)
}

fn socket_of(site: &Site) -> PathBuf {
    site.dir().join("feldakte.sock")
}

/// The word with which the gateway refused.
///
/// # Panics
/// When it did not.
pub fn refusal<T: std::fmt::Debug>(answer: Result<T, ClientError>) -> String {
    match answer {
        Err(ClientError::Refused(refused)) => refused.error,
        other => panic!("not refused: {other:?}"),
    }
}

/// A new operator of that name, bound to a tenant or not.
///
/// # Panics
/// When he cannot be added.
pub async fn operator(site: &Site, name: &str, role: OperatorRole, tenant: Option<&str>) -> Client {
    let entry = OperatorEntry {
        name: name.parse().expect("a slug"),
        roles: vec![RoleName(role)],
        tenant: tenant.map(|tenant| tenant.parse().expect("a slug")),
    };
    let added: AddedOperator = owner(site).post("/operators", &entry).await.expect("the operator is added");
    let token = added.token.parse().expect("a token");
    Client::new(&socket_of(site), Some(token))
}

/// Invites a crew's tablet.
///
/// # Errors
/// What the gateway says.
pub async fn invite(operator: &Client, tenant: &str) -> Result<Invited, ClientError> {
    let tenant: TenantId = tenant.parse().expect("a slug");
    let unit = "rtw-1".parse().expect("a slug");
    let new = NewInvite { tenant, unit, role: Role::AmbulanceCrew, label: "RTW 1".into(), valid_s: 3600 };
    operator.post("/invites", &new).await
}

/// What a device does with an invitation.
///
/// # Panics
/// When the gateway issues nothing.
pub fn accept(invited: &Invited, gateway: &ChildGateway) -> EnrolOptions {
    EnrolOptions {
        gateway: gateway.enrol.expect("the gateway issues certificates").to_string(),
        server_name: GATEWAY_NAME.to_owned(),
        code: invited.code.clone(),
        trust: Trust::Fingerprint(invited.root.parse().expect("a fingerprint")),
        key: None,
    }
}

//! The table "who sees what" as an operator has configured it: what it takes away, and that it takes away nothing else.

use std::time::Duration;

use feldakte_core::{
    access::{
        Access, Grant, Role, Subject,
        policy::{AfterClose, Row},
    },
    ids::{DocumentId, Part},
};
use feldakte_gateway::{
    control::{
        audit::PartName,
        grants::{AccessName, Changed, GrantOrder},
        reviews::ReviewEntry,
    },
    store::registry::OperatorRole,
};
use feldakte_proto::{Durable, Reason};
use feldakte_tests::harness::{
    address::Transport,
    author::Author,
    control::operator,
    crew, device,
    local::{Clock, Site},
    new_document,
    pki::Enrolled,
    process::Serve,
    raw::RawClient,
    within,
};

const RESTRICTED: &str = "[policy]\ntele_physician = { clinical = 'read' }\nsupervisor = { clinical = 'nothing' }\n\
                          field_staff = { creates = false }\n";

fn reasons(durable: &Durable) -> Vec<Reason> {
    durable.refused.iter().map(|refused| refused.reason).collect()
}

fn write_for(enrolled: &Enrolled, part: Part) -> GrantOrder {
    GrantOrder {
        unit: None,
        device: Some(enrolled.principal.device),
        guest_of: None,
        parts: vec![PartName(part)],
        access: Some(AccessName(Access::Write)),
        until_ms: None,
    }
}

/// What was granted stays granted: the restriction stands above it, from the restart on.
async fn a_configured_restriction_refuses_and_hides_and_takes_away_nothing_else(over: Transport) {
    let site = Site::over(over);
    let gateway = site.spawn().await;
    let sibel = operator(&site, "sibel", OperatorRole::Supervisor, Some("dortmund")).await;
    let crew = site.pki.enrol(&crew("rtw-1"));
    let of = |unit, role| site.pki.enrol(&device("dortmund", unit, role));
    let (physician, supervisor) = (of("tna-1", Role::TelePhysician), of("desk-1", Role::Supervisor));
    let field = of("visits-1", Role::FieldStaff);
    let (mut writer, _) = RawClient::session(&crew, gateway.address, None).await;
    let mut author = Author::new(&crew.principal, new_document());
    let mut visit = Author::new(&field.principal, new_document());
    let document = author.document;
    assert_eq!(reasons(&writer.push_and_wait(document, author.begin(1)).await), []);
    for enrolled in [&physician, &supervisor] {
        let path = format!("/cases/{}/grant", document.case);
        let granted: Changed = sibel.post(&path, &write_for(enrolled, document.part)).await.unwrap();
        assert_eq!(granted.documents, 1);
    }
    let mut order = Author::new(&physician.principal, document);
    let session = async |enrolled: &Enrolled| RawClient::session(enrolled, gateway.address, None).await.0;
    assert_eq!(reasons(&session(&physician).await.push_and_wait(document, order.begin(1)).await), []);
    assert_eq!(session(&supervisor).await.fetch(&[document]).await.snapshots.len(), 1);
    assert_eq!(reasons(&session(&field).await.push_and_wait(visit.document, visit.begin(1)).await), []);
    drop(writer);
    gateway.terminate();
    gateway.ended().await;

    let gateway = site.spawn_with(RESTRICTED).await;
    let session = async |enrolled: &Enrolled| RawClient::session(enrolled, gateway.address, None).await.0;
    let mut desk = session(&physician).await;
    assert_eq!(desk.fetch(&[document]).await.snapshots.len(), 1, "reading was left to him");
    let late = desk.push_and_wait(document, vec![order.set("gcs", "3").bytes]).await;
    assert_eq!(reasons(&late), [Reason::Quarantined], "what he wrote is not lost");
    assert_eq!(sibel.get::<Vec<ReviewEntry>>("/reviews").await.unwrap().len(), 1);

    let (mut hidden, welcome) = RawClient::session(&supervisor, gateway.address, None).await;
    assert!(welcome.caught_up, "there is nothing left for it to read");
    assert_eq!(hidden.fetch(&[document]).await.unavailable, [document]);

    let mut visits = session(&field).await;
    let mut new = Author::new(&field.principal, new_document());
    assert!(reasons(&visits.push_and_wait(new.document, new.begin(1)).await).contains(&Reason::NotPermitted));
    let goes_on = visits.push_and_wait(visit.document, vec![visit.set("gcs", "15").bytes]).await;
    assert_eq!(reasons(&goes_on), [], "what it has opened it goes on writing");

    let mut writer = session(&crew).await;
    assert_eq!(reasons(&writer.push_and_wait(document, vec![author.set("gcs", "14").bytes]).await), []);
    let mut other = Author::new(&crew.principal, DocumentId { part: Part::Identity, ..new_document() });
    assert_eq!(reasons(&writer.push_and_wait(other.document, other.begin(1)).await), []);
}

async fn a_gateway_does_not_start_with_a_policy_that_no_gateway_may_have(over: Transport) {
    let site = Site::over(over);
    for (settings, named) in [
        ("[policy.operator]\nclinical = 'read'", "`policy.operator.clinical`"),
        ("[policy.ambulance_crew]\norders = true", "`policy.ambulance_crew.orders`"),
        ("[policy.crew]\nclinical = 'read'", "`policy.crew`"),
    ] {
        let mut command = Serve { site: &site, settings }.command().await;
        let output = within("it ends", command.output()).await.unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains(named), "{said}");
    }
}

async fn a_closed_case_leaves_each_role_what_was_configured_for_it(over: Transport) {
    let (mut site, clock) = (Site::over(over), Clock::default());
    let row = *site.policy.row(Role::TelePhysician);
    let hour = Row { after_close: AfterClose::ReadFor(3_600_000), ..row };
    site.policy.set(Role::TelePhysician, hour).unwrap();
    let gateway = site.start_at(&clock).await;
    let crew = site.pki.enrol(&crew("rtw-1"));
    let (mut writer, _) = RawClient::session(&crew, gateway.address, None).await;
    let mut author = Author::new(&crew.principal, new_document());
    let document = author.document;
    assert_eq!(reasons(&writer.push_and_wait(document, author.begin(1)).await), []);
    let physician = site.pki.enrol(&device("dortmund", "tna-1", Role::TelePhysician));
    let grant = Grant::new(Subject::Device(physician.principal.device), Access::Write);
    gateway.gateway.grant(document, vec![grant]).await.unwrap();
    let (mut desk, _) = RawClient::session(&physician, gateway.address, None).await;
    let mut order = Author::new(&physician.principal, document);
    assert_eq!(reasons(&desk.push_and_wait(document, order.begin(1)).await), []);

    gateway.gateway.shared().close_case(document.case).await.unwrap();
    assert_eq!(desk.fetch(&[document]).await.snapshots.len(), 1);
    clock.advance(Duration::from_secs(3601));
    assert_eq!(desk.fetch(&[document]).await.unavailable, [document], "his hour is over");
    assert_eq!(writer.fetch(&[document]).await.snapshots.len(), 1, "the crew has its twelve");
}

feldakte_tests::over_both!(
    a_configured_restriction_refuses_and_hides_and_takes_away_nothing_else,
    a_gateway_does_not_start_with_a_policy_that_no_gateway_may_have,
    a_closed_case_leaves_each_role_what_was_configured_for_it,
);

//! A crew and a tele-physician at work on one mission, with the real SDK.

use std::{sync::Arc, time::Duration};

use feldakte_client_sdk::view::{CaseEvent, CaseKind, Edit, Order, OrderId, OrderState, OrderStep, Outcome, Value};
use feldakte_core::{
    access::{Access, Grant, Role, Subject},
    ids::{CaseId, DocumentId, Part},
};

use super::{
    crew, device,
    local::{Clock, LocalGateway, Site},
    tablet::{Tablet, fact, memory_store},
};

/// A crew's tablet and a tele-physician's, both online, and a mission that both hold.
pub struct Team {
    /// Theirs.
    pub gateway: Arc<LocalGateway>,
    /// Of unit `rtw-1`.
    pub crew: Tablet,
    /// Of unit `tna-1`.
    pub physician: Tablet,
    /// The physician's clock.
    pub clock: Clock,
    /// The mission.
    pub case: CaseId,
}

impl Team {
    /// With a gateway of their own. The physician's tablet has a clock that is wrong by that much.
    pub async fn on(site: &Site, fast_by: Duration) -> Self {
        Self::at(Arc::new(site.start().await), site, fast_by).await
    }

    /// The same with a gateway that is running.
    pub async fn at(gateway: Arc<LocalGateway>, site: &Site, fast_by: Duration) -> Self {
        let clock = Clock::default();
        clock.advance(fast_by);
        let desk = site.pki.enrol(&device("dortmund", "tna-1", Role::TelePhysician));
        let crew = Tablet::online(&site.pki.enrol(&crew("rtw-1")), gateway.address).await;
        let physician = Tablet::open_at(desk.identity(), gateway.address, memory_store(), &clock).await;
        physician.go_online().await;
        let case = mission(&crew).await;
        crew.wait_durable(case).await;
        let subject = Subject::Device(desk.principal.device);
        for (part, access) in [(Part::Operations, Access::Read), (Part::Clinical, Access::Write)] {
            let grant = Grant::new(subject.clone(), access);
            gateway.gateway.grant(DocumentId { case, part }, vec![grant]).await.expect("it is granted");
        }
        physician.wait_equal(&crew, case).await;
        Self { gateway, crew, physician, clock, case }
    }

    /// Another tablet of the crew's unit, which comes only now.
    pub async fn late(&self, site: &Site) -> Tablet {
        let late = Tablet::online(&site.pki.enrol(&crew("rtw-1")), self.gateway.address).await;
        late.wait_equal(&self.crew, self.case).await;
        late
    }

    /// Disconnects both.
    pub async fn both_offline(&self) {
        self.crew.go_offline().await;
        self.physician.go_offline().await;
    }

    /// Both online again, with everything of each on both.
    pub async fn reunited(&self) {
        for tablet in [&self.crew, &self.physician] {
            tablet.go_online().await;
            tablet.wait_all_safe().await;
        }
        self.crew.wait_equal(&self.physician, self.case).await;
    }

    /// Takes a step of an order on one of the tablets.
    pub async fn take_step(&self, tablet: &Tablet, order: OrderId, step: OrderStep) {
        let event = CaseEvent::Order { order, step };
        tablet.client.edit(self.case, vec![Edit::Record { part: Part::Clinical, event }]).await.expect("saved");
    }

    /// The same, and both see it.
    pub async fn take_visible_step(&self, tablet: &Tablet, order: OrderId, step: OrderStep) -> OrderState {
        self.take_step(tablet, order, step).await;
        tablet.wait_all_safe().await;
        self.crew.wait_equal(&self.physician, self.case).await;
        the_order(&self.crew, self.case).await.state
    }

    /// The crew proposes, the physician orders, the crew reads back and gives; both see each step.
    ///
    /// # Panics
    /// When a step does not come to what it should.
    pub async fn order_and_give(&self) -> OrderId {
        let (crew, physician, order) = (&self.crew, &self.physician, self.crew.client.new_order_id());
        let way = [
            (crew, OrderStep::Proposed { content: morphine() }, OrderState::Proposed),
            (physician, OrderStep::Ordered { content: morphine() }, OrderState::Ordered),
            (crew, OrderStep::ReadBack, OrderState::ReadBack),
            (crew, given(), OrderState::Given),
        ];
        for (tablet, step, state) in way {
            assert_eq!(self.take_visible_step(tablet, order, step).await, state);
        }
        order
    }

    /// The one order, as the crew, the physician and a tablet that comes later see it: alike.
    ///
    /// # Panics
    /// When they do not.
    pub async fn agreed(&self, site: &Site) -> Order {
        let seen = the_order(&self.crew, self.case).await;
        for tablet in [&self.physician, &self.late(site).await] {
            assert_eq!(the_order(tablet, self.case).await, seen);
        }
        seen
    }
}

/// A new mission on that tablet, with something in two of its documents.
pub async fn mission(tablet: &Tablet) -> CaseId {
    let edits = vec![fact(Part::Operations, "keyword", "Atemnot"), fact(Part::Clinical, "diagnosis_text", "unklar")];
    tablet.client.create(CaseKind::Mission, edits).await.expect("a case is saved")
}

/// What the events of the clinical document come to.
pub async fn outcome(tablet: &Tablet, case: CaseId) -> Outcome {
    let outcomes = tablet.client.outcome(case).await.expect("a case of this tablet");
    outcomes.into_iter().find(|(part, _)| *part == Part::Clinical).expect("a clinical document").1
}

/// The one order of the case.
///
/// # Panics
/// When it has none or several.
pub async fn the_order(tablet: &Tablet, case: CaseId) -> Order {
    let orders = outcome(tablet, case).await.orders;
    let [order] = &orders[..] else { panic!("one order: {orders:?}") };
    order.clone()
}

/// What an order of morphine says.
pub fn morphine() -> Vec<(String, Value)> {
    fields(&[("dose", Value::Decimal(5.0)), ("drug", text("Morphin")), ("route", text("i.v.")), ("unit", text("mg"))])
}

/// It has been given.
pub fn given() -> OrderStep {
    let dose = fields(&[("dose", Value::Decimal(5.0)), ("unit", text("mg"))]);
    OrderStep::Given { at_ms: 1_760_000_000_000, dose }
}

/// A text as a value.
pub fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

/// Fields of an entry.
pub fn fields(fields: &[(&str, Value)]) -> Vec<(String, Value)> {
    fields.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
}

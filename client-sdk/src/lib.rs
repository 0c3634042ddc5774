//! The offline-first client: an encrypted local store, a session that resumes, and the case as an app sees it.
//!
//! Everything works without a network. [`Client`] takes commands, [`view::Observer`] receives events; an edit is
//! saved on the device when its call returns, and [`view::CaseSync`] tells how much safer than that it is.
//!
//! ```no_run
//! # use std::sync::Arc;
//! # use feldakte_client_sdk::{Client, ClientOptions, SdkError, view::*};
//! # async fn example(options: ClientOptions, observer: Arc<dyn Observer>) -> Result<(), SdkError> {
//! let client = Client::open(options).await?;      // works offline: an edit is on disk when its call returns
//! client.observe(observer);                       // the paths that changed, safety and link, as they change
//! client.go_online();                             // and stays so as well as the network allows
//! let text = |text: &str| Value::Text(text.to_owned());
//! let keyword = Edit::SetFact { part: Part::Operations, name: "keyword".into(), value: text("Brustschmerz") };
//! let case = client.create(CaseKind::Mission, vec![keyword]).await?;
//! let (part, id, fields) = (Part::Clinical, client.new_entry_id(), vec![("nrs".into(), Value::Integer(7))]);
//! client.edit(case, vec![Edit::AddEntry { part, id, kind: "pain".into(), fields }]).await?;
//! let (order, content) = (client.new_order_id(), vec![("drug".into(), text("Morphin"))]);
//! let event = CaseEvent::Order { order, step: OrderStep::Proposed { content } };
//! client.edit(case, vec![Edit::Record { part, event }]).await?;
//!
//! for DocumentView { part, facts, .. } in client.read(case).await?.documents {
//!     for Fact { name, values } in facts.into_iter().filter(Fact::is_in_conflict) {
//!         for Claim { value, provenance: Provenance { author, origin } } in &values {
//!             println!("{name}: {:?}, {author:?} at {:?}", value.as_text(), origin.stamp); // whose; when, by which clock
//!         }
//!         let (path, value) = (Path::Fact(name), values[0].value.clone()); // as the user decides
//!         let among = values.iter().map(|claim| claim.provenance.origin.change).collect();
//!         client.edit(case, vec![Edit::Resolve { part, path, value, among }]).await?;
//!     }
//! }
//! client.finalise(case).await?;                   // signs what is there; whatever arrives later is an addendum
//! for (_, Outcome { orders, finalisations, .. }) in client.outcome(case).await? {
//!     orders.iter().for_each(|order| println!("{}: {}, {:?}", order.id, order.state.name(), order.flags));
//!     for addendum in finalisations.iter().flat_map(|signed| &signed.addenda) {
//!         addendum.paths.iter().for_each(|path| println!("late: {path} by {:?}", addendum.provenance.author));
//!     }
//! }
//! let sync = client.case_sync(case).await?;       // local → sent → durable | refused
//! # let _ = sync;
//! # Ok(())
//! # }
//! ```

pub mod calls;
pub mod client;
mod engine;
pub mod enrol;
pub mod environment;
pub mod error;
pub mod identity;
mod intent;
pub mod key;
mod link;
mod notify;
pub mod pin;
pub mod renewal;
pub mod store;
pub mod transport;
pub mod user;
pub mod view;
pub mod witness;

pub use client::{Client, ClientOptions};
pub use error::SdkError;
#[doc(hidden)]
pub use feldakte_core::hide_content;
pub use identity::Identity;
pub use transport::Transports;
pub use user::SignIn;

//! The commands for people: each opens the tablet, does one thing, and tells how safe it is.

use std::process::ExitCode;

use anyhow::ensure;
use clap::Args;
use feldakte_certs::{identity, pem};
use feldakte_client_sdk::view::{CaseId, CaseKind, CaseView, Edit, EntryId, LinkState, Part, Value};
use serde_json::json;

use crate::{
    Options,
    device::{Device, Opened},
    edits::{self, FactPath, ValueType},
    files, json, output, text,
    wait::Patience,
};

/// A case.
#[derive(Args)]
pub struct Which {
    /// Case id, or as much of its beginning or end as is unique.
    #[arg(value_name = "CASE")]
    case: String,
}

impl Which {
    /// As it was typed.
    pub fn case(&self) -> &str {
        &self.case
    }
}

/// Open a new case.
#[derive(Args)]
pub struct New {
    /// What kind of case: `mission` or `visit`.
    #[arg(long, default_value = "mission")]
    kind: CaseKind,
    /// What it is about: the dispatch centre's keyword, or the purpose of the visit.
    #[arg(long)]
    keyword: Option<String>,
    /// The mission number or file reference.
    #[arg(long)]
    number: Option<String>,
}

/// Set a fact of a case.
#[derive(Args)]
pub struct Set {
    #[command(flatten)]
    which: Which,
    /// The fact: operations.NAME, identity.NAME or clinical.NAME.
    #[arg(value_name = "PART.NAME")]
    fact: FactPath,
    /// Its value.
    #[arg(allow_hyphen_values = true)]
    value: String,
    /// How VALUE is read.
    #[arg(long = "type", value_enum, default_value = "text")]
    value_type: ValueType,
}

/// Append to the narrative of a case.
#[derive(Args)]
pub struct Note {
    #[command(flatten)]
    which: Which,
    /// What is appended.
    text: String,
    /// Whose narrative: operations, identity or clinical.
    #[arg(long, default_value = "clinical")]
    part: Part,
}

/// Append a set of vital signs to a case.
#[derive(Args)]
pub struct Vitals {
    #[command(flatten)]
    which: Which,
    /// Heart rate, 1/min.
    #[arg(long, value_name = "PER_MIN")]
    hr: Option<i64>,
    /// Oxygen saturation, %.
    #[arg(long, value_name = "PERCENT")]
    spo2: Option<i64>,
    /// Systolic blood pressure, mmHg.
    #[arg(long, value_name = "MMHG")]
    sys: Option<i64>,
    /// Diastolic blood pressure, mmHg.
    #[arg(long, value_name = "MMHG")]
    dia: Option<i64>,
    /// Respiratory rate, 1/min.
    #[arg(long, value_name = "PER_MIN")]
    rr: Option<i64>,
    /// End-tidal carbon dioxide, mmHg.
    #[arg(long, value_name = "MMHG")]
    etco2: Option<i64>,
    /// Body temperature, °C.
    #[arg(long, value_name = "CELSIUS", allow_negative_numbers = true)]
    temp: Option<f64>,
    /// Blood glucose, mg/dl.
    #[arg(long, value_name = "MG_DL")]
    glucose: Option<f64>,
}

impl New {
    /// Does it.
    pub(crate) async fn run(self, options: &Options) -> anyhow::Result<ExitCode> {
        let (about, number) = match self.kind {
            CaseKind::Mission => ("keyword", "mission_number"),
            CaseKind::Visit => ("purpose", "file_reference"),
        };
        let facts = [(about, self.keyword), (number, self.number)];
        let set = |(name, value): (&str, Option<String>)| {
            Some(Edit::SetFact { part: Part::Operations, name: name.to_owned(), value: Value::Text(value?) })
        };
        let edits = facts.into_iter().filter_map(set).collect();
        let tablet = open(options).await?;
        let case = tablet.client.create(self.kind, edits).await?;
        saved(options, &tablet, case).await
    }
}

impl Set {
    /// Does it.
    pub(crate) async fn run(self, options: &Options) -> anyhow::Result<ExitCode> {
        let FactPath { part, name } = self.fact;
        let value = self.value_type.read(&self.value)?;
        edit(options, &self.which, Edit::SetFact { part, name, value }).await
    }
}

impl Note {
    /// Does it.
    pub(crate) async fn run(self, options: &Options) -> anyhow::Result<ExitCode> {
        ensure!(!self.text.trim().is_empty(), "the note is empty");
        edit(options, &self.which, edits::append(self.part, &self.text)).await
    }
}

impl Vitals {
    /// Does it.
    pub(crate) async fn run(self, options: &Options) -> anyhow::Result<ExitCode> {
        let Vitals { which, hr, spo2, sys, dia, rr, etco2, temp, glucose } = self;
        let whole = [
            ("heart_rate", hr),
            ("spo2", spo2),
            ("blood_pressure_systolic", sys),
            ("blood_pressure_diastolic", dia),
            ("respiratory_rate", rr),
            ("etco2", etco2),
        ];
        let whole = whole.into_iter().filter_map(|(name, value)| Some((name.to_owned(), Value::Integer(value?))));
        let temp = temp.map(|celsius| ("temperature".to_owned(), Value::Decimal(celsius)));
        let glucose_value = glucose.map(|glucose| ("blood_glucose".to_owned(), Value::Decimal(glucose)));
        let unit = glucose.map(|_| ("blood_glucose_unit".to_owned(), Value::Text("mg/dL".to_owned())));
        let fields: Vec<_> = whole.chain(temp).chain(glucose_value).chain(unit).collect();
        ensure!(!fields.is_empty(), "no value given: `tablet vitals --help` lists them");
        let vitals = |id| Edit::AddEntry { part: Part::Clinical, id, kind: "vitals".to_owned(), fields };
        edit_with(options, &which, vitals).await
    }
}

/// Opens the tablet, and connects unless it is to stay offline.
pub(crate) async fn open(options: &Options) -> anyhow::Result<Opened> {
    let tablet = Device::load(&options.data)?.open(options.transports()).await?;
    if !options.offline {
        tablet.client.go_online();
    }
    Ok(tablet)
}

async fn edit(options: &Options, which: &Which, edit: Edit) -> anyhow::Result<ExitCode> {
    edit_with(options, which, |_| edit).await
}

/// The same for an edit that needs an id.
async fn edit_with(options: &Options, which: &Which, edit: impl FnOnce(EntryId) -> Edit) -> anyhow::Result<ExitCode> {
    let tablet = open(options).await?;
    let case = tablet.case(&which.case).await?;
    let edit = edit(tablet.client.new_entry_id());
    tablet.client.edit(case, vec![edit]).await?;
    saved(options, &tablet, case).await
}

/// Tells "saved on device" at once, and then what became of it.
async fn saved(options: &Options, tablet: &Opened, case: CaseId) -> anyhow::Result<ExitCode> {
    if !options.json {
        output::print(&format!("case {case}\nsaved on device"))?;
    }
    let sync = match options.offline {
        true => tablet.client.case_sync(case).await?,
        false => Patience::new(&tablet.client, options.wait).case_settled(&tablet.client, case).await?,
    };
    let link = tablet.client.status().await?.link;
    tablet.client.shutdown().await;
    let refused = sync.refused > 0;
    if options.json {
        output::print_json(&json!({"case": case.to_string(), "link": json::link(link), "sync": json::sync(&sync)}))?;
    } else if sync.local + sync.sent == 0 {
        output::print(&text::safety(&sync))?;
    } else {
        output::print(&format!("{}\n{}", text::safety(&sync), text::link_advice(link, &tablet.gateway)))?;
    }
    Ok(if refused { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Opens for reading: connects and catches up, or says on standard error that it could not.
async fn open_fresh(options: &Options) -> anyhow::Result<Opened> {
    let tablet = open(options).await?;
    if options.offline {
        return Ok(tablet);
    }
    if let Err(link) = Patience::new(&tablet.client, options.wait).caught_up(&tablet.client).await? {
        let why = match link {
            LinkState::Connected => "the gateway is still sending".to_owned(),
            LinkState::Refused => text::link_advice(link, &tablet.gateway),
            _ => format!("gateway {} has not answered", tablet.gateway),
        };
        eprintln!("tablet: showing what is on this device: {why}");
    }
    Ok(tablet)
}

/// `tablet list`.
pub(crate) async fn list(options: &Options) -> anyhow::Result<ExitCode> {
    let tablet = open_fresh(options).await?;
    let mut text = String::new();
    let mut cases = Vec::new();
    for summary in tablet.client.list().await? {
        let title = title(&tablet.client.read(summary.case).await?);
        text += &text::summary(&summary, &title);
        cases.push(json!({"case": summary.case.to_string(), "title": title, "sync": json::sync(&summary.sync)}));
    }
    tablet.client.shutdown().await;
    match options.json {
        true => output::print_json(&json!(cases))?,
        false if text.is_empty() => output::print("no cases on this device; `tablet new --keyword …` opens one")?,
        false => output::print(&text)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// What a person recognises a case by.
fn title(view: &CaseView) -> String {
    let facts = view.documents.iter().filter(|document| document.part == Part::Operations).flat_map(|d| &d.facts);
    let facts: Vec<_> = facts.collect();
    let names = ["mission_number", "file_reference", "kind", "keyword", "purpose"];
    let shown = names.into_iter().filter_map(|name| {
        let fact = facts.iter().find(|fact| fact.name == name)?;
        Some(text::value(&fact.shown().value))
    });
    shown.collect::<Vec<_>>().join(" ")
}

/// `tablet show`.
pub(crate) async fn show(options: &Options, which: Which) -> anyhow::Result<ExitCode> {
    let tablet = open_fresh(options).await?;
    let case = tablet.case(&which.case).await?;
    let view = tablet.client.read(case).await?;
    tablet.client.shutdown().await;
    match options.json {
        true => output::print_json(&json::case(&view))?,
        false => output::print(&text::case(&view, tablet.principal.device))?,
    }
    Ok(ExitCode::SUCCESS)
}

/// `tablet parked`.
pub(crate) async fn parked(options: &Options, which: Which) -> anyhow::Result<ExitCode> {
    let tablet = open_fresh(options).await?;
    let case = tablet.case(&which.case).await?;
    let parked = tablet.client.parked(case).await?;
    tablet.client.shutdown().await;
    if options.json {
        output::print_json(&json!(parked.iter().map(json::parked).collect::<Vec<_>>()))?;
        return Ok(ExitCode::SUCCESS);
    }
    if parked.is_empty() {
        output::print("the gateway has refused nothing of this case")?;
    }
    for refused in &parked {
        let edits: Vec<String> = refused.edits.iter().map(|edit| format!("  {}\n", text::edit(edit))).collect();
        output::print(&format!("refused: {:?}\n{}", refused.reason, edits.concat()))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// `tablet status`.
pub(crate) async fn status(options: &Options) -> anyhow::Result<ExitCode> {
    let device = Device::load(&options.data)?;
    let tablet = open_fresh(options).await?;
    let (status, facts) = (tablet.client.status().await?, tablet.client.link().await);
    tablet.client.shutdown().await;
    let certificate = pem::certificates(&files::read(&device.certificate())?)?;
    let validity = certificate.first().map(identity::validity_of).transpose()?;
    let expires_ms = validity.and_then(|validity| {
        let since = validity.not_after.duration_since(std::time::UNIX_EPOCH).ok()?;
        i64::try_from(since.as_millis()).ok()
    });
    let principal = &tablet.principal;
    if options.json {
        output::print_json(&json!({
            "label": device.config.label, "device": device.config.device, "tenant": principal.tenant.as_str(),
            "unit": principal.unit.as_str(), "role": principal.role.name(), "gateway": tablet.gateway,
            "certificate_expires_ms": expires_ms, "status": json::status(&status),
            "path": facts.as_ref().map(json::facts),
        }))?;
        return Ok(ExitCode::SUCCESS);
    }
    let sync = status.sync;
    let mut text = format!("tablet       {} ({})\n", output::plain(&device.config.label), device.config.device);
    text += &format!("unit         {} of {}, {}\n", principal.unit, principal.tenant, principal.role);
    text += &format!("certificate  until {}\n", expires_ms.map_or_else(|| "?".to_owned(), text::time));
    text += &format!("gateway      {}: {}\n", tablet.gateway, json::link(status.link));
    if let Some(facts) = facts {
        text += &format!(
            "path         {}, {} ms there and back\n",
            json::transport(facts.transport),
            facts.rtt.as_millis()
        );
    }
    if let Some(offset) = status.clock_offset_ms {
        text += &format!("clock        gateway is {offset:+} ms from this device\n");
    }
    text += &format!("cases        {}\n", status.cases);
    text += &format!(
        "own changes  {} durable, {} waiting, {} refused\n",
        sync.durable,
        sync.local + sync.sent,
        sync.refused
    );
    if let Some(user) = status.user {
        text += &format!("user         {user}\n");
    }
    if status.others > 0 {
        text += &format!("others       {} changes of other users of this tablet are not safe\n", status.others);
    }
    text += match status.all_safe {
        true => "all safe     yes: everything ever saved on this device is durable at the gateway\n",
        false => "all safe     NO: this device holds changes that exist nowhere else\n",
    };
    output::print(&text)?;
    Ok(ExitCode::SUCCESS)
}

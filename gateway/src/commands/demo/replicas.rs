//! Whether replicas agree, and on what they leave the choice to a person.

use std::time::Duration;

use anyhow::Context;
use serde_json::{Value, json};

use super::tablet::Tablet;

/// What every replica shows at the end, by the digests of its cases.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Replicas(Vec<Replica>);

/// One of them.
#[derive(Debug, PartialEq, Eq)]
pub struct Replica {
    /// What people call it.
    pub label: String,
    /// Of each case; `None` for a case that it does not hold.
    pub digests: Vec<Option<String>>,
}

impl Replicas {
    /// Those that are to be compared.
    pub fn of(replicas: impl IntoIterator<Item = Replica>) -> Self {
        Self(replicas.into_iter().collect())
    }

    /// Whether there is something to compare, all of them hold all of it, and all show the same.
    pub fn are_equal(&self) -> bool {
        let Some((first, others)) = self.0.split_first() else { return false };
        let is_whole = !first.digests.is_empty() && first.digests.iter().all(Option::is_some);
        is_whole && !others.is_empty() && others.iter().all(|other| other.digests == first.digests)
    }

    /// For people.
    pub fn summary(&self) -> String {
        let labels: Vec<&str> = self.0.iter().map(|replica| replica.label.as_str()).collect();
        format!("{}: {}", if self.are_equal() { "equal" } else { "NOT EQUAL" }, labels.join(", "))
    }
}

impl Replica {
    /// What the tablet shows now.
    pub async fn of(tablet: &mut Tablet, cases: &[String]) -> anyhow::Result<Replica> {
        let held = tablet.ask(json!({"cases": true})).await?;
        let held = held["cases"].as_array().context("`cases` is not a list")?;
        let mut digests = Vec::new();
        for case in cases {
            let holds = held.contains(&json!(case));
            digests.push(if holds { Some(digest_of(tablet, case).await?) } else { None });
        }
        Ok(Replica { label: tablet.label().trim().to_owned(), digests })
    }
}

/// Returns what the newcomer shows when it is what `others` show, or when it has had its time.
pub async fn newcomer(tablet: &mut Tablet, cases: &[String], others: &Replica) -> anyhow::Result<Replica> {
    let deadline = tokio::time::Instant::now() + CATCHES_UP_WITHIN;
    loop {
        let shows = Replica::of(tablet, cases).await?;
        if shows.digests == others.digests || tokio::time::Instant::now() >= deadline {
            return Ok(shows);
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

async fn digest_of(tablet: &mut Tablet, case: &str) -> anyhow::Result<String> {
    let answer = tablet.ask(json!({"digest": case})).await?;
    Ok(answer["digest"]["sha256"].as_str().context("no digest in the answer")?.to_owned())
}

/// Returns when both tablets hold everything as durable and show the same.
pub async fn until_merged(a: &mut Tablet, b: &mut Tablet, cases: &[String]) -> anyhow::Result<()> {
    loop {
        if is_merged(a, b, cases).await? {
            return Ok(());
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

async fn is_merged(a: &mut Tablet, b: &mut Tablet, cases: &[String]) -> anyhow::Result<bool> {
    for tablet in [&mut *a, &mut *b] {
        let answer = tablet.ask(json!({"status": true})).await?;
        let status = &answer["status"];
        let refused = status["refused"].as_u64().unwrap_or(0);
        anyhow::ensure!(refused == 0, "{}: the gateway refused {refused} changes", tablet.label().trim());
        let holds_all = status["cases"].as_u64() == Some(cases.len() as u64);
        if status["all_safe"] != json!(true) || status["link"] != json!("connected") || !holds_all {
            return Ok(false);
        }
    }
    Ok(Replica::of(a, cases).await?.digests == Replica::of(b, cases).await?.digests)
}

/// Names and values of the facts on which replicas disagree.
pub fn conflicts_of(view: &Value) -> Vec<(String, Vec<Value>)> {
    let documents = view["documents"].as_array().into_iter().flatten();
    let facts = documents.flat_map(|document| {
        let part = document["part"].as_str().unwrap_or_default();
        let facts = document["facts"].as_array().into_iter().flatten();
        facts.map(move |fact| (format!("{part}.{}", fact["name"].as_str().unwrap_or_default()), &fact["values"]))
    });
    let several = facts.filter_map(|(name, values)| Some((name, values.as_array()?.clone())));
    several.filter(|(_, values)| values.len() > 1).collect()
}

/// Agreement has no event of its own.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// From a newcomer's start until it holds all cases; a tenth of it is usual.
const CATCHES_UP_WITHIN: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    fn replica(label: &str, digests: &[Option<&str>]) -> Replica {
        Replica { label: label.to_owned(), digests: digests.iter().map(|digest| digest.map(str::to_owned)).collect() }
    }

    #[test]
    fn replicas_are_equal_when_all_hold_the_same_of_every_case() {
        let [one, two] = [Some("1"), Some("2")];
        let equal =
            |others: &[&[Option<&str>]]| Replicas::of(others.iter().map(|digests| replica("A", digests))).are_equal();
        assert!(equal(&[&[one, two], &[one, two], &[one, two]]));
        assert!(!equal(&[&[one, two], &[one, two], &[one, one]]), "the last one differs");
        assert!(!equal(&[&[one, None], &[one, None]]), "a case is nowhere");
        assert!(!equal(&[&[], &[]]) && !equal(&[&[one]]) && !equal(&[]), "nothing was compared");
    }

    #[test]
    fn the_summary_names_who_was_compared() {
        let replicas = Replicas::of([replica("A", &[Some("1")]), replica("B", &[Some("2")])]);
        assert_eq!(replicas.summary(), "NOT EQUAL: A, B");
    }

    #[test]
    fn conflicts_are_facts_with_several_values() {
        let view = json!({"documents": [{"part": "clinical", "facts": [
            {"name": "allergy", "values": [{"value": "Penicillin", "by": "x"}, {"value": "keine", "by": "y"}]},
            {"name": "naca", "values": [{"value": 4, "by": "x"}]},
        ]}]});
        let found = conflicts_of(&view);
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].0.as_str(), found[0].1.len()), ("clinical.allergy", 2));
    }
}

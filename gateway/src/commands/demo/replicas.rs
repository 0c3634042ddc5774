//! Whether two tablets agree, and on what they leave the choice to a person.

use std::time::Duration;

use serde_json::{Value, json};

use super::tablet::Tablet;

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
    for case in cases {
        let ask = || json!({"digest": case});
        if a.ask(ask()).await?["digest"] != b.ask(ask()).await?["digest"] {
            return Ok(false);
        }
    }
    Ok(true)
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

#[cfg(test)]
mod tests {
    use super::*;

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

//! A plan for people (a table) and for machines (JSON).

use std::fmt::{self, Write as _};

use serde::{Serialize, Serializer, ser::SerializeStruct};

use super::{Action, BuilderOutcome, Plan, PlannedImage};
use crate::change::Priority;

/// As a map: `namespace`, `name`, what is done with reasons and changes, `wave`, `cost`, `urgency`, `caused`.
impl Serialize for PlannedImage<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Row<'a> {
            namespace: &'a str,
            name: &'a str,
            #[serde(flatten)]
            action: &'a Action,
            explanation: String,
            #[serde(skip_serializing_if = "Option::is_none")]
            wave: Option<u32>,
            #[serde(skip_serializing_if = "Option::is_none")]
            urgency: Option<&'static str>,
            cost: super::Cost,
            caused: bool,
            after_running: bool,
        }
        let is_work = self.is_work();
        let urgency = match self.action.priority() {
            Priority::High => "user",
            Priority::Low => "background",
        };
        Row {
            namespace: &self.image.metadata.namespace,
            name: &self.image.metadata.name,
            action: &self.action,
            explanation: self.explain(),
            wave: is_work.then_some(self.wave),
            urgency: is_work.then_some(urgency),
            cost: self.cost,
            caused: self.caused,
            after_running: self.after_running,
        }
        .serialize(serializer)
    }
}

impl Serialize for Plan<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_struct("Plan", 4)?;
        map.serialize_field("builders", &self.builders)?;
        map.serialize_field("images", &self.images)?;
        map.serialize_field("waves", &self.waves)?;
        map.serialize_field("cost", &self.cost())?;
        map.end()
    }
}

/// A table of the builders and of the images with work or a problem; then one line with sums.
impl fmt::Display for Plan<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for builder in &self.builders {
            let kind = if builder.namespace.is_empty() {
                "ClusterBuilder"
            } else {
                "Builder"
            };
            let name = [builder.namespace.as_str(), "/"].concat();
            let name = format!("{}{}", name.trim_start_matches('/'), builder.name);
            match &builder.outcome {
                BuilderOutcome::Remade { parts } => {
                    writeln!(
                        f,
                        "{kind} {name} is made anew with another {}",
                        parts.join(", another ")
                    )?;
                }
                BuilderOutcome::Impossible { problem } => {
                    writeln!(f, "{kind} {name} cannot be made anew and stays as it is: {problem}")?;
                }
            }
        }
        let shown: Vec<&PlannedImage<'_>> = self
            .images
            .iter()
            .filter(|planned| planned.action != Action::Stay)
            .collect();
        if !shown.is_empty() {
            if !self.builders.is_empty() {
                writeln!(f)?;
            }
            f.write_str(&table(&shown))?;
            writeln!(f)?;
        }
        f.write_str(&self.summary())
    }
}

impl Plan<'_> {
    /// Tells people in one line what the plan comes to.
    pub fn summary(&self) -> String {
        let count = |name: &str| {
            self.images
                .iter()
                .filter(|planned| planned.action.name() == name)
                .count()
        };
        let mut text = format!(
            "{} rebuilt, {} rebased, {} untouched",
            count("rebuild"),
            count("rebase"),
            count("stay")
        );
        for (name, label) in [("wait", "waiting"), ("error", "undecided")] {
            if count(name) > 0 {
                let _ = write!(text, ", {} {label}", count(name));
            }
        }
        let cost = self.cost();
        if cost.seconds > 0 {
            let _ = write!(
                text,
                "; about {} of work and {} registry requests in {} wave{}",
                duration(cost.seconds),
                cost.requests,
                self.waves.len(),
                if self.waves.len() == 1 { "" } else { "s" }
            );
        }
        text
    }
}

fn table(images: &[&PlannedImage<'_>]) -> String {
    let head = ["WAVE", "NAMESPACE", "IMAGE", "ACTION", "REASON", "COST", "BECAUSE"].map(str::to_owned);
    let rows = images.iter().map(|planned| {
        let because = match planned.action.changes() {
            Some(changes) => changes.explain(),
            None => planned.action.explain(),
        };
        let already = if planned.is_work() && !planned.caused {
            " (due already)"
        } else {
            ""
        };
        [
            if planned.is_work() {
                planned.wave.to_string()
            } else {
                "-".to_owned()
            },
            planned.image.metadata.namespace.clone(),
            planned.image.metadata.name.clone(),
            planned.action.name().to_owned(),
            planned.action.reasons(),
            if planned.is_work() {
                duration(planned.cost.seconds)
            } else {
                "-".to_owned()
            },
            format!("{because}{already}"),
        ]
    });
    let rows: Vec<[String; 7]> = std::iter::once(head).chain(rows).collect();
    let mut widths = [0; 7];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    let mut text = String::new();
    for row in &rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(widths) {
            let _ = write!(line, "{cell:width$}   ");
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// Seconds as people say them: `45s`, `3m20s`, `2h05m`.
pub(super) fn duration(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        _ => format!("{}h{:02}m", seconds / 3600, seconds % 3600 / 60),
    }
}

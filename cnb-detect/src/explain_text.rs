//! The explanation of a failed detection as a tree for people.

use std::fmt;

use crate::{Explanation, GroupFailure, GroupOutcome, ModuleOutcome, ModuleVerdict, PlanProblem, PlanProblemKind};

/// The most lines of a module's output that are shown.
const MOST_LINES: usize = 5;

/// A line of text with what hangs beneath it.
struct Node {
    text: String,
    children: Vec<Node>,
}

impl Node {
    fn new(text: impl Into<String>, children: Vec<Node>) -> Self {
        Self {
            text: text.into(),
            children,
        }
    }

    fn leaf(text: impl Into<String>) -> Self {
        Self::new(text, Vec::new())
    }

    fn write(&self, f: &mut fmt::Formatter<'_>, indent: &str) -> fmt::Result {
        for (at, child) in self.children.iter().enumerate() {
            let last = at + 1 == self.children.len();
            let (branch, below) = if last { ("└─ ", "   ") } else { ("├─ ", "│  ") };
            let below = format!("{indent}{below}");
            for (line, text) in child.text.lines().enumerate() {
                let start = if line == 0 {
                    format!("{indent}{branch}")
                } else {
                    below.clone()
                };
                writeln!(f, "{start}{}", printable(text))?;
            }
            child.write(f, &below)?;
        }
        Ok(())
    }
}

/// Replaces what a terminal would take for a command, such as escape sequences in the output of buildpacks.
fn printable(text: &str) -> String {
    let show = |c: char| match c {
        '\t' => ' ',
        c if c.is_control() => '\u{fffd}',
        c => c,
    };
    text.chars().map(show).collect()
}

impl fmt::Display for Explanation {
    /// Writes one line, and beneath it a branch for each group.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut children: Vec<Node> = self.groups.iter().enumerate().map(group).collect();
        if self.more > 0 {
            children.push(Node::leaf(format!("and {} more groups", self.more)));
        }
        let tried = match self.groups.len() + self.more {
            0 => "there is no group to try".to_owned(),
            1 => "the only group does not fit".to_owned(),
            count => format!("none of {count} groups fits"),
        };
        writeln!(f, "{tried}")?;
        Node::new("", children).write(f, "")
    }
}

fn group((at, group): (usize, &GroupOutcome)) -> Node {
    let failure = match &group.failure {
        GroupFailure::Modules(failed) => {
            let names: Vec<String> = failed.iter().map(|&at| group.modules[at].name()).collect();
            let verb = if names.len() == 1 { "is" } else { "are" };
            format!("{} {verb} required and did not pass", names.join(", "))
        }
        GroupFailure::Empty => "no buildpack passed".to_owned(),
        GroupFailure::Plan(_) => "what the modules provide and require does not fit together".to_owned(),
    };
    let mut children: Vec<Node> = group.modules.iter().map(module).collect();
    if let GroupFailure::Plan(plan) = &group.failure {
        children.extend(plan.problems.iter().map(problem));
        if let Some(conflict) = &plan.conflict {
            children.push(Node::leaf(format!(
                "no combination of alternatives works; with the first of each, {conflict}"
            )));
        }
    }
    Node::new(format!("group {}: {failure}", at + 1), children)
}

fn module(outcome: &ModuleOutcome) -> Node {
    let optional = if outcome.module.optional { " (optional)" } else { "" };
    let verdict = match &outcome.verdict {
        ModuleVerdict::Passed => "passed".to_owned(),
        ModuleVerdict::Declined => "does not apply".to_owned(),
        ModuleVerdict::Failed { code } => format!("failed with exit code {code}"),
        ModuleVerdict::Error { message } => format!("failed: {message}"),
    };
    let lines: Vec<&str> = match outcome.verdict {
        ModuleVerdict::Passed => Vec::new(),
        _ => outcome.output.lines().collect(),
    };
    let shown = lines[lines.len().saturating_sub(MOST_LINES)..].join("\n");
    let output = if shown.trim().is_empty() {
        Vec::new()
    } else {
        vec![Node::leaf(shown)]
    };
    Node::new(format!("{}{optional} {verdict}", outcome.name()), output)
}

fn problem(problem: &PlanProblem) -> Node {
    let alternative = if problem.alternatives > 1 {
        format!(" (alternative {} of {})", problem.alternative + 1, problem.alternatives)
    } else {
        String::new()
    };
    let what = match &problem.kind {
        PlanProblemKind::Unprovided { name, later } if later.is_empty() => {
            format!("requires {name}, which nobody provides")
        }
        PlanProblemKind::Unprovided { name, later } => {
            format!(
                "requires {name}, which only later modules provide: {}",
                later.join(", ")
            )
        }
        PlanProblemKind::Unused { name, earlier } if earlier.is_empty() => {
            format!("provides {name}, which nobody requires")
        }
        PlanProblemKind::Unused { name, earlier } => {
            format!(
                "provides {name}, which only earlier modules require: {}",
                earlier.join(", ")
            )
        }
    };
    Node::leaf(format!("{}{alternative} {what}", problem.module.full_name()))
}

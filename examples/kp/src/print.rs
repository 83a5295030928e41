//! What the user sees: tables, status blocks, progress and result lines, whole resources.

use std::{
    fmt::Write as _,
    io::{self, IsTerminal as _, Write as _},
};

use anyhow::bail;
use clap::Args;
use serde_json::Value;

use crate::shape;

/// A table whose columns are as wide as their widest cell plus four blanks; the last is not padded.
pub(crate) struct Table(Vec<Vec<String>>);

impl Table {
    pub(crate) fn new(headings: &[&str]) -> Self {
        Self(vec![headings.iter().map(|heading| heading.to_uppercase()).collect()])
    }

    /// A table that goes on with another one's rows.
    pub(crate) fn headless() -> Self {
        Self(Vec::new())
    }

    pub(crate) fn row<S: Into<String>>(&mut self, cells: impl IntoIterator<Item = S>) {
        self.0.push(cells.into_iter().map(Into::into).collect());
    }

    /// Returns whether it holds no row beneath its heading.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.len() == 1
    }

    /// Renders the rows and one empty line.
    pub(crate) fn render(&self) -> String {
        let columns = self.0.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            self.0
                .iter()
                .filter_map(|row| row.get(column))
                .map(|cell| cell.chars().count())
                .max()
                .unwrap_or(0)
                + 4
        };
        let widths: Vec<_> = (0..columns).map(width).collect();
        let mut text = String::new();
        for row in &self.0 {
            for (column, cell) in row.iter().enumerate() {
                text.push_str(cell);
                if column + 1 < row.len() {
                    let blanks = widths[column].saturating_sub(cell.chars().count());
                    text.extend(std::iter::repeat_n(' ', blanks));
                }
            }
            text.push('\n');
        }
        text.push('\n');
        text
    }
}

/// Keys and values under an optional heading, the values in one column.
#[derive(Default)]
pub(crate) struct Block {
    heading: Option<String>,
    pairs: Vec<(String, String)>,
}

impl Block {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn headed(heading: &str) -> Self {
        Self {
            heading: Some(heading.to_owned()),
            pairs: Vec::new(),
        }
    }

    /// Adds a pair; an empty value is shown as `--`. Lines of the value after the first that begin
    /// with a TAB line up with it.
    #[must_use]
    pub(crate) fn pair(mut self, key: &str, value: impl Into<String>) -> Self {
        self.pairs.push((key.to_owned(), value.into()));
        self
    }

    /// Renders the lines and one empty line.
    pub(crate) fn render(&self) -> String {
        let width = self
            .pairs
            .iter()
            .map(|(key, _)| key.chars().count() + 1)
            .max()
            .unwrap_or(0)
            + 4;
        let mut text = String::new();
        if let Some(heading) = &self.heading {
            let _ = writeln!(text, "{heading}");
        }
        for (key, value) in &self.pairs {
            let value = if value.is_empty() { "--" } else { value };
            let value = value.replace("\n\t", &format!("\n{}", " ".repeat(width)));
            let key = format!("{key}:");
            let _ = writeln!(text, "{key:width$}{value}");
        }
        text.push('\n');
        text
    }
}

/// Writes to standard output; a reader that went away ends the program quietly, as it does `ls | head`.
pub(crate) fn out(text: &(impl AsRef<[u8]> + ?Sized)) {
    let mut stdout = io::stdout().lock();
    if stdout.write_all(text.as_ref()).and_then(|()| stdout.flush()).is_err() {
        std::process::exit(0);
    }
}

/// Writes to standard error.
pub(crate) fn err(text: &str) {
    let _ = io::stderr().lock().write_all(text.as_bytes());
}

/// The flags that say whether anything is changed, and in which form the result is printed.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct OutputFlags {
    /// only validate: nothing is written and nothing is uploaded
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// print the resource as yaml or json; progress goes to standard error
    #[arg(long, value_name = "FORMAT", default_value = "")]
    pub(crate) output: String,
}

/// The same with the variant that uploads images but changes no resource.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct UploadFlags {
    #[command(flatten)]
    pub(crate) output: OutputFlags,
    /// as --dry-run, but images are uploaded, so that the printed resource can be applied
    #[arg(long)]
    pub(crate) dry_run_with_image_upload: bool,
}

/// Where the lines of one command go.
#[derive(Clone, Debug)]
pub(crate) struct Printer {
    format: Option<Format>,
    suffix: &'static str,
    dry_run: bool,
    uploads: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Yaml,
    Json,
}

impl Printer {
    pub(crate) fn new(flags: &OutputFlags) -> anyhow::Result<Self> {
        Self::with_uploads(&UploadFlags {
            output: flags.clone(),
            dry_run_with_image_upload: false,
        })
    }

    pub(crate) fn with_uploads(flags: &UploadFlags) -> anyhow::Result<Self> {
        let format = match flags.output.output.as_str() {
            "" => None,
            "yaml" => Some(Format::Yaml),
            "json" => Some(Format::Json),
            other => bail!("unsupported output format: \"{other}\", supported formats are yaml, json"),
        };
        let suffix = match (flags.dry_run_with_image_upload, flags.output.dry_run) {
            (true, _) => " (dry run with image upload)",
            (false, true) => " (dry run)",
            (false, false) => "",
        };
        let dry_run = flags.output.dry_run || flags.dry_run_with_image_upload;
        Ok(Self {
            format,
            suffix,
            dry_run,
            uploads: !flags.output.dry_run || flags.dry_run_with_image_upload,
        })
    }

    /// Whether no resource may be written.
    pub(crate) fn is_dry_run(&self) -> bool {
        self.dry_run
    }

    /// Whether images may be uploaded.
    pub(crate) fn uploads(&self) -> bool {
        self.uploads
    }

    /// Whether resources, not sentences, are wanted on standard output.
    pub(crate) fn prints_resources(&self) -> bool {
        self.format.is_some()
    }

    fn progress(&self, text: &str) {
        if self.format.is_some() { err(text) } else { out(text) }
    }

    /// A line about a step that begins: `Creating ClusterStore...`.
    pub(crate) fn step(&self, text: &str) {
        self.progress(&format!("{text}{}\n", self.suffix));
    }

    /// A detail of a step.
    pub(crate) fn detail(&self, text: &str) {
        self.progress(&format!("{text}\n"));
    }

    /// The line about an upload, which ends its line only on a terminal (as the reference does, and
    /// as scripts that compare its output expect).
    pub(crate) fn upload(&self, reference: &str) {
        let verb = if self.uploads { "Uploading" } else { "Skipping" };
        let terminal = io::stdout().is_terminal() || io::stderr().is_terminal();
        let end = if self.uploads && !terminal { "" } else { "\n" };
        self.progress(&format!("\t{verb} '{reference}'{end}"));
    }

    /// The line that says what was done, unless resources are printed.
    pub(crate) fn result(&self, text: &str) {
        if self.format.is_none() {
            out(&format!("{text}{}\n", self.suffix));
        }
    }

    /// As [`Printer::result`], for a change that may have been none.
    pub(crate) fn change(&self, text: &str, changed: bool) {
        let suffix = if self.suffix.is_empty() && !changed {
            " (no change)"
        } else {
            self.suffix
        };
        if self.format.is_none() {
            out(&format!("{text}{suffix}\n"));
        }
    }

    /// Ends a YAML document that another one follows.
    pub(crate) fn separate(&self) {
        if self.format == Some(Format::Yaml) {
            out("---\n");
        }
    }

    /// Prints objects, if resources are wanted.
    pub(crate) fn objects(&self, objects: &[Value]) -> anyhow::Result<()> {
        let each = |form: fn(&Value) -> anyhow::Result<String>| objects.iter().map(form).collect::<Result<Vec<_>, _>>();
        match (self.format, objects) {
            (None, _) => {}
            (Some(Format::Yaml), _) => out(&each(shape::yaml)?.join("---\n")),
            (Some(Format::Json), [object]) => out(&format!("{}\n", shape::pretty(object)?)),
            (Some(Format::Json), _) => {
                let indented = |text: String| {
                    text.lines()
                        .map(|line| format!("    {line}"))
                        .collect::<Vec<_>>()
                        .join("\n")
                };
                let items: Vec<_> = each(shape::pretty)?.into_iter().map(indented).collect();
                out(&format!("[\n{}\n]\n", items.join(",\n")));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_padded_to_their_widest_cell_but_the_last() {
        let mut table = Table::new(&["name", "ready"]);
        table.row(["default", "True"]);
        assert_eq!(table.render(), "NAME       READY\ndefault    True\n\n");
    }

    #[test]
    fn a_block_shows_two_dashes_for_nothing_and_lines_up_further_lines() {
        let block = Block::new()
            .pair("Status", "Ready")
            .pair("Message", "")
            .pair("Reason", "A\n\tB");
        assert_eq!(
            block.render(),
            "Status:     Ready\nMessage:    --\nReason:     A\n            B\n\n"
        );
    }
}

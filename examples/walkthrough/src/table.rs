//! The summary at the end.

use comfy_table::Table;

use crate::story::BuildRecord;

pub(crate) fn render(builds: &[BuildRecord]) -> String {
    let mut table = Table::new();
    table.set_header([
        "build",
        "reason",
        "status",
        "seconds",
        "layers added / reused",
        "bytes pushed",
        "digest",
    ]);
    for build in builds {
        table.add_row([
            build.number.to_string(),
            build.reason.clone(),
            build.status.clone(),
            format!("{:.1}", build.duration.as_secs_f64()),
            build
                .layers
                .map_or_else(|| "-".to_owned(), |(added, reused)| format!("{added} / {reused}")),
            build.pushed.map_or_else(|| "-".to_owned(), size),
            build.digest.chars().take(19).collect(),
        ]);
    }
    table.to_string()
}

/// Bytes for people.
pub(crate) fn size(bytes: u64) -> String {
    match bytes {
        0..1_000 => format!("{bytes} B"),
        1_000..1_000_000 => format!("{}.{} kB", bytes / 1_000, bytes % 1_000 / 100),
        _ => format!("{}.{} MB", bytes / 1_000_000, bytes % 1_000_000 / 100_000),
    }
}

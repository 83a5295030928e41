//! JSON as Go writes it.

/// Writes a text as Go's JSON encoder does.
pub(crate) fn go_text(text: &str) -> String {
    let mut json = serde_json::to_string(text).expect("a text is JSON");
    for (plain, escaped) in [
        ("<", "\\u003c"),
        (">", "\\u003e"),
        ("&", "\\u0026"),
        ("\u{2028}", "\\u2028"),
        ("\u{2029}", "\\u2029"),
    ] {
        json = json.replace(plain, escaped);
    }
    json
}

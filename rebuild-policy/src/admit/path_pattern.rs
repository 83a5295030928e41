//! Patterns of paths, in the form of lines in a `.gitignore`.

/// Bytes of one pattern.
const MAX_LENGTH: usize = 1024;
/// How deep `{a,{b,c}}` is nested.
const MAX_DEPTH: usize = 100;

/// What is wrong with a pattern; `None` when whoever matches paths with it will take it.
pub(super) fn problem(pattern: &str) -> Option<&'static str> {
    let text = match pattern.ends_with("\\ ") {
        true => pattern,
        false => pattern.trim_end(),
    };
    if text.is_empty() || text.starts_with('#') {
        return Some("is empty");
    }
    if pattern.len() > MAX_LENGTH {
        return Some("is longer than 1024 bytes");
    }
    if pattern.contains(|c: char| c.is_control()) {
        return Some("holds a control character");
    }
    let (mut chars, mut depth) = (text.chars(), 0);
    while let Some(c) = chars.next() {
        match c {
            '\\' if chars.next().is_none() => return Some("ends with a backslash"),
            '[' => {
                if let Some(problem) = class(&mut chars) {
                    return Some(problem);
                }
            }
            '{' if depth == MAX_DEPTH => return Some("nests braces too deeply"),
            '{' => depth += 1,
            '}' if depth == 0 => return Some("closes a brace that is not open"),
            '}' => depth -= 1,
            _ => {}
        }
    }
    (depth > 0).then_some("leaves a brace open")
}

/// Reads characters in brackets, the first of which is gone.
fn class(chars: &mut std::str::Chars<'_>) -> Option<&'static str> {
    let mut items: Vec<char> = Vec::new();
    let mut rest = chars.as_str();
    rest = rest.strip_prefix(['!', '^']).unwrap_or(rest);
    // A bracket that comes first is one of the characters.
    let Some(end) = rest.char_indices().skip(1).find_map(|(at, c)| (c == ']').then_some(at)) else {
        return Some("leaves a bracket open");
    };
    if rest[..end].contains("[:") {
        return Some("holds a named class such as [:alpha:], which is not supported");
    }
    items.extend(rest[..end].chars());
    *chars = rest[end + 1..].chars();
    let mut at = 1;
    while at + 1 < items.len() {
        if items[at] != '-' {
            at += 1;
        } else if items[at - 1] > items[at + 1] {
            return Some("holds a range that ends before it begins");
        } else {
            // The end of a range may be the beginning of another.
            at += 2;
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::problem;

    #[test]
    fn patterns_of_gitignore_files_are_fine() {
        for pattern in [
            "libs/shared/",
            "*.md",
            "/docs/**",
            "!keep.md",
            "a\\*b",
            "[a-z]*",
            "[]]",
            "[!a]",
            "{a,b{c,d}}",
            "a b",
            "\\#x",
            "\u{e4}",
        ] {
            assert_eq!(problem(pattern), None, "{pattern}");
        }
    }

    #[test]
    fn what_means_nothing_is_named() {
        for (pattern, expected) in [
            ("", "is empty"),
            ("  ", "is empty"),
            ("# a comment", "is empty"),
            ("a{", "leaves a brace open"),
            ("}", "closes a brace that is not open"),
            ("[a", "leaves a bracket open"),
            ("[]", "leaves a bracket open"),
            ("[z-a]", "holds a range that ends before it begins"),
            ("a\\", "ends with a backslash"),
            ("a\nb", "holds a control character"),
        ] {
            assert_eq!(problem(pattern), Some(expected), "{pattern}");
        }
        assert!(problem(&"a".repeat(1025)).is_some());
        assert!(problem(&"{".repeat(101)).is_some());
    }
}

/// A pattern for paths, with the meaning of Go's `filepath.Match`.
///
/// `*` stands for any number of bytes except `/` (twice is the same as once), `?` for one character except
/// `/`, `[a-c]` and `[^a]` for one of (or not of) a set, `\` takes the special meaning from what follows.
/// A byte that is no part of a character counts as a character of its own.
///
/// As in Go, a pattern is looked at only as far as a path matches: what is malformed behind a `*` shows
/// only on paths that the part before the `*` matches.
#[derive(Clone, Debug)]
pub struct Pattern(Vec<Chunk>);

/// A pattern is malformed: a set is not closed or has no proper bounds, or `\` is last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("syntax error in pattern")]
pub struct InvalidPattern;

/// What stands between two `*`.
#[derive(Clone, Debug)]
struct Chunk {
    /// Whether a `*` precedes it.
    after_star: bool,
    pieces: Result<Vec<Piece>, InvalidPattern>,
}

#[derive(Clone, Debug)]
enum Piece {
    Literal(u8),
    AnyOne,
    Set { negated: bool, ranges: Vec<(char, char)> },
}

impl Pattern {
    /// Reads a pattern.
    pub fn new(pattern: &[u8]) -> Self {
        let mut chunks = Vec::new();
        let mut rest = pattern;
        while !rest.is_empty() {
            let stars = rest.iter().take_while(|byte| **byte == b'*').count();
            let (text, after) = rest[stars..].split_at(chunk_length(&rest[stars..]));
            chunks.push(Chunk {
                after_star: stars > 0,
                pieces: pieces(text),
            });
            rest = after;
        }
        Self(chunks)
    }

    /// Returns whether the whole of `path` is one that the pattern describes.
    ///
    /// # Errors
    /// When a part of the pattern that is tried on the path is malformed.
    pub fn matches(&self, path: &[u8]) -> Result<bool, InvalidPattern> {
        let mut path = path;
        for (at, chunk) in self.0.iter().enumerate() {
            let is_last = at + 1 == self.0.len();
            let Some(rest) = chunk.find(path, is_last)? else {
                return Ok(false);
            };
            path = rest;
        }
        Ok(path.is_empty())
    }
}

impl Chunk {
    /// Returns what is left of `path` behind the first place where the chunk fits; the last chunk fits at
    /// the path's end alone.
    fn find<'a>(&self, path: &'a [u8], is_last: bool) -> Result<Option<&'a [u8]>, InvalidPattern> {
        let pieces = self.pieces.as_ref().map_err(|error| *error)?;
        let mut start = path;
        loop {
            match fit(pieces, start) {
                Some(rest) if rest.is_empty() || !is_last => return Ok(Some(rest)),
                _ => {}
            }
            match start {
                [first, after @ ..] if self.after_star && *first != b'/' => start = after,
                _ => return Ok(None),
            }
        }
    }
}

/// Returns what is left of `path` where it begins with what the pieces describe.
fn fit<'a>(pieces: &[Piece], path: &'a [u8]) -> Option<&'a [u8]> {
    pieces.iter().try_fold(path, |path, piece| match piece {
        Piece::Literal(byte) => path.strip_prefix(&[*byte]),
        Piece::AnyOne => character(path)
            .filter(|_| path[0] != b'/')
            .map(|(_, length)| &path[length..]),
        Piece::Set { negated, ranges } => {
            let (character, length) = character(path)?;
            let character = character.unwrap_or(char::REPLACEMENT_CHARACTER);
            let is_in = ranges.iter().any(|(low, high)| (*low..=*high).contains(&character));
            (is_in != *negated).then(|| &path[length..])
        }
    })
}

/// Returns the character in front and its length in bytes; a byte that begins none is `None`.
fn character(text: &[u8]) -> Option<(Option<char>, usize)> {
    let longest = &text[..text.len().min(4)];
    let first = longest.utf8_chunks().next()?.valid().chars().next();
    Some((first, first.map_or(1, char::len_utf8)))
}

/// Returns the number of bytes up to the next `*` that is neither escaped nor in a set.
fn chunk_length(text: &[u8]) -> usize {
    let (mut at, mut in_set) = (0, false);
    while let Some(byte) = text.get(at) {
        match byte {
            b'\\' => at += 1,
            b'[' => in_set = true,
            b']' => in_set = false,
            b'*' if !in_set => break,
            _ => {}
        }
        at += 1;
    }
    at.min(text.len())
}

fn pieces(mut text: &[u8]) -> Result<Vec<Piece>, InvalidPattern> {
    let mut pieces = Vec::new();
    while let [first, rest @ ..] = text {
        text = rest;
        pieces.push(match first {
            b'?' => Piece::AnyOne,
            b'[' => set(&mut text)?,
            b'\\' => {
                let [escaped, rest @ ..] = text else {
                    return Err(InvalidPattern);
                };
                text = rest;
                Piece::Literal(*escaped)
            }
            byte => Piece::Literal(*byte),
        });
    }
    Ok(pieces)
}

/// Reads a set after its `[`.
fn set(text: &mut &[u8]) -> Result<Piece, InvalidPattern> {
    let negated = skip(text, b'^');
    let mut ranges = Vec::new();
    while ranges.is_empty() || !skip(text, b']') {
        let low = bound(text)?;
        let high = if skip(text, b'-') { bound(text)? } else { low };
        ranges.push((low, high));
    }
    Ok(Piece::Set { negated, ranges })
}

/// Goes behind `byte` where it is in front.
fn skip(text: &mut &[u8], byte: u8) -> bool {
    let after = text.strip_prefix(&[byte]);
    *text = after.unwrap_or(text);
    after.is_some()
}

/// Reads a bound of a range: `-` and `]` must be escaped, and more must follow.
fn bound(text: &mut &[u8]) -> Result<char, InvalidPattern> {
    if matches!(text, [b'-' | b']', ..]) {
        return Err(InvalidPattern);
    }
    skip(text, b'\\');
    let (Some(bound), length) = character(text).ok_or(InvalidPattern)? else {
        return Err(InvalidPattern);
    };
    *text = &text[length..];
    if text.is_empty() {
        Err(InvalidPattern)
    } else {
        Ok(bound)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pattern: impl AsRef<[u8]>, path: impl AsRef<[u8]>, expected: Result<bool, InvalidPattern>) {
        let (pattern, path) = (pattern.as_ref(), path.as_ref());
        let found = Pattern::new(pattern).matches(path);
        assert_eq!(found, expected, "{} on {}", pattern.escape_ascii(), path.escape_ascii());
    }

    #[test]
    fn patterns_match_as_go_matches_them() {
        for (pattern, path, expected) in [
            ("*", "", true),
            ("*", "a", true),
            ("*", "a/b", false),
            ("**/*.txt", "a/b.txt", true),
            ("**/*.txt", "a/b/c.txt", false),
            ("a?c", "a/c", false),
            ("a?c", "aéc", true),
            ("[a-c]x", "bx", true),
            ("[^a-c]x", "bx", false),
            ("[^a]", "/", true),
            ("\\*", "*", true),
            ("\\*", "a", false),
            ("a*b*c", "axxbyyc", true),
            ("a*b*c", "axxbyy", false),
            ("*.tar.gz", "x.tar.tar.gz", true),
            ("a/*/c", "a/b/c", true),
            ("[\\]a]", "]", true),
            ("[a*]b", "*b", true),
            ("a*", "ab/c", false),
            ("*c", "a/c", false),
            ("", "", true),
            ("", "a", false),
        ] {
            check(pattern, path, Ok(expected));
        }
    }

    #[test]
    fn a_star_skips_bytes_and_not_characters() {
        check("*??", "日", Ok(true));
        check(b"*\xa5", "日", Ok(true));
        check("???", "日", Ok(false));
    }

    #[test]
    fn a_byte_that_is_no_text_is_a_character_of_its_own() {
        check(b"\xff", b"\xff", Ok(true));
        check("?", b"\xff", Ok(true));
        check("[^a]", b"\xff", Ok(true));
        check("[\u{fffd}]", b"\xff", Ok(true));
        check(b"[\xff]", b"\xff", Err(InvalidPattern));
        check(b"[a-\xff]", "b", Err(InvalidPattern));
    }

    #[test]
    fn malformed_patterns_are_refused() {
        for pattern in [
            "[", "[a", "[]", "[]a]", "[^]", "[-]", "[x-]", "[-x]", "[a-b-c]", "a\\", "[\\", "zz/[a",
        ] {
            check(pattern, "", Err(InvalidPattern));
            check(pattern, "zz", Err(InvalidPattern));
        }
    }

    #[test]
    fn what_is_malformed_behind_a_star_shows_only_where_the_part_before_it_fits() {
        check("static/*[a-", "README", Ok(false));
        check("static/*[a-", "static/x", Err(InvalidPattern));
        check("a*[", "b", Ok(false));
        check("a*[", "ab", Err(InvalidPattern));
        check("x*\\", "y", Ok(false));
        check("*[", "a/b", Err(InvalidPattern));
        check("**[", "", Err(InvalidPattern));
        check("a*b[", "axc", Err(InvalidPattern));
    }
}

/// A pattern for paths, with the meaning of Go's `filepath.Match`.
///
/// `*` stands for any number of characters except `/` (twice is the same as once), `?` for one of them,
/// `[a-c]` and `[^a]` for one of (or not of) a set, `\` takes the special meaning from what follows.
#[derive(Clone, Debug)]
pub struct Pattern(Vec<Piece>);

/// A pattern is malformed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("syntax error in pattern")]
pub struct InvalidPattern;

#[derive(Clone, Debug)]
enum Piece {
    Literal(u32),
    AnyOne,
    AnyNumber,
    Set { negated: bool, ranges: Vec<(u32, u32)> },
}

/// A byte that is not UTF-8 counts as a character of its own, beyond all real ones.
const NOT_UTF8: u32 = 0x11_0000;

fn characters(text: &[u8]) -> Vec<u32> {
    let mut characters = Vec::with_capacity(text.len());
    for chunk in text.utf8_chunks() {
        characters.extend(chunk.valid().chars().map(u32::from));
        characters.extend(chunk.invalid().iter().map(|byte| NOT_UTF8 + u32::from(*byte)));
    }
    characters
}

impl Pattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// When a set is not closed or malformed, or `\` is last.
    pub fn new(pattern: &[u8]) -> Result<Self, InvalidPattern> {
        let mut pieces = Vec::new();
        let text = characters(pattern);
        let mut rest = text.as_slice();
        while let [first, after @ ..] = rest {
            rest = after;
            pieces.push(match char::from_u32(*first) {
                Some('*') => Piece::AnyNumber,
                Some('?') => Piece::AnyOne,
                Some('[') => set(&mut rest)?,
                Some('\\') => {
                    let [escaped, after @ ..] = rest else {
                        return Err(InvalidPattern);
                    };
                    rest = after;
                    Piece::Literal(*escaped)
                }
                _ => Piece::Literal(*first),
            });
        }
        Ok(Self(pieces))
    }

    /// Returns whether the whole of `path` is one that the pattern describes.
    pub fn matches(&self, path: &[u8]) -> bool {
        let text = characters(path);
        let slash = u32::from('/');
        let (mut piece, mut at) = (0, 0);
        // Where to go on when what follows the last `*` does not fit here.
        let mut retry: Option<(usize, usize)> = None;
        loop {
            let fits = match (self.0.get(piece), text.get(at)) {
                (None, None) => return true,
                (Some(Piece::AnyNumber), _) => {
                    retry = Some((piece + 1, at));
                    piece += 1;
                    continue;
                }
                (Some(Piece::Literal(literal)), Some(character)) => literal == character,
                (Some(Piece::AnyOne), Some(character)) => *character != slash,
                (Some(Piece::Set { negated, ranges }), Some(character)) => {
                    let character = if *character >= NOT_UTF8 { 0xfffd } else { *character };
                    ranges.iter().any(|(low, high)| (*low..=*high).contains(&character)) != *negated
                }
                _ => false,
            };
            if fits {
                (piece, at) = (piece + 1, at + 1);
                continue;
            }
            match retry {
                Some((after, start)) if text.get(start).is_some_and(|character| *character != slash) => {
                    retry = Some((after, start + 1));
                    (piece, at) = (after, start + 1);
                }
                _ => return false,
            }
        }
    }
}

/// Reads a set after its `[`.
fn set(rest: &mut &[u32]) -> Result<Piece, InvalidPattern> {
    let mut next = || match *rest {
        [first, after @ ..] => {
            let first = *first;
            *rest = after;
            Ok(first)
        }
        [] => Err(InvalidPattern),
    };
    let mut first = next()?;
    let negated = first == u32::from('^');
    if negated {
        first = next()?;
    }
    let mut ranges = Vec::new();
    let mut low = first;
    loop {
        if low == u32::from(']') && !ranges.is_empty() {
            return Ok(Piece::Set { negated, ranges });
        }
        let start = bound(low, &mut next)?;
        let mut after = next()?;
        let mut end = start;
        if after == u32::from('-') {
            end = bound(next()?, &mut next)?;
            after = next()?;
        }
        ranges.push((start, end));
        low = after;
    }
}

/// Returns a bound of a range; `-`, `]` and what is not UTF-8 must be escaped or are not possible.
fn bound(character: u32, next: &mut dyn FnMut() -> Result<u32, InvalidPattern>) -> Result<u32, InvalidPattern> {
    let bound = match char::from_u32(character) {
        Some('-' | ']') => return Err(InvalidPattern),
        Some('\\') => next()?,
        _ => character,
    };
    if bound >= NOT_UTF8 {
        Err(InvalidPattern)
    } else {
        Ok(bound)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
            ("a*", "ab/c", false),
            ("*c", "a/c", false),
            ("", "", true),
            ("", "a", false),
        ] {
            let compiled = Pattern::new(pattern.as_bytes()).expect(pattern);
            assert_eq!(compiled.matches(path.as_bytes()), expected, "{pattern} on {path}");
        }
    }

    #[test]
    fn malformed_patterns_are_refused() {
        for pattern in [
            "[", "[a", "[]", "[]a]", "[^]", "[-]", "[x-]", "[-x]", "[a-b-c]", "a\\", "[\\", "zz/[a",
        ] {
            assert!(Pattern::new(pattern.as_bytes()).is_err(), "{pattern}");
        }
    }
}

//! Regular expressions as Go reads them, for an engine that reads some of them in another way.

use std::fmt::Write as _;

use regex::Regex;

/// Compiles an expression; `None` when Go would refuse it.
///
/// Go's classes `\d`, `\s`, `\w` and word boundaries know ASCII alone; a `{` that begins no count and a `[` in a set stand for
/// themselves; counts go up to 1000, and so does the product of those that are within each other; `\Q` to `\E` is literal; there
/// are no sets of sets; a repetition is not repeated without a group.
pub(super) fn compile(expression: &str) -> Option<Regex> {
    let mut reader = Reader {
        rest: expression,
        out: String::with_capacity(2 * expression.len()),
        groups: vec![1],
        times: 1,
    };
    reader.read()?;
    Regex::new(&reader.out).ok()
}

/// The most times that a count may repeat anything, together with the counts that it is in.
const MOST: u32 = 1000;

/// The names of sets, which the engine knows, too.
const NAMES: [&str; 14] = [
    "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct", "space", "upper", "word",
    "xdigit",
];

struct Reader<'a> {
    rest: &'a str,
    /// The same for the engine.
    out: String,
    /// The most times that anything is repeated in each open group, the outermost first.
    groups: Vec<u32>,
    /// The most times that anything is repeated in what was read last.
    times: u32,
}

/// What stands for one character or several.
enum Item {
    One(char),
    /// By what the engine calls it.
    Class(String),
}

impl Reader<'_> {
    fn read(&mut self) -> Option<()> {
        let mut repeated = false;
        while let Some(character) = self.next() {
            let repeats = self.repetition(character)?;
            if !repeats {
                // No repetition of what was read last follows any more.
                let group = self.groups.last_mut()?;
                *group = self.times.max(*group);
                self.times = 1;
            }
            match character {
                _ if repeats && repeated => return None,
                _ if repeats => {
                    // One that takes as little as it can.
                    if self.skip("?") {
                        self.out.push('?');
                    }
                }
                '\\' => self.escape()?,
                '[' => self.set()?,
                '(' if self.rest.starts_with('?') => self.flags()?,
                '(' => self.group("("),
                ')' => {
                    self.out.push(')');
                    self.times = self.groups.pop()?;
                }
                '|' | '^' | '$' | '.' => self.out.push(character),
                plain => self.literal(plain),
            }
            repeated = repeats;
        }
        Some(())
    }

    /// Adds a repetition that begins with `first`; tells whether there is one.
    fn repetition(&mut self, first: char) -> Option<bool> {
        match first {
            '*' | '+' | '?' => self.out.push(first),
            '{' => {
                let Some((count, after)) = counted(self.rest) else {
                    return Some(false);
                };
                self.times = self.times.checked_mul(times(count)?).filter(|times| *times <= MOST)?;
                let _ = write!(self.out, "{{{count}}}");
                self.rest = after;
            }
            _ => return Some(false),
        }
        Some(true)
    }

    fn next(&mut self) -> Option<char> {
        let mut characters = self.rest.chars();
        let next = characters.next();
        self.rest = characters.as_str();
        next
    }

    fn skip(&mut self, text: &str) -> bool {
        let after = self.rest.strip_prefix(text);
        self.rest = after.unwrap_or(self.rest);
        after.is_some()
    }

    /// Adds a character that stands for itself.
    fn literal(&mut self, character: char) {
        let _ = write!(self.out, "\\x{{{:x}}}", u32::from(character));
    }

    /// Reads what follows a `\` outside of sets.
    fn escape(&mut self) -> Option<()> {
        if self.skip("Q") {
            let (quoted, after) = self.rest.split_once("\\E").unwrap_or((self.rest, ""));
            quoted.chars().for_each(|character| self.literal(character));
            self.rest = after;
            return Some(());
        }
        for (name, same) in [("A", r"\A"), ("z", r"\z"), ("b", r"(?-u:\b)"), ("B", r"(?-u:\B)")] {
            if self.skip(name) {
                self.out.push_str(same);
                return Some(());
            }
        }
        match self.escaped()? {
            Item::One(character) => self.literal(character),
            Item::Class(class) => self.out.push_str(&class),
        }
        Some(())
    }

    /// Reads what follows a `\`, in sets or outside.
    fn escaped(&mut self) -> Option<Item> {
        let start = self.rest;
        Some(Item::One(match self.next()? {
            'd' => return Some(Item::Class("[0-9]".to_owned())),
            'D' => return Some(Item::Class("[^0-9]".to_owned())),
            's' => return Some(Item::Class(r"[\t\n\f\r ]".to_owned())),
            'S' => return Some(Item::Class(r"[^\t\n\f\r ]".to_owned())),
            'w' => return Some(Item::Class("[0-9A-Za-z_]".to_owned())),
            'W' => return Some(Item::Class("[^0-9A-Za-z_]".to_owned())),
            'p' | 'P' => {
                let name = if self.rest.starts_with('{') {
                    self.rest.split_inclusive('}').next()?.len()
                } else {
                    self.rest.chars().next()?.len_utf8()
                };
                self.rest = &self.rest[name..];
                let length = start.len() - self.rest.len();
                return Some(Item::Class(format!("\\{}", &start[..length])));
            }
            'a' => '\x07',
            'f' => '\x0c',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'v' => '\x0b',
            'x' => self.hexadecimal()?,
            first @ '0'..='7' => {
                // A digit alone, but for zero, would be a reference to a group.
                let more = self.rest.bytes().take_while(|byte| matches!(byte, b'0'..=b'7')).count();
                if first != '0' && more == 0 {
                    return None;
                }
                let (digits, after) = start.split_at(1 + more.min(2));
                self.rest = after;
                char::from_u32(u32::from_str_radix(digits, 8).ok()?)?
            }
            other if other.is_ascii() && !other.is_ascii_alphanumeric() => other,
            _ => return None,
        }))
    }

    /// Reads `41` or `{1f600}`.
    fn hexadecimal(&mut self) -> Option<char> {
        let digits = if self.skip("{") {
            let (digits, after) = self.rest.split_once('}')?;
            self.rest = after;
            digits
        } else {
            let digits = self.rest.get(..2)?;
            self.rest = &self.rest[2..];
            digits
        };
        let are_digits = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        char::from_u32(u32::from_str_radix(digits, 16).ok().filter(|_| are_digits)?)
    }

    /// Reads a set after its `[`.
    fn set(&mut self) -> Option<()> {
        self.out.push('[');
        if self.skip("^") {
            self.out.push('^');
        }
        let mut first = true;
        while first || !self.skip("]") {
            first = false;
            if self.rest.starts_with("[:")
                && let Some(end) = self.rest.find(":]")
            {
                let name = &self.rest[2..end];
                if !NAMES.contains(&name.strip_prefix('^').unwrap_or(name)) {
                    return None;
                }
                self.out.push_str(&self.rest[..end + 2]);
                self.rest = &self.rest[end + 2..];
                continue;
            }
            match self.element()? {
                Item::Class(class) => self.out.push_str(&class),
                Item::One(low) => {
                    let is_range = self.rest.starts_with('-') && !self.rest.starts_with("-]") && self.rest.len() > 1;
                    self.literal(low);
                    if is_range {
                        self.rest = &self.rest[1..];
                        let Item::One(high) = self.element()? else { return None };
                        self.out.push('-');
                        self.literal(high);
                    }
                }
            }
        }
        self.out.push(']');
        Some(())
    }

    fn element(&mut self) -> Option<Item> {
        match self.next()? {
            '\\' => self.escaped(),
            plain => Some(Item::One(plain)),
        }
    }

    /// Begins a group.
    fn group(&mut self, beginning: &str) {
        self.out.push_str(beginning);
        self.groups.push(1);
    }

    /// Reads what follows the `(` of a group with a `?`: flags or a name, which the engine reads alike but for its flags `x`,
    /// `u` and `R`.
    fn flags(&mut self) -> Option<()> {
        if !self.rest.starts_with("?P<") && !self.rest.starts_with("?<") {
            let end = self.rest.find([':', ')'])?;
            if !self.rest[1..end].bytes().all(|flag| b"imsU-".contains(&flag)) {
                return None;
            }
        }
        let end = self.rest.find([':', ')', '>'])?;
        let (flags, after) = self.rest.split_at(end + 1);
        self.rest = after;
        if flags.ends_with(')') {
            // Flags for what follows: no group.
            let _ = write!(self.out, "({flags}");
        } else {
            self.group(&format!("({flags}"));
        }
        Some(())
    }
}

/// Splits `2`, `2,` or `2,3` off, which a `}` follows.
fn counted(text: &str) -> Option<(&str, &str)> {
    let (count, after) = text.split_once('}')?;
    let (least, most) = count.split_once(',').unwrap_or((count, ""));
    let is_number =
        |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()) && !(text.len() > 1 && text.starts_with('0'));
    (!least.is_empty() && is_number(least) && is_number(most)).then_some((count, after))
}

/// Returns the most times that a count asks for, or the least where there is no most; `None` when it is too large.
fn times(count: &str) -> Option<u32> {
    let (least, most) = count.split_once(',').unwrap_or((count, count));
    let number = |text: &str| text.parse().ok().filter(|number: &u32| *number <= MOST);
    let least = number(least)?;
    if most.is_empty() {
        Some(least.max(1))
    } else {
        number(most)
    }
}

#[cfg(test)]
mod tests {
    use super::compile;

    #[test]
    fn what_go_reads_in_another_way_is_read_as_there() {
        for (expression, text, expected) in [
            ("^{js,ts}$", "{js,ts}", true),
            ("^a{02}$", "a{02}", true),
            ("^a{2}$", "aa", true),
            (r"^\w$", "é", false),
            (r"^\d$", "٣", false),
            (r"^a\b", "aé", true),
            (r"^\<$", "<", true),
            (r"^\Qa.b\E+$", "a.bb", true),
            ("^[[a]$", "[", true),
            ("^[a&&b]$", "&", true),
            ("^[]a]$", "]", true),
            (r"^[\d-]$", "-", true),
            (r"^[\pL]$", "é", true),
            (r"^\pL$", "é", true),
            ("^[[:alpha:]]$", "a", true),
            (r"^\101$", "A", true),
            (r"^\x41\x{1f600}$", "A😀", true),
            ("^(?i)A$", "a", true),
            ("^(?P<n>a)$", "a", true),
            ("^a??b*?$", "abb", true),
            ("^(a{2}){500}$", "a", false),
            ("^(?i)(a{2}b{0}){2}$", "AAaa", true),
            ("^((a{2})*){3}((b{1000}){0}c){501}$", "aa", false),
        ] {
            let regex = compile(expression).expect(expression);
            assert_eq!(regex.is_match(text), expected, "{expression} {text}");
        }
    }

    #[test]
    fn what_go_refuses_is_refused() {
        for expression in [
            "c++",
            "a{2}+",
            "a+{2}",
            "a{1}{2,}",
            "a{1001}",
            "(a{2}){501}",
            "((a{10}b|c){10,}d){11}",
            "(?:a{2,}){501,}",
            "(?i:(?P<n>a{0,2})){501}",
            "a{3,2}",
            "(",
            ")",
            "[a",
            "[z-a]",
            r"\1",
            r"\y",
            r"\é",
            r"\",
            "(?x)a",
            "(?P<n",
            "*a",
            r"[a-\d]",
            "[[:none:]]",
            r"\x4",
            "(?",
        ] {
            assert!(compile(expression).is_none(), "{expression}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_expression_is_too_odd(expression in r"([\[\](){}|*+?\\^$.:,<>0-9a-zA-ZQEé-]|\[:|\(\?|\\x\{){0,12}") {
            let _ = compile(&expression);
        }
    }
}

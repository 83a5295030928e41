//! One instruction of a Dockerfile: whether its flags and arguments can be right.

use cnb_order::go_quoted;

/// Checks what follows the name of an instruction; `escape` is the escape character of the file.
///
/// # Errors
/// What is wrong, in the words of `BuildKit`.
pub(crate) fn check(name: &str, arguments: &str, escape: char) -> Result<(), String> {
    let rest = without_flags(name, arguments)?;
    let count = rest.split_whitespace().count();
    let listed = rest.starts_with('[');
    match name {
        "FROM" => check_stage(rest),
        "ENV" | "LABEL" => check_pairs(name, rest, escape),
        "COPY" | "ADD" if count < 2 && !listed => Err(format!(
            "{name} requires at least two arguments, but only one was provided. Destination could not be determined."
        )),
        "USER" | "WORKDIR" | "STOPSIGNAL" | "MAINTAINER" if count == 0 => {
            Err(format!("{name} requires exactly one argument"))
        }
        "ARG" | "EXPOSE" | "VOLUME" | "SHELL" | "HEALTHCHECK" if count == 0 || is_empty_list(rest) => {
            Err(format!("{name} requires at least one argument"))
        }
        "ARG" if rest.split_whitespace().any(|argument| argument.starts_with('=')) => {
            Err("ARG names can not be blank".to_owned())
        }
        "SHELL" if !listed => Err("SHELL requires the arguments to be in JSON form".to_owned()),
        "HEALTHCHECK" => check_health(rest),
        "ONBUILD" => check_trigger(rest),
        _ => Ok(()),
    }
}

/// The flags that need no value.
const SWITCHES: [&str; 4] = ["link", "parents", "keep-git-dir", "unpack"];

/// Returns what follows the flags.
fn without_flags<'a>(name: &str, arguments: &'a str) -> Result<&'a str, String> {
    let known: &[&str] = match name {
        "FROM" => &["platform"],
        "RUN" => &["mount", "network", "security", "device"],
        "COPY" => &["from", "chown", "chmod", "link", "parents", "exclude"],
        "ADD" => &[
            "chown",
            "chmod",
            "link",
            "keep-git-dir",
            "checksum",
            "unpack",
            "exclude",
        ],
        "HEALTHCHECK" => &["interval", "timeout", "start-period", "start-interval", "retries"],
        _ => return Ok(arguments.trim()),
    };
    let mut rest = arguments.trim();
    while let Some(flag) = rest.strip_prefix("--") {
        let (flag, behind) = flag.split_once(char::is_whitespace).unwrap_or((flag, ""));
        rest = behind.trim_start();
        let (flag, value) = match flag.split_once('=') {
            Some((flag, value)) => (flag, Some(value)),
            None => (flag, None),
        };
        if flag.is_empty() {
            break;
        }
        if !known.contains(&flag) {
            return Err(format!("unknown flag: --{flag}"));
        }
        let lacks_value = match value {
            Some(value) => value.is_empty() && SWITCHES.contains(&flag),
            None => !SWITCHES.contains(&flag),
        };
        if lacks_value {
            return Err(format!("missing a value on flag: --{flag}"));
        }
    }
    Ok(rest)
}

fn check_stage(rest: &str) -> Result<(), String> {
    let words: Vec<&str> = rest.split_whitespace().collect();
    match words[..] {
        [_] => Ok(()),
        [_, between, name] if between.eq_ignore_ascii_case("as") && is_stage_name(name) => Ok(()),
        [_, between, name] if between.eq_ignore_ascii_case("as") => Err(format!(
            "invalid name for build stage: {}, name can't start with a number or contain symbols",
            go_quoted(name)
        )),
        _ => Err("FROM requires either one or three arguments".to_owned()),
    }
}

fn is_stage_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|first| first.is_ascii_alphabetic())
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

/// Returns whether arguments are the JSON list `[]`.
fn is_empty_list(rest: &str) -> bool {
    let inside = rest.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    inside.is_some_and(|inside| inside.trim().is_empty())
}

fn check_health(rest: &str) -> Result<(), String> {
    let (kind, command) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    let command = command.trim();
    match kind.to_ascii_uppercase().as_str() {
        "NONE" if !command.is_empty() => Err("HEALTHCHECK NONE takes no arguments".to_owned()),
        "CMD" if command.is_empty() || is_empty_list(command) => {
            Err("missing command after HEALTHCHECK CMD".to_owned())
        }
        "NONE" | "CMD" => Ok(()),
        other => Err(format!("unknown type {} in HEALTHCHECK (try CMD)", go_quoted(other))),
    }
}

/// Checks `name=value name=value` or the old `name value`.
fn check_pairs(name: &str, rest: &str, escape: char) -> Result<(), String> {
    let words = words(rest, escape);
    let Some(first) = words.first() else {
        return Err(format!("{name} requires at least one argument"));
    };
    if !first.contains('=') {
        return match rest.split_whitespace().count() {
            1 => Err(format!("{name} must have two arguments")),
            _ => Ok(()),
        };
    }
    for word in &words {
        match word.split_once('=') {
            None => {
                return Err(format!(
                    "Syntax error - can't find = in \"{word}\". Must be of the form: name=value"
                ));
            }
            Some(("", _)) => return Err(format!("{name} names can not be blank")),
            Some(_) => {}
        }
    }
    Ok(())
}

fn check_trigger(rest: &str) -> Result<(), String> {
    let Some(trigger) = rest.split_whitespace().next() else {
        return Err("ONBUILD requires at least one argument".to_owned());
    };
    match trigger.to_ascii_uppercase().as_str() {
        "ONBUILD" => Err("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed".to_owned()),
        trigger @ ("FROM" | "MAINTAINER") => Err(format!("{trigger} isn't allowed as an ONBUILD trigger")),
        _ => Ok(()),
    }
}

/// Splits a text at blanks that are neither quoted nor escaped.
pub(crate) fn words(text: &str, escape: char) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut quote = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match quote {
            None if c.is_whitespace() => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
                continue;
            }
            None if c == '"' || c == '\'' => quote = Some(c),
            Some(open) if c == open => quote = None,
            _ => {}
        }
        word.push(c);
        // Between single quotes nothing is escaped.
        if c == escape && quote != Some('\'') {
            word.extend(chars.next());
        }
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instructions_with_arguments_that_cannot_be_right_are_refused() {
        for (name, arguments, problem) in [
            ("FROM", "", "FROM requires either one or three arguments"),
            ("FROM", "a b", "FROM requires either one or three arguments"),
            ("FROM", "a is b", "FROM requires either one or three arguments"),
            ("FROM", "--x=1 a", "unknown flag: --x"),
            ("ENV", "", "ENV requires at least one argument"),
            ("ENV", "a", "ENV must have two arguments"),
            (
                "LABEL",
                "a=b c",
                "Syntax error - can't find = in \"c\". Must be of the form: name=value",
            ),
            ("LABEL", "=b", "LABEL names can not be blank"),
            ("USER", "", "USER requires exactly one argument"),
            ("WORKDIR", " ", "WORKDIR requires exactly one argument"),
            ("STOPSIGNAL", "", "STOPSIGNAL requires exactly one argument"),
            ("MAINTAINER", "", "MAINTAINER requires exactly one argument"),
            ("EXPOSE", "", "EXPOSE requires at least one argument"),
            ("ARG", "", "ARG requires at least one argument"),
            ("ONBUILD", "", "ONBUILD requires at least one argument"),
            ("ONBUILD", "from x", "FROM isn't allowed as an ONBUILD trigger"),
            ("RUN", "--mont=x true", "unknown flag: --mont"),
            ("FROM", "--platform x", "missing a value on flag: --platform"),
            ("COPY", "--link= a b", "missing a value on flag: --link"),
            (
                "FROM",
                "x as 1bad",
                "invalid name for build stage: \"1bad\", name can't start with a number or contain symbols",
            ),
            ("ARG", "=x", "ARG names can not be blank"),
            ("VOLUME", "[]", "VOLUME requires at least one argument"),
            ("SHELL", "", "SHELL requires at least one argument"),
            ("SHELL", "sh -c", "SHELL requires the arguments to be in JSON form"),
            (
                "HEALTHCHECK",
                "--interval=1s",
                "HEALTHCHECK requires at least one argument",
            ),
            ("HEALTHCHECK", "FOO", "unknown type \"FOO\" in HEALTHCHECK (try CMD)"),
            ("HEALTHCHECK", "none x", "HEALTHCHECK NONE takes no arguments"),
            ("HEALTHCHECK", "CMD", "missing command after HEALTHCHECK CMD"),
        ] {
            assert_eq!(
                check(name, arguments, '\\'),
                Err(problem.to_owned()),
                "{name} {arguments}"
            );
        }
        for name in ["COPY", "ADD"] {
            for arguments in ["", "a", "--chown=1 a"] {
                assert!(check(name, arguments, '\\').is_err());
            }
        }
    }

    #[test]
    fn instructions_with_all_their_arguments_are_taken() {
        for (name, arguments) in [
            ("FROM", "--platform=linux/amd64 a AS b"),
            ("ENV", "a b c"),
            ("ENV", "a=\"b c\" d='e f' g=h\\ i"),
            ("LABEL", "\"a b\"=c"),
            ("COPY", "--from=x a b"),
            ("COPY", "[\"a b\",\"c\"]"),
            ("ADD", "<<EOF /file"),
            ("RUN", "--mount=type=cache,target=/x ls --all"),
            ("ONBUILD", "RUN true"),
            ("CMD", ""),
            ("COPY", "--link a b"),
            ("SHELL", "[\"sh\",\"-c\"]"),
            ("HEALTHCHECK", "--retries=2 CMD true"),
            ("HEALTHCHECK", "NONE"),
            ("ARG", "a b=c"),
            ("USER", "1000:1000"),
        ] {
            assert_eq!(check(name, arguments, '\\'), Ok(()), "{name} {arguments}");
        }
        assert_eq!(check("ENV", "a=b` c", '`'), Ok(()));
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "(?s).{0,60}|[a=\"' \\\\-]{0,30}") {
            for name in ["FROM", "ENV", "COPY", "ONBUILD"] {
                let _ = check(name, &text, '\\');
            }
        }
    }
}

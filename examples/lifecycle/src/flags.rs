//! Command-line flags by the rules that platforms know: `-x v`, `-x=v` and `--x` are one flag, and the
//! first argument that is not a flag ends them.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use cnb_order::go_quoted;

use crate::env::parse_bool;
use crate::number;

/// What kind of value a flag takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Any text.
    Text,
    /// A boolean: alone it means true; another value needs `=`.
    Switch,
    /// A whole number.
    Number,
    /// Any text, as often as wanted.
    Repeated,
}

/// A flag that a phase knows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Flag {
    /// The name, without dashes.
    pub(crate) name: &'static str,
    /// What it takes.
    pub(crate) kind: Kind,
    /// What it is for, in the usage text.
    pub(crate) about: &'static str,
}

/// What the flags and arguments of a command line say.
#[derive(Clone, Debug, Default)]
pub(crate) struct Parsed {
    values: BTreeMap<&'static str, Vec<OsString>>,
    /// What follows the flags.
    pub(crate) positional: Vec<OsString>,
}

/// Why a command line was not understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Misuse {
    /// `-h` or `-help`: the usage text was asked for.
    Help,
    /// The text to print before the usage text.
    Wrong(String),
}

impl Parsed {
    /// Splits `args` (without the program's name) into the values of `flags` and what follows them.
    pub(crate) fn parse(flags: &[Flag], args: &[OsString]) -> Result<Self, Misuse> {
        let mut parsed = Self::default();
        let mut rest = args.iter();
        while let Some(arg) = rest.as_slice().first() {
            let bytes = arg.as_bytes();
            if bytes.len() < 2 || bytes[0] != b'-' {
                break;
            }
            rest.next();
            let dashes = if bytes[1] == b'-' { 2 } else { 1 };
            if bytes.len() == 2 && dashes == 2 {
                break;
            }
            let body = &bytes[dashes..];
            if body.is_empty() || body[0] == b'-' || body[0] == b'=' {
                return Err(Misuse::Wrong(format!("bad flag syntax: {}", arg.to_string_lossy())));
            }
            let (name, value) = match body.iter().position(|&byte| byte == b'=') {
                Some(at) => (&body[..at], Some(OsString::from_vec(body[at + 1..].to_vec()))),
                None => (body, None),
            };
            let name = String::from_utf8_lossy(name).into_owned();
            let Some(flag) = flags.iter().find(|flag| flag.name == name) else {
                if name == "help" || name == "h" {
                    return Err(Misuse::Help);
                }
                return Err(Misuse::Wrong(format!("flag provided but not defined: -{name}")));
            };
            let value = match (flag.kind, value) {
                (_, Some(value)) => value,
                (Kind::Switch, None) => "true".into(),
                (_, None) => match rest.next() {
                    Some(value) => value.clone(),
                    None => return Err(Misuse::Wrong(format!("flag needs an argument: -{name}"))),
                },
            };
            check(flag, &value)?;
            parsed.values.entry(flag.name).or_default().push(value);
        }
        parsed.positional = rest.as_slice().to_vec();
        Ok(parsed)
    }

    /// Returns the last value of a flag.
    pub(crate) fn last(&self, name: &str) -> Option<&OsStr> {
        Some(self.values.get(name)?.last()?.as_os_str())
    }

    /// Returns all values of a flag, in the order given.
    pub(crate) fn all(&self, name: &str) -> impl Iterator<Item = String> + '_ {
        self.values
            .get(name)
            .into_iter()
            .flatten()
            .map(|value| value.to_string_lossy().into_owned())
    }

    /// Returns the last value of a switch, if it was given at all.
    pub(crate) fn switch(&self, name: &str) -> Option<bool> {
        self.last(name).and_then(|value| parse_bool(&value.to_string_lossy()))
    }
}

/// Returns the text that `-help` shows.
pub(crate) fn usage(program: &str, flags: &[Flag]) -> String {
    let mut text = format!("Usage of {program}:\n");
    let mut flags = flags.to_vec();
    flags.sort_by_key(|flag| flag.name);
    for flag in flags {
        let value = match flag.kind {
            Kind::Switch => "",
            Kind::Number => " int",
            Kind::Text => " string",
            Kind::Repeated => " value",
        };
        let _ = writeln!(text, "  -{}{value}\n    \t{}", flag.name, flag.about);
    }
    text
}

fn check(flag: &Flag, value: &OsStr) -> Result<(), Misuse> {
    let text = value.to_string_lossy();
    let name = flag.name;
    match flag.kind {
        Kind::Switch if parse_bool(&text).is_none() => Err(Misuse::Wrong(format!(
            "invalid boolean value {} for -{name}: parse error",
            go_quoted(&text)
        ))),
        Kind::Number => match number::parse(&text) {
            Ok(_) => Ok(()),
            Err(error) => Err(Misuse::Wrong(format!(
                "invalid value {} for flag -{name}: {error}",
                go_quoted(&text)
            ))),
        },
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLAGS: &[Flag] = &[
        Flag {
            name: "layers",
            kind: Kind::Text,
            about: "",
        },
        Flag {
            name: "daemon",
            kind: Kind::Switch,
            about: "",
        },
        Flag {
            name: "uid",
            kind: Kind::Number,
            about: "",
        },
        Flag {
            name: "tag",
            kind: Kind::Repeated,
            about: "",
        },
    ];

    fn parse(args: &[&str]) -> Result<Parsed, Misuse> {
        Parsed::parse(FLAGS, &args.iter().map(OsString::from).collect::<Vec<_>>())
    }

    fn wrong(args: &[&str]) -> String {
        match parse(args) {
            Err(Misuse::Wrong(text)) => text,
            other => panic!("expected a refusal, got {other:?}"),
        }
    }

    #[test]
    fn one_or_two_dashes_and_a_value_beside_or_after_an_equals_sign_mean_the_same() {
        for args in [
            ["-layers", "/x"].as_slice(),
            &["--layers", "/x"],
            &["-layers=/x"],
            &["--layers=/x"],
        ] {
            assert_eq!(
                parse(args).expect("it is well formed").last("layers"),
                Some(OsStr::new("/x"))
            );
        }
    }

    #[test]
    fn the_first_argument_that_is_not_a_flag_ends_the_flags() {
        let parsed = parse(&["-daemon", "image", "-layers", "/x"]).expect("it is well formed");
        assert_eq!(parsed.positional, ["image", "-layers", "/x"]);
        assert_eq!(parsed.switch("daemon"), Some(true));
        assert_eq!(parsed.last("layers"), None);
    }

    #[test]
    fn a_switch_takes_a_value_only_after_an_equals_sign() {
        let parsed = parse(&["-daemon=false", "-daemon", "false"]).expect("it is well formed");
        assert_eq!(parsed.switch("daemon"), Some(true));
        assert_eq!(parsed.positional, ["false"]);
    }

    #[test]
    fn mistakes_are_named_as_platforms_know_them() {
        assert_eq!(wrong(&["-nope"]), "flag provided but not defined: -nope");
        assert_eq!(wrong(&["-layers"]), "flag needs an argument: -layers");
        assert_eq!(wrong(&["-uid", "x"]), "invalid value \"x\" for flag -uid: parse error");
        assert_eq!(
            wrong(&["-uid=99999999999999999999"]),
            "invalid value \"99999999999999999999\" for flag -uid: value out of range"
        );
        assert_eq!(
            wrong(&["-daemon=x"]),
            "invalid boolean value \"x\" for -daemon: parse error"
        );
        assert_eq!(wrong(&["---x"]), "bad flag syntax: ---x");
    }

    #[test]
    fn repeated_flags_keep_their_order() {
        let parsed = parse(&["-tag", "b", "-tag=a"]).expect("it is well formed");
        assert_eq!(parsed.all("tag").collect::<Vec<_>>(), ["b", "a"]);
    }
}

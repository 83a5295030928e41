//! The command line by the rules that users of kp know: flags anywhere, then the number of arguments, then the
//! flags that must be there; each mistake in its own words.

use std::ffi::OsString;

use clap::{Arg, ArgAction, ArgMatches, Command, error::ContextKind, error::ContextValue, error::ErrorKind};

/// Why there is nothing to run.
pub(crate) enum Stop {
    /// Help was asked for, or a command was named that only holds others.
    Help(String),
    /// A mistake.
    Mistake(String),
}

/// Takes all arguments that the strict command does not.
const SURPLUS: &str = "surplus";

/// Parses a command line as `command` describes it.
pub(crate) fn parse(command: Command, line: Vec<OsString>) -> Result<ArgMatches, Stop> {
    let root = command.get_name().to_owned();
    let line = commands_first(&command, line);
    let mut patient = patient(command.clone());
    let matches = patient
        .try_get_matches_from_mut(line.clone())
        .map_err(|error| match error.kind() {
            ErrorKind::DisplayHelp => Stop::Help(help_of(&command, &line)),
            _ => Stop::Mistake(format!("Error: {}\n", mistake(&error, &line, &patient))),
        })?;
    let (mut strict, mut chosen, mut path) = (command, &matches, root);
    while let Some((name, inner)) = chosen.subcommand() {
        let Some(found) = strict.find_subcommand(name).cloned() else {
            return Err(match path.contains(' ') {
                true => Stop::Help(help(strict, &path)),
                false => Stop::Mistake(unknown_command(name, &strict)),
            });
        };
        path = format!("{path} {}", found.get_name());
        (strict, chosen) = (found, inner);
    }
    if strict.has_subcommands() {
        return Err(Stop::Help(help(strict, &path)));
    }
    check_arguments(&strict, chosen, &path)?;
    check_flags(&strict, chosen)?;
    Ok(matches)
}

/// The value of a flag: an empty one counts as not given, as in the reference.
pub(crate) fn given(value: Option<&String>) -> Option<&str> {
    value.map(String::as_str).filter(|value| !value.is_empty())
}

/// The same line, with the flags that stand in front of a command behind it.
fn commands_first(root: &Command, mut line: Vec<OsString>) -> Vec<OsString> {
    let (mut command, mut named) = (root, 1);
    while let Some(position) = first_word(&line, named) {
        let Some(inner) = line[position].to_str().and_then(|word| command.find_subcommand(word)) else {
            break;
        };
        line[named..=position].rotate_right(1);
        (command, named) = (inner, named + 1);
    }
    line
}

/// Where the first word is that is neither a flag nor its value. As in the reference, any flag but that for help counts
/// as one with a value, because which command's it is is not yet known.
fn first_word(line: &[OsString], from: usize) -> Option<usize> {
    let mut words = line.iter().enumerate().skip(from);
    while let Some((position, word)) = words.next() {
        match word.to_str()? {
            "--" => return None,
            "--help" | "-h" => {}
            flag if flag.starts_with('-') => {
                if !flag.contains('=') && (flag.starts_with("--") || flag.len() == 2) {
                    words.next();
                }
            }
            "" => {}
            _ => return Some(position),
        }
    }
    None
}

/// The same command, which takes any number of arguments and misses no flag.
fn patient(command: Command) -> Command {
    let has_subcommands = command.has_subcommands();
    let positionals = command.get_positionals().count();
    let mut command = command
        .args_override_self(true)
        .subcommand_required(false)
        .arg_required_else_help(false)
        .mut_args(|argument| match argument.get_action() {
            ArgAction::SetTrue => switch(argument),
            ArgAction::Set | ArgAction::Append if !argument.is_positional() => {
                let is_switch = argument.get_num_args().is_some_and(|range| range.min_values() == 0);
                let argument = argument.required(false).allow_hyphen_values(!is_switch);
                if is_switch {
                    argument.value_parser(truth)
                } else {
                    argument
                }
            }
            _ => argument.required(false),
        })
        .mut_subcommands(patient);
    if has_subcommands {
        command = command.allow_external_subcommands(true);
    } else {
        let surplus = Arg::new(SURPLUS).num_args(0..).action(ArgAction::Append).hide(true);
        command = command.arg(surplus.index(positionals + 1));
    }
    command
}

/// A flag that may be written `--flag=false`.
fn switch(argument: Arg) -> Arg {
    argument
        .action(ArgAction::Set)
        .num_args(0..=1)
        .require_equals(true)
        .default_value("false")
        .default_missing_value("true")
        .value_parser(truth)
}

/// Reads the value of a switch.
fn truth(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(false),
        _ => Err(format!("strconv.ParseBool: parsing \"{text}\": invalid syntax")),
    }
}

fn check_arguments(strict: &Command, chosen: &ArgMatches, path: &str) -> Result<(), Stop> {
    let own: Vec<_> = strict.get_positionals().collect();
    let count = |id: &str| chosen.get_raw(id).map_or(0, Iterator::count);
    let received = own
        .iter()
        .map(|argument| count(argument.get_id().as_str()))
        .sum::<usize>()
        + count(SURPLUS);
    let needed = own.iter().filter(|argument| argument.is_required_set()).count();
    if (needed..=own.len()).contains(&received) {
        return Ok(());
    }
    let wanted = match needed == own.len() {
        true => needed.to_string(),
        false => format!("{needed} or {}", own.len()),
    };
    // Only this one prints its usage by itself.
    let gap = if strict.get_name() == "completion" {
        "\n"
    } else {
        "\n\n"
    };
    Err(Stop::Mistake(format!(
        "Error: accepts {wanted} arg(s), received {received}{gap}{}\n",
        usage(strict.clone(), path)
    )))
}

fn check_flags(strict: &Command, chosen: &ArgMatches) -> Result<(), Stop> {
    let missing = |argument: &&Arg| {
        argument.is_required_set() && !argument.is_positional() && chosen.get_raw(argument.get_id().as_str()).is_none()
    };
    let mut missing: Vec<_> = strict
        .get_arguments()
        .filter(missing)
        .filter_map(Arg::get_long)
        .map(|name| format!("\"{name}\""))
        .collect();
    missing.sort();
    match missing.is_empty() {
        true => Ok(()),
        false => Err(Stop::Mistake(format!(
            "Error: required flag(s) {} not set\n",
            missing.join(", ")
        ))),
    }
}

/// Help about the command that a line names, wherever in it help is asked for.
fn help_of(root: &Command, line: &[OsString]) -> String {
    let (mut command, mut path) = (root, root.get_name().to_owned());
    for word in line.iter().skip(1).filter_map(|word| word.to_str()) {
        if let Some(inner) = command.find_subcommand(word) {
            (command, path) = (inner, format!("{path} {}", inner.get_name()));
        }
    }
    help(command.clone(), &path)
}

fn help(command: Command, path: &str) -> String {
    command.bin_name(path).render_help().to_string()
}

/// The usage of a command, as it ends messages about it.
pub(crate) fn usage(command: Command, path: &str) -> String {
    command.bin_name(path).render_usage().to_string()
}

fn unknown_command(name: &str, root: &Command) -> String {
    let near = |command: &&Command| {
        let known = command.get_name();
        !command.is_hide_set() && (distance(name, known) <= 2 || known.starts_with(&name.to_lowercase()))
    };
    let similar: Vec<_> = root.get_subcommands().filter(near).map(Command::get_name).collect();
    let hint = match similar.is_empty() {
        true => String::new(),
        false => format!("\nDid you mean this?\n\t{}\n\n", similar.join("\n\t")),
    };
    let root = root.get_name();
    format!("Error: unknown command \"{name}\" for \"{root}\"\n{hint}Run '{root} --help' for usage.\n")
}

/// How many letters must be changed, added or removed.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, letter) in one.to_lowercase().chars().enumerate() {
        let mut previous = row[0];
        row[0] = i + 1;
        for (j, wanted) in other.iter().enumerate() {
            let replaced = previous + usize::from(letter != *wanted);
            previous = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(previous + 1);
        }
    }
    row[other.len()]
}

/// A mistake in a flag.
fn mistake(error: &clap::Error, line: &[OsString], command: &Command) -> String {
    let context = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => text.as_str(),
        _ => "",
    };
    let flag = context(ContextKind::InvalidArg)
        .split(['=', ' ', '['])
        .next()
        .unwrap_or_default();
    match error.kind() {
        ErrorKind::UnknownArgument if flag.starts_with("--") => format!("unknown flag: {flag}"),
        ErrorKind::UnknownArgument if flag.starts_with('-') => {
            let letter = flag.trim_start_matches('-');
            let cluster = line.iter().filter_map(|word| word.to_str());
            let cluster = cluster
                .filter(|word| word.starts_with('-') && !word.starts_with("--"))
                .find(|word| word.contains(letter));
            format!("unknown shorthand flag: '{letter}' in {}", cluster.unwrap_or(flag))
        }
        ErrorKind::InvalidValue if context(ContextKind::InvalidValue).is_empty() => {
            let last = line.last().and_then(|word| word.to_str()).unwrap_or_default();
            match last.strip_prefix('-').filter(|rest| !rest.starts_with('-')) {
                Some(letters) => {
                    let letter = letters.chars().next_back().unwrap_or_default();
                    format!("flag needs an argument: '{letter}' in {last}")
                }
                None => format!("flag needs an argument: {flag}"),
            }
        }
        ErrorKind::ValueValidation => {
            use std::error::Error as _;
            let value = context(ContextKind::InvalidValue);
            let reason = error.source().map(ToString::to_string).unwrap_or_default();
            format!(
                "invalid argument \"{value}\" for \"{}\" flag: {reason}",
                with_short(command, line, flag)
            )
        }
        _ => error
            .render()
            .to_string()
            .trim_start_matches("error: ")
            .trim_end()
            .to_owned(),
    }
}

/// `-w, --wait` for a flag that has a short form.
fn with_short(command: &Command, line: &[OsString], flag: &str) -> String {
    let mut command = command;
    for word in line.iter().skip(1).filter_map(|word| word.to_str()) {
        command = command.find_subcommand(word).unwrap_or(command);
    }
    let of_flag = command
        .get_arguments()
        .find(|argument| argument.get_long() == Some(flag.trim_start_matches('-')));
    match of_flag.and_then(Arg::get_short) {
        Some(short) => format!("-{short}, {flag}"),
        None => flag.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command() -> Command {
        let wait = Arg::new("wait").short('w').long("wait").action(ArgAction::SetTrue);
        let tag = Arg::new("tag").short('t').long("tag").required(true);
        let create = Command::new("create")
            .arg(Arg::new("name").required(true))
            .arg(tag)
            .arg(wait);
        let image = Command::new("image")
            .about("Image commands")
            .subcommand_required(true)
            .subcommand(create);
        Command::new("kp").subcommand_required(true).subcommand(image)
    }

    fn says(line: &str) -> String {
        match parse(command(), line.split(' ').map(OsString::from).collect()) {
            Ok(_) => "fine".to_owned(),
            Err(Stop::Help(text)) => format!("help: {}", text.lines().next().unwrap_or_default()),
            Err(Stop::Mistake(text)) => text.lines().next().unwrap_or_default().to_owned(),
        }
    }

    #[test]
    fn each_mistake_has_its_own_words_in_the_order_in_which_they_are_looked_for() {
        for (line, words) in [
            ("kp image create a -t x", "fine"),
            ("kp image create -t x a --wait=false -w", "fine"),
            ("kp image create a -t -1", "fine"),
            ("kp image create a -t x -t y", "fine"),
            ("kp image create", "Error: accepts 1 arg(s), received 0"),
            ("kp image create a b", "Error: accepts 1 arg(s), received 2"),
            ("kp image create a", "Error: required flag(s) \"tag\" not set"),
            ("kp image create a -x", "Error: unknown shorthand flag: 'x' in -x"),
            ("kp image create --frob", "Error: unknown flag: --frob"),
            ("kp image create --frob=1", "Error: unknown flag: --frob"),
            ("kp image create a --tag", "Error: flag needs an argument: --tag"),
            ("kp image create a -t", "Error: flag needs an argument: 't' in -t"),
            (
                "kp image create a -t x --wait=maybe",
                "Error: invalid argument \"maybe\" for \"-w, --wait\" flag: strconv.ParseBool: parsing \"maybe\": invalid syntax",
            ),
            ("kp image", "help: Image commands"),
            ("kp image frob", "help: Image commands"),
            ("kp image --help", "help: Image commands"),
            ("kp help image", "help: Image commands"),
            ("kp frob", "Error: unknown command \"frob\" for \"kp\""),
        ] {
            assert_eq!(says(line), words, "{line}");
        }
    }

    #[test]
    fn flags_may_stand_in_front_of_their_command() {
        for (line, words) in [
            ("kp -t x image create a", "fine"),
            ("kp --tag x image --wait=true create a", "fine"),
            ("kp image -t create create a", "fine"),
            ("kp image -t=x create a b", "Error: accepts 1 arg(s), received 2"),
            ("kp image --frob 1 create a", "Error: unknown flag: --frob"),
            ("kp image -w create a", "Error: unknown shorthand flag: 'w' in -w"),
            ("kp -t x frob", "Error: unknown shorthand flag: 't' in -t"),
            (
                "kp image -h create",
                "help: Usage: kp image create [OPTIONS] --tag <tag> <name>",
            ),
        ] {
            assert_eq!(says(line), words, "{line}");
        }
    }

    #[test]
    fn a_command_that_is_nearly_right_is_suggested() {
        let Err(Stop::Mistake(text)) = parse(command(), ["kp", "imge"].map(OsString::from).to_vec()) else {
            panic!("there is no such command")
        };
        assert_eq!(
            text,
            "Error: unknown command \"imge\" for \"kp\"\n\nDid you mean this?\n\timage\n\nRun 'kp --help' for usage.\n"
        );
    }
}

//! `kp completion`: a script for a shell, made of the commands and flags that there are.

use anyhow::bail;
use clap::{Arg, Command};

use crate::{arguments::usage, print::out};

pub(crate) fn run(shell: &str, root: &Command) -> anyhow::Result<()> {
    let nodes = nodes(root);
    out(&match shell {
        "bash" => bash(&nodes),
        "zsh" => zsh(&nodes),
        "fish" => fish(&nodes),
        "powershell" => powershell(&nodes),
        _ => {
            let completion = root.find_subcommand("completion").unwrap_or(root).clone();
            bail!(
                "invalid argument \"{shell}\" for \"kp completion\"\n{}",
                usage(completion, "kp completion")
            )
        }
    });
    Ok(())
}

/// A command, and what may follow it.
struct Node {
    /// The words that lead to it: `kp image create`.
    path: String,
    /// Names and what they are for.
    words: Vec<(String, String)>,
}

/// All commands under all of their names.
fn nodes(root: &Command) -> Vec<Node> {
    let mut nodes = Vec::new();
    collect(root, root.get_name().to_owned(), &mut nodes);
    nodes
}

fn collect(command: &Command, path: String, nodes: &mut Vec<Node>) {
    let about = |text: Option<&clap::builder::StyledStr>| {
        let text = text.map(ToString::to_string).unwrap_or_default();
        text.lines().next().unwrap_or_default().to_owned()
    };
    let shown = |inner: &&Command| !inner.is_hide_set();
    let mut words: Vec<_> = command
        .get_subcommands()
        .filter(shown)
        .map(|inner| (inner.get_name().to_owned(), about(inner.get_about())))
        .collect();
    let flags = command.get_arguments().filter(|argument| !argument.is_hide_set());
    words.extend(flags.filter_map(|argument: &Arg| {
        let name = argument.get_long()?;
        Some((format!("--{name}"), about(argument.get_help())))
    }));
    words.push(("--help".to_owned(), "Print help".to_owned()));
    if path == "kp completion" {
        words.extend(["bash", "zsh", "fish", "powershell"].map(|shell| (shell.to_owned(), String::new())));
    }
    nodes.push(Node {
        path: path.clone(),
        words,
    });
    for inner in command.get_subcommands().filter(shown) {
        for name in inner.get_name_and_visible_aliases() {
            collect(inner, format!("{path} {name}"), nodes);
        }
    }
}

fn bash(nodes: &[Node]) -> String {
    let mut cases = String::new();
    for node in nodes {
        let words: Vec<_> = node.words.iter().map(|(word, _)| word.as_str()).collect();
        cases += &format!("        \"{}\") words=\"{}\" ;;\n", node.path, words.join(" "));
    }
    format!(
        "# bash completion for kp
_kp_words() {{
    local words=\"\"
    case \"$1\" in
{cases}    esac
    printf '%s' \"$words\"
}}

_kp() {{
    local path=kp word known
    for word in \"${{COMP_WORDS[@]:1:COMP_CWORD-1}}\"; do
        known=\"$(_kp_words \"$path $word\")\"
        [ -n \"$known\" ] && path=\"$path $word\"
    done
    if [[ \"${{COMP_WORDS[COMP_CWORD-1]}}\" == -f || \"${{COMP_WORDS[COMP_CWORD-1]}}\" == --filename ]]; then
        COMPREPLY=( $(compgen -f -- \"${{COMP_WORDS[COMP_CWORD]}}\") )
        return
    fi
    COMPREPLY=( $(compgen -W \"$(_kp_words \"$path\")\" -- \"${{COMP_WORDS[COMP_CWORD]}}\") )
}}

complete -o default -F _kp kp
"
    )
}

fn zsh(nodes: &[Node]) -> String {
    let mut cases = String::new();
    for node in nodes {
        let quoted = |text: &str| text.replace('\'', "'\\''").replace(':', "\\:");
        let words = node
            .words
            .iter()
            .map(|(word, about)| format!("'{}:{}'", quoted(word), quoted(about)));
        cases += &format!(
            "        \"{}\") choices=({}) ;;\n",
            node.path,
            words.collect::<Vec<_>>().join(" ")
        );
    }
    format!(
        "#compdef kp
# zsh completion for kp
_kp_choices() {{
    choices=()
    case \"$1\" in
{cases}    esac
}}

_kp() {{
    local -a choices
    local path_=kp word
    for word in \"${{words[@]:1:$((CURRENT-2))}}\"; do
        _kp_choices \"$path_ $word\"
        (( ${{#choices}} )) && path_=\"$path_ $word\"
    done
    _kp_choices \"$path_\"
    _describe 'kp' choices || _files
}}

if [ \"$funcstack[1]\" = \"_kp\" ]; then
    _kp
else
    compdef _kp kp
fi
"
    )
}

fn fish(nodes: &[Node]) -> String {
    let mut lines = String::from(
        "# fish completion for kp
function __kp_path
    set -l path kp
    for word in (commandline -opc)[2..]
        if contains -- \"$path $word\" $__kp_paths
            set path \"$path $word\"
        end
    end
    test \"$path\" = \"$argv[1]\"
end

",
    );
    let paths: Vec<_> = nodes.iter().map(|node| format!("'{}'", node.path)).collect();
    lines += &format!("set -g __kp_paths {}\n", paths.join(" "));
    for node in nodes {
        for (word, about) in &node.words {
            let about = about.replace('\'', "\\'");
            let what = match word.strip_prefix("--") {
                Some(flag) => format!("-l {flag}"),
                None => format!("-f -a {word}"),
            };
            lines += &format!("complete -c kp -n '__kp_path \"{}\"' {what} -d '{about}'\n", node.path);
        }
    }
    lines
}

fn powershell(nodes: &[Node]) -> String {
    let mut entries = String::new();
    for node in nodes {
        let words: Vec<_> = node.words.iter().map(|(word, _)| format!("'{word}'")).collect();
        entries += &format!("        '{}' = @({})\n", node.path, words.join(", "));
    }
    format!(
        "# PowerShell completion for kp
Register-ArgumentCompleter -Native -CommandName 'kp' -ScriptBlock {{
    param($wordToComplete, $commandAst, $cursorPosition)
    $known = @{{
{entries}    }}
    $path = 'kp'
    foreach ($element in $commandAst.CommandElements | Select-Object -Skip 1) {{
        $next = \"$path $element\"
        if ($known.ContainsKey($next)) {{ $path = $next }}
    }}
    $known[$path] | Where-Object {{ $_ -like \"$wordToComplete*\" }} | ForEach-Object {{
        [System.Management.Automation.CompletionResult]::new($_, $_, 'ParameterValue', $_)
    }}
}}
"
    )
}

//! Processes that an image can start.

use cnb_order::{TomlTable, TomlValue};
use serde_json::{Value, json};

/// A process that buildpacks defined.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Process {
    /// Its type, the name it is started by, such as `web`.
    pub kind: String,
    /// The command, and arguments that always come first.
    pub command: Vec<String>,
    /// Arguments; from Buildpack API 0.9 on a user's arguments replace them. `None` when none were written, which
    /// metadata.toml tells from an empty list.
    pub args: Option<Vec<String>>,
    /// Whether it is started without a shell.
    pub direct: bool,
    /// Whether it is the one to start when none is asked for.
    pub default: bool,
    /// The buildpack that defined it.
    pub buildpack_id: String,
    /// Its working directory; empty is the application's.
    pub working_dir: String,
    /// The execution environments it is for; none means all.
    pub exec_env: Vec<String>,
}

impl Process {
    /// Returns the table of metadata.toml: below Platform API 0.10 the command is one text, and what followed it in the list
    /// comes in front of the arguments.
    pub(crate) fn write(&self, command_is_list: bool) -> TomlTable {
        let table = TomlTable::new().text("type", &self.kind);
        let json = |text: &String| TomlValue::JsonText(text.clone());
        let (command, args) = self.split(command_is_list);
        let command = match command {
            Some(first) => json(first),
            None => TomlValue::List(self.command.iter().map(json).collect()),
        };
        let mut table = table.with("command", command);
        if let Some(args) = args {
            table = table.texts("args", &args);
        }
        table = table
            .flag("direct", self.direct)
            .flag_if("default", self.default)
            .text("buildpack-id", &self.buildpack_id)
            .text_if("working-dir", &self.working_dir);
        if !self.exec_env.is_empty() {
            table = table.texts("exec-env", &self.exec_env);
        }
        table
    }

    fn split(&self, command_is_list: bool) -> (Option<&String>, Option<Vec<String>>) {
        match self.command.split_first() {
            Some((first, rest)) if !command_is_list => {
                let args = self.args.iter().flatten();
                (Some(first), Some(rest.iter().chain(args).cloned().collect()))
            }
            _ => (None, self.args.clone()),
        }
    }

    /// Returns the JSON of the label `io.buildpacks.build.metadata`.
    pub fn to_json(&self, command_is_list: bool) -> Value {
        let (command, args) = self.split(command_is_list);
        let mut object = json!({
            "type": self.kind,
            "command": command.map_or_else(|| json!(self.command), |first| json!(first)),
            "args": args,
            "direct": self.direct,
            "buildpackID": self.buildpack_id,
        });
        if let Some(map) = object.as_object_mut() {
            if !self.working_dir.is_empty() {
                map.insert("working-dir".to_owned(), json!(self.working_dir));
            }
            if !self.exec_env.is_empty() {
                map.insert("exec-env".to_owned(), json!(self.exec_env));
            }
        }
        object
    }
}

/// The processes of all buildpacks so far: one of each type, the last definition counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProcessList {
    processes: Vec<Process>,
    default_type: String,
}

impl ProcessList {
    /// Adds the processes of one buildpack, and returns a warning if they made the default process vanish.
    pub fn add(&mut self, processes: &[Process]) -> Option<String> {
        let mut warning = None;
        for process in processes {
            if process.default {
                self.default_type.clone_from(&process.kind);
                warning = None;
            } else if process.kind == self.default_type {
                self.default_type.clear();
                warning = Some(format!(
                    "Warning: redefining the following default process type with a process not marked as default: {}",
                    process.kind
                ));
            }
            let definition = Process {
                default: false,
                ..process.clone()
            };
            match self.processes.iter_mut().find(|have| have.kind == process.kind) {
                Some(have) => *have = definition,
                None => self.processes.push(definition),
            }
        }
        warning
    }

    /// Returns the processes sorted by type, and the default type, empty if there is none.
    pub fn finish(mut self) -> (Vec<Process>, String) {
        self.processes.sort_by(|a, b| a.kind.cmp(&b.kind));
        (self.processes, self.default_type)
    }
}

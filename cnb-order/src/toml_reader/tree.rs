//! The values of a document as a tree, with lines.

use std::collections::BTreeMap;

use toml::{Table, Value};

/// A value and the line it begins on.
pub(crate) struct Node {
    line: usize,
    what: What,
}

enum What {
    Scalar(Value),
    Array(Vec<Node>),
    /// Made by `[[name]]`, so more of them may follow.
    Tables(Vec<Node>),
    Table {
        fields: BTreeMap<String, Node>,
        /// Whether a header or a value made it, which may happen once.
        defined: bool,
    },
}

/// One step on the way to a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// A field of a table, by its key as written.
    Field(String),
    /// An element of a list.
    Element(usize),
}

impl Node {
    fn new_table(line: usize, defined: bool) -> Self {
        Self {
            line,
            what: What::Table {
                fields: BTreeMap::new(),
                defined,
            },
        }
    }

    pub(super) fn table(line: usize) -> Self {
        Self::new_table(line, false)
    }

    pub(super) fn inline(line: usize) -> Self {
        Self::new_table(line, true)
    }

    pub(super) fn scalar(value: Value, line: usize) -> Self {
        Self {
            line,
            what: What::Scalar(value),
        }
    }

    pub(super) fn array(items: Vec<Self>, line: usize) -> Self {
        Self {
            line,
            what: What::Array(items),
        }
    }

    /// Returns the table that keys below a name belong to: in lists the last element.
    pub(super) fn current(&mut self, name: &[String]) -> Option<&mut Self> {
        let mut at = self;
        for part in name {
            at = at.last_element()?.field(part)?;
        }
        at.last_element()
    }

    fn last_element(&mut self) -> Option<&mut Self> {
        match self.what {
            What::Tables(_) => match &mut self.what {
                What::Tables(list) => list.last_mut(),
                _ => None,
            },
            _ => Some(self),
        }
    }

    fn field(&mut self, key: &str) -> Option<&mut Self> {
        match &mut self.what {
            What::Table { fields, .. } => fields.get_mut(key),
            _ => None,
        }
    }

    /// Returns the table of that key, made if it is not there; `None` if something else is.
    fn sub_table(&mut self, key: &str, line: usize) -> Option<&mut Self> {
        match &mut self.what {
            What::Table { fields, .. } => {
                let found = fields.entry(key.to_owned()).or_insert_with(|| Self::table(line));
                found.last_element()
            }
            _ => None,
        }
    }

    /// Makes the table that a header names.
    pub(super) fn define(&mut self, name: &[String], list: bool, line: usize) -> Result<(), String> {
        let taken = || format!("Key '{}' has already been defined.", name.join("."));
        let (last, parents) = name.split_last().ok_or("table names cannot be empty")?;
        let mut at = self;
        for part in parents {
            at = at.sub_table(part, line).ok_or_else(taken)?;
        }
        let What::Table { fields, .. } = &mut at.what else {
            return Err(taken());
        };
        match fields.get_mut(last).map(|found| &mut found.what) {
            None if list => {
                let tables = Self {
                    line,
                    what: What::Tables(vec![Self::new_table(line, true)]),
                };
                fields.insert(last.clone(), tables);
            }
            None => {
                fields.insert(last.clone(), Self::new_table(line, true));
            }
            Some(What::Tables(tables)) if list => tables.push(Self::new_table(line, true)),
            Some(_) if list => {
                return Err(format!(
                    "Key '{}' was already created and cannot be used as an array.",
                    name.join(".")
                ));
            }
            Some(What::Table { defined, .. }) if !*defined => *defined = true,
            Some(_) => return Err(taken()),
        }
        Ok(())
    }

    /// Sets a field of this table, through the tables that the parts of the key name.
    pub(super) fn insert(&mut self, key: &[String], value: Self, line: usize) -> Result<(), ()> {
        let (last, parents) = key.split_last().ok_or(())?;
        let mut at = self;
        for part in parents {
            at = at.sub_table(part, line).ok_or(())?;
        }
        match &mut at.what {
            What::Table { fields, .. } if !fields.contains_key(last) => {
                fields.insert(last.clone(), value);
                Ok(())
            }
            _ => Err(()),
        }
    }

    /// Returns the line of the value at the end of a path.
    pub(crate) fn line_of(&self, path: &[Step]) -> Option<usize> {
        let Some((step, rest)) = path.split_first() else {
            return Some(self.line);
        };
        let next = match (step, &self.what) {
            (Step::Field(key), What::Table { fields, .. }) => fields.get(key),
            (Step::Element(at), What::Array(list) | What::Tables(list)) => list.get(*at),
            _ => None,
        };
        next?.line_of(rest)
    }

    /// Returns the document as a plain table.
    pub(crate) fn into_table(self) -> Table {
        match self.what {
            What::Table { fields, .. } => fields.into_iter().map(|(key, node)| (key, node.into_value())).collect(),
            _ => Table::new(),
        }
    }

    fn into_value(self) -> Value {
        match self.what {
            What::Scalar(value) => value,
            What::Array(list) | What::Tables(list) => Value::Array(list.into_iter().map(Self::into_value).collect()),
            What::Table { .. } => Value::Table(self.into_table()),
        }
    }
}

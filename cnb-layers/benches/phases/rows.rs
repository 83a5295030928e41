//! The rows of the table and the order in which they are measured.

use std::fs;
use std::path::{Path, PathBuf};

use cnb_layers::{ImageDraft, ImageSource as _, Platform, copy_image, push_image};
use test_support::Registry;

use crate::build::reference;
use crate::counted::registries;
use crate::data::{ALL, Set};
use crate::measure::{Taken, measured};
use crate::table::{Row, print};
use crate::world::{World, push_base};

pub(crate) struct Options {
    /// How often each measurement is repeated; the least time counts.
    pub(crate) rounds: usize,
    /// By how much the data sets are smaller.
    pub(crate) shrink: usize,
    /// Where the data sets are; they are kept there.
    pub(crate) dir: PathBuf,
    /// What to measure; empty: everything.
    pub(crate) words: Vec<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            rounds: 3,
            shrink: 1,
            dir: std::env::temp_dir().join("cnb-layers-bench"),
            words: Vec::new(),
        }
    }
}

impl Options {
    fn wants(&self, name: &str) -> bool {
        self.words.is_empty() || self.words.iter().any(|word| name.contains(word.as_str()))
    }
}

/// Measures and prints all rows.
pub(crate) fn run(options: &Options) {
    let registry = Registry::start().expect("docker-registry can be started");
    let (store, _) = registries(&[&registry.host()]);
    push_base(&store, &format!("{}/run/base:1", registry.host()), "one");
    push_base(&store, &format!("{}/run/base:2", registry.host()), "two");
    let bench = Bench {
        options,
        host: registry.host(),
        registry: child_named("docker-registry"),
        number: std::cell::Cell::new(0),
    };
    let mut rows = Vec::new();
    for set in ALL {
        let root = options.dir.join(format!("{}-{}", set.name(), options.shrink));
        World::new(&root, set).write(options.shrink);
        bench.fresh(set, &root, &mut rows);
        bench.again(set, &root, &mut rows);
        if set == Set::Ten {
            bench.changed(&root, &mut rows);
            bench.restored(&root, &mut rows);
            bench.rebased(&root, &mut rows);
        }
    }
    print(&rows);
}

struct Bench<'a> {
    options: &'a Options,
    host: String,
    registry: Option<u32>,
    number: std::cell::Cell<usize>,
}

impl Bench<'_> {
    /// Runs one measurement; `number` makes the names of its images.
    fn once(&self, what: &str, set: Set, root: &Path, number: usize) -> Taken {
        let arguments = [
            what.to_owned(),
            set.name().to_owned(),
            root.display().to_string(),
            self.host.clone(),
            number.to_string(),
        ];
        measured(&arguments, self.registry)
    }

    fn new_number(&self) -> usize {
        self.number.set(self.number.get() + 1);
        self.number.get()
    }

    /// Measures ours and the straight way in turn.
    fn row(
        &self,
        name: &str,
        set: Set,
        mut ours: impl FnMut() -> Taken,
        mut straight: impl FnMut() -> Option<Taken>,
    ) -> Row {
        let mut row = Row {
            name: name.to_owned(),
            set,
            ours: None,
            straight: None,
        };
        for round in 0..self.options.rounds {
            row.take(ours(), straight());
            eprintln!("{name} {}: round {}", set.name(), round + 1);
        }
        row
    }

    fn fresh(&self, set: Set, root: &Path, rows: &mut Vec<Row>) {
        for sink in ["null", "spool", "registry", "cache-image"] {
            let name = format!("fresh {sink}");
            if self.options.wants(&format!("{name} {}", set.name())) {
                let run = |what: String| self.once(&what, set, root, self.new_number());
                rows.push(self.row(
                    &name,
                    set,
                    || run(format!("export-{sink}")),
                    || Some(run(format!("straight-{sink}"))),
                ));
            }
        }
    }

    fn again(&self, set: Set, root: &Path, rows: &mut Vec<Row>) {
        if !matches!(set, Set::Ten | Set::Mix) || !self.options.wants(&format!("unchanged {}", set.name())) {
            return;
        }
        let number = self.new_number();
        self.once("export-registry", set, root, number);
        let again = || self.once("export-again", set, root, number);
        let straight = || Some(self.once("straight-again", set, root, number));
        rows.push(self.row("unchanged", set, again, straight));
    }

    fn changed(&self, root: &Path, rows: &mut Vec<Row>) {
        if !self.options.wants("changed one of ten") {
            return;
        }
        let (set, number) = (Set::Ten, self.new_number());
        self.once("export-registry", set, root, number);
        let file = World::new(root, set).layer(4).join("data");
        let original = fs::read(&file).expect("it is readable");
        let mut content = original.clone();
        let mut round = 0;
        rows.push(self.row(
            "one changed",
            set,
            || {
                round += 1;
                content.iter_mut().step_by(10_000).for_each(|byte| *byte ^= round);
                fs::write(&file, &content).expect("there is room");
                self.once("export-again", set, root, number)
            },
            || Some(self.once("straight-again", set, root, number)),
        ));
        fs::write(&file, original).expect("there is room");
    }

    fn restored(&self, root: &Path, rows: &mut Vec<Row>) {
        let set = Set::Ten;
        if self.options.wants("restore volume") {
            let number = self.new_number();
            self.once("fill-volume", set, root, number);
            let restore = || self.once("restore-volume", set, root, number);
            let straight = || Some(self.once("straight-restore-volume", set, root, number));
            rows.push(self.row("restore volume", set, restore, straight));
        }
        if self.options.wants("unchanged sealed") {
            let number = self.new_number();
            self.once("fill-volume", set, root, number);
            let export = || self.once("export-sealed", set, root, number);
            let straight = || Some(self.once("straight-again", set, root, number));
            rows.push(self.row("unchanged, sealed", set, export, straight));
        }
        if self.options.wants("restore image") {
            let number = self.new_number();
            self.once("export-cache-image", set, root, number);
            let restore = || self.once("restore-image", set, root, number);
            let straight = || Some(self.once("straight-restore-image", set, root, number));
            rows.push(self.row("restore image", set, restore, straight));
        }
    }

    fn rebased(&self, root: &Path, rows: &mut Vec<Row>) {
        for images in [100, 1000] {
            let name = format!("rebase {images}");
            if self.options.wants(&name) {
                rows.push(self.row(
                    &name,
                    Set::Ten,
                    || {
                        self.push_apps(root, images);
                        self.once("rebase", Set::Ten, root, images)
                    },
                    || None,
                ));
            }
        }
    }

    /// Gives `images` tags of one repository an application image each, no two the same, on the first base.
    fn push_apps(&self, root: &Path, images: usize) {
        let number = self.new_number();
        let small = root.with_file_name("small");
        let world = World::new(&small, Set::Text);
        world.write(1_000_000);
        self.once("export-registry", Set::Text, &small, number);
        let (store, _) = registries(&[&self.host]);
        let from = reference(&format!("{}/acme/text-{number}:latest", self.host));
        let first = reference(&format!("{}/acme/rebase:0", self.host));
        copy_image(&store, &from, &store, std::slice::from_ref(&first), &|_| ()).expect("it can be copied");
        let app = store.image(&first, &Platform::linux_amd64()).expect("it is readable");
        let app = app.expect("it is there");
        for number in 0..images {
            let mut draft = ImageDraft::of(&app);
            draft.set_label("number", number.to_string());
            let tag = reference(&format!("{}/acme/rebase:{number}", self.host));
            let pushed = push_image(&store, &draft.finish(), tag.repository(), std::slice::from_ref(&tag));
            pushed.expect("it can be pushed");
        }
    }
}

/// Finds a child process by its name.
fn child_named(name: &str) -> Option<u32> {
    let own = std::process::id().to_string();
    let processes = fs::read_dir("/proc").ok()?.flatten();
    processes
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .find(|process| {
            let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
            // The kernel keeps the first fifteen bytes of a name.
            let Some((start, rest)) = stat.rsplit_once(") ") else {
                return false;
            };
            start.ends_with(&name[..name.len().min(15)]) && rest.split(' ').nth(1) == Some(&own)
        })
}

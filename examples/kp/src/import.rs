//! `kp import`: lifecycles, buildpacks, stores, stacks and builders from one file.

mod changes;
mod descriptor;
mod save;

use std::io::{self, BufRead as _, IsTerminal as _};

use anyhow::Context as _;
use clap::Args;
use serde_json::{Value, json};

use crate::{
    cluster::{CLUSTER_BUILDER, CLUSTER_BUILDPACK, CLUSTER_LIFECYCLE, CLUSTER_STACK, CLUSTER_STORE, Cluster},
    files::read_file,
    lifecycle,
    print::{Printer, UploadFlags, out},
    relocate::{Registries, TlsFlags},
    resource::{new, remember_as_applied},
    settings::Settings,
    stack, store,
};
use descriptor::{Builder, Descriptor, Named, Stack, Store};

#[derive(Args)]
pub(crate) struct Flags {
    /// the file that describes what to import, or - for standard input
    #[arg(short, long)]
    filename: String,
    /// show what would change, and ask
    #[arg(long)]
    show_changes: bool,
    /// with --show-changes: do not ask
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    output: UploadFlags,
    #[command(flatten)]
    tls: TlsFlags,
}

pub(crate) fn run(flags: &Flags) -> anyhow::Result<()> {
    let cluster = Cluster::from_environment()?;
    let printer = Printer::with_uploads(&flags.output)?;
    let descriptor = Descriptor::parse(&read_file(&flags.filename)?)?;
    let settings = Settings::read(&cluster);
    let repository = settings.repository()?;
    let import = Import {
        cluster: &cluster,
        printer: &printer,
        registries: Registries::new(&flags.tls, descriptor.images().chain([repository]))?,
        settings: &settings,
        repository,
        timestamp: jiff::Zoned::now()
            .strftime("%Y-%m-%dT%H:%M:%S%:z")
            .to_string()
            .replace("+00:00", "Z"),
    };
    if flags.show_changes {
        let (text, changed) = changes::summary(&import, &descriptor)?;
        out(&format!("{text}\n"));
        let question = match changed {
            true => "Confirm with y:",
            false => "Re-upload images with y:",
        };
        if !flags.force && !confirmed(question, flags.filename == "-")? {
            out("Skipping import\n");
            return Ok(());
        }
    }
    let objects = import.objects(&descriptor)?;
    let objects = if printer.is_dry_run() {
        objects
    } else {
        save::all(&cluster, &printer, &objects)?
    };
    printer.objects(&objects)?;
    printer.result("Imported resources");
    Ok(())
}

/// Asks on standard output; the answer is read from the terminal when standard input held the descriptor.
fn confirmed(question: &str, stdin_is_used: bool) -> anyhow::Result<bool> {
    out(question);
    let mut answer = String::new();
    if !stdin_is_used {
        io::stdin().lock().read_line(&mut answer)?;
    } else if io::stdout().is_terminal() {
        let terminal = std::fs::File::open("/dev/tty").context("there is no terminal to answer at; use --force")?;
        io::BufReader::new(terminal).read_line(&mut answer)?;
    }
    Ok(matches!(
        answer.trim_end_matches(['\r', '\n']),
        "y" | "Y" | "yes" | "YES"
    ))
}

struct Import<'a> {
    cluster: &'a Cluster,
    printer: &'a Printer,
    registries: Registries,
    settings: &'a Settings,
    repository: &'a str,
    timestamp: String,
}

impl Import<'_> {
    /// Relocates all images, and returns the objects to be saved, in that order.
    fn objects(&self, descriptor: &Descriptor) -> anyhow::Result<Vec<Value>> {
        let mut objects = Vec::new();
        for lifecycle in descriptor.lifecycles() {
            objects.push(self.lifecycle(&lifecycle)?);
        }
        for buildpack in &descriptor.cluster_buildpacks {
            objects.push(self.buildpack(buildpack)?);
        }
        for store in &descriptor.cluster_stores {
            objects.push(self.store(store)?);
        }
        for stack in descriptor.stacks() {
            objects.push(self.stack(&stack)?);
        }
        for builder in descriptor.builders() {
            objects.push(self.builder(&builder)?);
        }
        for object in &mut objects {
            object["metadata"]["annotations"]["kpack.io/import-timestamp"] = json!(self.timestamp);
        }
        Ok(objects)
    }

    fn lifecycle(&self, lifecycle: &Named) -> anyhow::Result<Value> {
        self.printer
            .step(&format!("Importing ClusterLifecycle '{}'...", lifecycle.name));
        let image = lifecycle::relocate(self.printer, &self.registries, &lifecycle.image, self.repository)?;
        let spec = json!({"image": image, "serviceAccountRef": self.settings.account_reference()});
        let mut object = new(CLUSTER_LIFECYCLE, "", &lifecycle.name, spec);
        remember_as_applied(&mut object)?;
        Ok(object)
    }

    fn buildpack(&self, buildpack: &Named) -> anyhow::Result<Value> {
        const LABEL: &str = "io.buildpacks.buildpackage.metadata";
        self.printer
            .step(&format!("Importing ClusterBuildpack '{}'...", buildpack.name));
        let found = self.registries.find(&buildpack.image)?;
        let label = found.image.label(LABEL);
        label.with_context(|| format!("invalid buildpack image: missing label {LABEL}"))?;
        self.printer.step(&format!("Uploading to '{}'...", self.repository));
        let image = self.registries.relocate(self.printer, &found, self.repository)?;
        let spec = json!({"image": image, "serviceAccountRef": self.settings.account_reference()});
        let mut object = new(CLUSTER_BUILDPACK, "", &buildpack.name, spec);
        remember_as_applied(&mut object)?;
        Ok(object)
    }

    fn store(&self, described: &Store) -> anyhow::Result<Value> {
        self.printer
            .step(&format!("Importing ClusterStore '{}'...", described.name));
        let images: Vec<String> = described.sources.iter().map(|source| source.image.clone()).collect();
        if let Some(mut existing) = self.cluster.find(CLUSTER_STORE, "", &described.name)? {
            store::put_all(self.printer, &self.registries, &mut existing, &images, self.repository)?;
            return Ok(existing);
        }
        if images.is_empty() {
            anyhow::bail!("At least one buildpackage must be provided");
        }
        let images = store::relocate_all(self.printer, &self.registries, &images, self.repository)?;
        let mut object = store::holding(&described.name, self.settings, &images);
        remember_as_applied(&mut object)?;
        Ok(object)
    }

    fn stack(&self, described: &Stack) -> anyhow::Result<Value> {
        self.printer
            .step(&format!("Importing ClusterStack '{}'...", described.name));
        let names = (described.build_image.image.as_str(), described.run_image.image.as_str());
        let mut spec = stack::relocate(self.printer, &self.registries, names, self.repository)?;
        spec["serviceAccountRef"] = self.settings.account_reference();
        Ok(new(CLUSTER_STACK, "", &described.name, spec))
    }

    fn builder(&self, described: &Builder) -> anyhow::Result<Value> {
        self.printer
            .step(&format!("Importing ClusterBuilder '{}'...", described.name));
        let mut spec = json!({
            "tag": format!("{}:clusterbuilder-{}", self.repository, described.name),
            "stack": {"kind": CLUSTER_STACK.name, "name": described.cluster_stack},
            "order": described.order,
            "serviceAccountRef": self.settings.account_reference(),
        });
        if !described.cluster_store.is_empty() {
            spec["store"] = json!({"kind": CLUSTER_STORE.name, "name": described.cluster_store});
        }
        let mut object = new(CLUSTER_BUILDER, "", &described.name, spec);
        remember_as_applied(&mut object)?;
        Ok(object)
    }
}

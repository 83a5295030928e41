//! W01 to W21.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};
use cnb_layers::{Compression, Image, RegistryStore, builder::write_buildpackage};
use serde_json::Value;
use signal_hook::consts::{SIGINT, SIGTERM};

use crate::{
    Options, app, registry,
    stack::{self, Images},
    stage::{Stage, check_programs},
    story::{BuildRecord, Story},
    table,
    terminal::Terminal,
};

/// How long one build may take.
const BUILD_LIMIT: Duration = Duration::from_secs(300);

/// Runs the walk-through and tells what happened. Everything it started is stopped when it returns, but with
/// [`Options::keep`], where it returns when somebody presses Ctrl-C.
///
/// # Errors
/// When a program is missing and can't be installed, a command fails that must not, or something is not as it should
/// be: the error says what.
pub fn run(options: &Options) -> anyhow::Result<Story> {
    let stopped = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        // The first asks for an orderly end, the second ends at once.
        signal_hook::flag::register_conditional_shutdown(signal, 130, Arc::clone(&stopped))?;
        signal_hook::flag::register(signal, Arc::clone(&stopped))?;
    }
    check_programs()?;
    let cache = cache_directory(options)?;
    let announce = Terminal::new(options.quiet, ".".into(), Vec::new(), Arc::clone(&stopped));
    let layout = match &options.build_image {
        Some(_) => None,
        None => {
            let _busy = announce.busy("making build and run image from Debian (once; they are kept)");
            Some(stack::make(&cache)?)
        }
    };
    announce.check()?;
    let mut stage = {
        let _busy = announce.busy("building kp, kpackd, lifecycle and launcher; starting registry and git server");
        Stage::set_up(options)?
    };
    let terminal = stage.terminal(options.quiet, Arc::clone(&stopped))?;
    terminal.say(PICTURE);
    let images = published(options, &stage, &terminal, layout.as_deref())?;
    terminal.heading("The engine");
    terminal.say(&format!(
        "$ {} &\n$ export KUBECONFIG={}",
        stage.kpackd_line(),
        stage.kubeconfig().display()
    ));
    stage.start_kpackd()?;
    let mut walk = Walk {
        options,
        stage: &stage,
        terminal: &terminal,
        images,
        story: Story::default(),
    };
    let walked = walk.all();
    let mut story = walk.story;
    story.engine_log = stage.engine_log();
    if let Err(error) = walked {
        let log = fs::read_to_string(stage.engine_log()).unwrap_or_default();
        let tail: Vec<_> = log.lines().rev().take(15).collect();
        let tail: Vec<_> = tail.into_iter().rev().collect();
        return Err(error.context(format!("the end of kpackd's log:\n{}\n", tail.join("\n"))));
    }
    terminal.say(&format!("\n{}", table::render(&story.builds)));
    if let Some(first) = story.builds.first() {
        let digests = first.app_layers().join("\n  ");
        terminal.say(&format!("\nApp layers of build 1, the same in every run:\n  {digests}"));
    }
    story.commands = terminal.into_story();
    if options.keep {
        keep(&stage, &story, &stopped);
    }
    stage.stop()?;
    Ok(story)
}

const PICTURE: &str = "
  git push ──▶ SourceResolver ──▶ Image ──▶ Build ──▶ Pod: prepare · analyze · detect · restore · build · export
                                    ▲                                                                     │
  buildpackages ──▶ ClusterStore ─┐ │                                                                     ▼
  build+run image ─▶ ClusterStack ┼─▶ ClusterBuilder                                   registry: my-demo:main@sha256:…
  kp, kubectl ──▶ kpackd ─────────┘";

fn cache_directory(options: &Options) -> anyhow::Result<PathBuf> {
    if let Some(cache) = &options.cache {
        return Ok(std::path::absolute(cache)?);
    }
    let base = std::env::var_os("XDG_CACHE_HOME")
        .filter(|path| !path.is_empty())
        .map(PathBuf::from);
    let base = base.or_else(|| std::env::home_dir().map(|home| home.join(".cache")));
    Ok(base
        .context("there is no home directory; name a directory with --cache")?
        .join("kpack-flow"))
}

/// The stack images and the buildpackage in the registry, as if somebody had published them.
fn published(
    options: &Options,
    stage: &Stage,
    terminal: &Terminal,
    layout: Option<&Path>,
) -> anyhow::Result<(Images, String)> {
    let _busy = terminal.busy("publishing stack images and buildpackage");
    let images = match (layout, &options.build_image, &options.run_image) {
        (Some(layout), _, _) => stack::publish(layout, &stage.client, &stage.prefix)?,
        (None, Some(build), Some(run)) => Images {
            build: build.clone(),
            run: run.clone(),
            newer_run: String::new(),
        },
        _ => bail!("--build-image and --run-image go together"),
    };
    if let Some(package) = &options.buildpackage {
        return Ok((images, package.clone()));
    }
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("buildpacks");
    let name = format!("{}/buildpacks/python:1.0.0", stage.prefix);
    let components = ["python-env", "pip-install", "python-web"].map(|name| data.join(name));
    let target = RegistryStore::new(stage.client.clone());
    write_buildpackage(
        &data.join("python"),
        &components,
        &target,
        &[name.parse()?],
        Compression::default(),
    )?;
    Ok((images, name))
}

fn keep(stage: &Stage, story: &Story, stopped: &AtomicBool) {
    anstream::println!(
        "\nEverything is still running. Look around in another terminal:\n  export KUBECONFIG={}\n  kubectl get images,builds,pods -A\n  skopeo list-tags --tls-verify=false --creds {}:{} docker://{}\nGit: {}\nCtrl-C stops everything.",
        stage.kubeconfig().display(),
        stage.user,
        if stage.server.starts_with("127.") {
            stage.password.as_str()
        } else {
            "…"
        },
        story.repository,
        stage.git.url("sample"),
    );
    while !stopped.load(Ordering::Relaxed) {
        std::thread::sleep(Duration::from_millis(100));
    }
}

struct Walk<'a> {
    options: &'a Options,
    stage: &'a Stage,
    terminal: &'a Terminal,
    images: (Images, String),
    story: Story,
}

impl Walk<'_> {
    fn all(&mut self) -> anyhow::Result<()> {
        self.credentials()?;
        self.builder()?;
        self.first_build()?;
        if self.options.only_first_build {
            return Ok(());
        }
        self.second_build()?;
        if !self.images.0.newer_run.is_empty() {
            self.stack_update()?;
        }
        self.manual_trigger()?;
        self.failing_commit()?;
        if !self.options.keep {
            self.clean_up()?;
        }
        Ok(())
    }

    /// W01 to W05.
    fn credentials(&mut self) -> anyhow::Result<()> {
        let t = self.terminal;
        t.heading("W01–W03  a namespace, the secret of the registry, a service account");
        self.sample()?;
        t.run("W01", "kubectl create namespace demo")?;
        let (user, server) = (&self.stage.user, &self.stage.server);
        let line = format!(
            "kubectl create secret docker-registry regcreds -n demo --docker-username={user} --docker-password=\"$REGISTRY_PASSWORD\" --docker-server={server}"
        );
        // The password is a variable of this one command, so that no terminal shows it.
        let file = self.stage.folder.path().join("password");
        fs::write(&file, &self.stage.password)?;
        t.run("W02", &format!("REGISTRY_PASSWORD=$(cat {}) && {line}", file.display()))?;
        fs::remove_file(file)?;
        t.run("W03", "kubectl apply -n demo -f sample/sa.yaml")?;
        t.heading("W04–W05  defaults of kp");
        t.run(
            "W04",
            "kp config default-service-account kp-default --service-account-namespace demo",
        )?;
        t.run("W04", "kp config default-service-account")?;
        t.run(
            "W05",
            &format!("kp config default-repository {}/kpack-repo", self.stage.prefix),
        )?;
        t.run("W05", "kp config default-repository")?;
        Ok(())
    }

    /// The repository of the app, cloned as a developer has it.
    fn sample(&mut self) -> anyhow::Result<()> {
        let repository = self.stage.git.create_repository("sample")?;
        copy_tree(&Path::new(env!("CARGO_MANIFEST_DIR")).join("sample"), repository.work())?;
        self.story.commits.push(repository.commit(&[], "The app")?);
        self.terminal.run(
            "W01",
            &format!("git clone --quiet {} sample", self.stage.git.url("sample")),
        )?;
        Ok(())
    }

    /// W06 to W11.
    fn builder(&mut self) -> anyhow::Result<()> {
        let t = self.terminal;
        let (images, package) = &self.images;
        t.heading("W06  the store: buildpackages");
        let save = format!("kp clusterstore save default --buildpackage {package}");
        t.run("W06", &save)?;
        t.run("W06", &save)?;
        t.run("W06", "kp clusterstore list")?;
        t.run("W06", "kp clusterstore status default")?;
        t.heading("W07  the stack: a build and a run image");
        let (build, run) = (&images.build, &images.run);
        t.run(
            "W07",
            &format!("kp clusterstack save base --build-image {build} --run-image {run}"),
        )?;
        t.heading("W08–W11  the builder: stack, store and an order");
        t.run("W08", "cat sample/order-python.yaml")?;
        t.run("W09", &format!(
            "kp clusterbuilder save my-demo --tag {}/my-demo-builder:latest --stack base --store default --order sample/order-python.yaml",
            self.stage.prefix
        ))?;
        t.run("W10", "kp clusterbuilder list")?;
        t.run("W11", "kp clusterbuilder status my-demo")?;
        Ok(())
    }

    /// W12 to W14.
    fn first_build(&mut self) -> anyhow::Result<()> {
        let t = self.terminal;
        self.story.repository = format!("{}/my-demo", self.stage.prefix);
        let repository = self.story.repository.clone();
        t.heading("W12  the image that is to be kept up to date");
        let stored = self.stage.stored();
        t.run("W12", &format!(
            "kp image create my-demo --namespace demo --tag {repository}:main --git {} --git-revision main --sub-path app --cluster-builder my-demo --service-account kp-default",
            self.stage.git.url("sample")
        ))?;
        t.heading("W13  the first build");
        self.follow(1, "W13", stored)?;
        t.run("W13", "kubectl get images,builds,pods -n demo")?;
        t.heading("W14  the digest, for GitOps");
        t.run("W14", "kp image status my-demo --namespace demo")?;
        let first = registry::image(&self.stage.client, &format!("{repository}:main"))?;
        self.story.labels = first.config().config.labels.clone().into_iter().collect();
        self.serve(1, "W14")
    }

    /// W15 and W16.
    fn second_build(&mut self) -> anyhow::Result<()> {
        let t = self.terminal;
        t.heading("W15–W16  a commit, and nothing else: build 2 comes by itself");
        let stored = self.stage.stored();
        t.run(
            "W15",
            "sed -i 's/the first commit/the second commit/' sample/app/app.py",
        )?;
        self.push("A friendlier text")?;
        self.follow(2, "W16", stored)?;
        t.run("W16", "kp image status my-demo --namespace demo")?;
        self.serve(2, "W16")
    }

    /// W17.
    fn stack_update(&mut self) -> anyhow::Result<()> {
        let t = self.terminal;
        t.heading("W17  a newer run image: build 3 is a rebase");
        let images = &self.images.0;
        let (build, run) = (&images.build, &images.newer_run);
        let line = format!("kp clusterstack save base --build-image {build} --run-image {run}");
        // What it would do, before it is done.
        let preview = t.run("W17", &format!("{line} --dry-run"))?;
        ensure!(
            preview.contains("1 rebased") && preview.contains("my-demo"),
            "the dry run does not tell that my-demo would be rebased"
        );
        let stored = self.stage.stored();
        t.run("W17", &line)?;
        self.follow(3, "W17", stored)?;
        self.serve(3, "W17")
    }

    /// W19.
    fn manual_trigger(&mut self) -> anyhow::Result<()> {
        self.terminal.heading("W19  a build because somebody asks for it");
        let stored = self.stage.stored();
        self.terminal.run("W19", "kp image trigger my-demo -n demo")?;
        let number = self.next_number();
        self.follow(number, "W19", stored)
    }

    /// F08.
    fn failing_commit(&mut self) -> anyhow::Result<()> {
        let t = self.terminal;
        t.heading("A commit that can't be built: the image stays as it was");
        let stored = self.stage.stored();
        t.run("F08", "echo no-such-package==0.0.1 >> sample/app/requirements.txt")?;
        self.push("A package that does not exist")?;
        let number = self.next_number();
        self.follow(number, "F08", stored)?;
        t.run("F08", "kp image status my-demo --namespace demo")?;
        t.run("W20", "kp build list --namespace demo")?;
        self.story.tags = self
            .stage
            .client
            .tags(self.story.repository.parse::<cnb_layers::Reference>()?.repository())?;
        Ok(())
    }

    /// W21.
    fn clean_up(&mut self) -> anyhow::Result<()> {
        let t = self.terminal;
        t.heading("W21  cleaning up");
        t.run("W21", "kp image delete my-demo --namespace demo")?;
        let after = t.try_run("W21", "kp build list --namespace demo", "")?;
        ensure!(after.exit == 1, "builds are still listed after their image was deleted");
        t.run("W21", "kp clusterbuilder delete my-demo")?;
        t.run("W21", "kp clusterstack delete base")?;
        let deleted = t.try_run("W21", "kp clusterstore delete default", "y\n")?;
        ensure!(deleted.exit == 0, "the store was not deleted: {}", deleted.stderr);
        for what in ["serviceaccount kp-default", "secret regcreds"] {
            t.run("W21", &format!("kubectl delete {what} -n demo"))?;
        }
        t.run("W21", "kubectl delete namespace demo")?;
        t.run("W21", "kp config default-repository")?;
        Ok(())
    }

    fn next_number(&self) -> u32 {
        self.story.builds.last().map_or(1, |build| build.number + 1)
    }

    fn push(&mut self, message: &str) -> anyhow::Result<()> {
        let line =
            format!("cd sample && git commit --quiet --all --message '{message}' && git push --quiet origin main");
        self.terminal.run("W15", &line)?;
        let commit = self.terminal.look("git -C sample rev-parse HEAD")?;
        self.story.commits.push(commit.stdout.trim().to_owned());
        Ok(())
    }

    fn build(&self, number: u32) -> anyhow::Result<Option<Value>> {
        let line = format!("kubectl get build my-demo-build-{number} -n demo -o json");
        let ran = self.terminal.look(&line)?;
        if ran.exit != 0 {
            return Ok(None);
        }
        Ok(Some(serde_json::from_str(&ran.stdout)?))
    }

    /// Waits until the build is there, follows its log, waits until it has ended, and records it.
    fn follow(&mut self, number: u32, step: &'static str, stored: Option<u64>) -> anyhow::Result<()> {
        let t = self.terminal;
        let begun = Instant::now();
        t.wait(&format!("build {number} appears"), Duration::from_secs(60), || {
            self.build(number)
        })?;
        t.run(step, "kp build list --namespace demo")?;
        let log = {
            let _busy = self.terminal.busy(&format!("build {number} runs"));
            t.run(
                step,
                &format!("kp build logs my-demo --namespace demo -f --build {number}"),
            )?
        };
        let ended = t.wait(&format!("build {number} ends"), BUILD_LIMIT, || {
            let build = self.build(number)?.context("the build is gone")?;
            Ok((succeeded(&build) != "Unknown").then_some(build))
        })?;
        let duration = begun.elapsed();
        t.run(step, "kp build list --namespace demo")?;
        let image = ended["status"]["latestImage"].as_str().unwrap_or_default().to_owned();
        let pod = t.look(&format!(
            "kubectl get pod my-demo-build-{number}-build-pod -n demo -o json"
        ))?;
        let pod: Value = serde_json::from_str(&pod.stdout).unwrap_or_default();
        let built = match image.as_str() {
            "" => None,
            image => Some(registry::image(&self.stage.client, image)?),
        };
        let layers_of = built.iter().flat_map(Image::layers);
        self.story.builds.push(BuildRecord {
            number,
            reason: ended["metadata"]["annotations"]["image.kpack.io/reason"]
                .as_str()
                .unwrap_or_default()
                .to_owned(),
            status: if succeeded(&ended) == "True" {
                "SUCCESS"
            } else {
                "FAILURE"
            }
            .to_owned(),
            duration,
            layers: layers(&log),
            pushed: self
                .stage
                .stored()
                .zip(stored)
                .map(|(after, before)| after.saturating_sub(before)),
            digest: image.rsplit_once('@').map_or("", |(_, digest)| digest).to_owned(),
            diff_ids: layers_of.clone().map(|layer| layer.diff_id.to_string()).collect(),
            layer_digests: layers_of.map(|layer| layer.descriptor.digest.to_string()).collect(),
            base_layers: built.as_ref().map_or(0, base_layers),
            log,
            containers: containers(&pod),
            answer: None,
        });
        Ok(())
    }

    /// Starts what was built and asks it for its text.
    fn serve(&mut self, number: u32, step: &'static str) -> anyhow::Result<()> {
        let tag = format!("{}:main", self.story.repository);
        let text = app::answer(self.stage, self.terminal, step, &tag)?;
        if let Some(build) = self.story.builds.iter_mut().find(|build| build.number == number) {
            build.answer = Some(text);
        }
        Ok(())
    }
}

fn succeeded(build: &Value) -> &str {
    let conditions = build["status"]["conditions"].as_array();
    let condition = conditions
        .into_iter()
        .flatten()
        .find(|condition| condition["type"] == "Succeeded");
    condition
        .and_then(|condition| condition["status"].as_str())
        .unwrap_or("Unknown")
}

/// How many of an image's layers are those of its run image: as many as end in the `topLayer` of its label.
fn base_layers(image: &Image) -> usize {
    let label = image.label("io.buildpacks.lifecycle.metadata").unwrap_or_default();
    let label: Value = serde_json::from_str(label).unwrap_or_default();
    let top = label["runImage"]["topLayer"].as_str().unwrap_or_default();
    let found = image.layers().iter().position(|layer| layer.diff_id.to_string() == top);
    found.map_or(0, |position| position + 1)
}

fn containers(pod: &Value) -> Vec<String> {
    let names = |field: &str| -> Vec<String> {
        let list = pod["spec"][field].as_array().into_iter().flatten();
        list.filter_map(|container| container["name"].as_str())
            .map(str::to_owned)
            .collect()
    };
    [names("initContainers"), names("containers")].concat()
}

/// Counts the layers that the export step added and reused; `None` when it did not run.
fn layers(log: &str) -> Option<(usize, usize)> {
    let export = log.split("===> EXPORT").nth(1)?;
    let count = |word: &str| export.lines().filter(|line| line.contains(word)).count();
    Some((count("Adding layer"), count("Reusing layer '")))
}

fn copy_tree(from: &Path, to: &Path) -> anyhow::Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            fs::create_dir_all(&target)?;
            copy_tree(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

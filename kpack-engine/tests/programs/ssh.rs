//! prepare with a source that is reached by ssh: a real sshd, and the machine's own ssh.

#[path = "../../../source-fetch/tests/support/sshd.rs"]
#[allow(
    dead_code,
    unreachable_pub,
    reason = "shared with source-fetch, which uses all of it"
)]
mod sshd;

use kpack_engine::programs::Program;
use test_support::{GitRepository, GitServer, Registry};

use crate::step::{Outcome, Pod, files_with, push, store};
use sshd::Sshd;

struct World {
    sshd: Sshd,
    _git: GitServer,
    repository: GitRepository,
    registry: Registry,
    commit: String,
}

impl World {
    fn new() -> Self {
        let git = GitServer::start().unwrap();
        let repository = git.create_repository("shop").unwrap();
        let commit = repository.commit(&[("main.py", "print()\n")], "one");
        let registry = Registry::start().unwrap();
        let run = format!("{}/run:1", registry.host());
        push(&store(&registry, false), &run, ("etc/os", "x"), &[]);
        Self {
            sshd: Sshd::start(),
            commit: commit.unwrap(),
            repository,
            _git: git,
            registry,
        }
    }

    /// Runs prepare with the key `key` and these known hosts.
    fn prepare(&self, pod: &Pod, key: &str, known_hosts: Option<&str>) -> Outcome {
        let key = self.sshd.key(key);
        let mut files = vec![("ssh-privatekey", key.trim_end())];
        files.extend(known_hosts.map(|hosts| ("known_hosts", hosts)));
        pod.secret("deploy", &files);
        let port = self.sshd.port;
        let bare = self.repository.bare();
        let url = format!("ssh://{}@localhost:{port}{}", Sshd::user(), bare.display());
        let (tag, run) = (
            format!("{}/app:1", self.registry.host()),
            format!("{}/run:1", self.registry.host()),
        );
        let env = [
            ("GIT_URL", url.as_str()),
            ("GIT_REVISION", "main"),
            ("IMAGE_TAG", &tag),
            ("RUN_IMAGE", &run),
        ];
        let secret = format!("-ssh-git=deploy=localhost:{port}");
        let strict = "-insecure-ssh-trust-unknown-hosts=false";
        let args = [secret.as_str(), strict];
        let args = if known_hosts.is_some() { &args[..] } else { &args[..1] };
        pod.run(Program::Prepare, args, &env)
    }
}

#[test]
fn a_source_is_fetched_by_ssh_with_the_key_and_the_known_hosts_of_the_secret() {
    let world = World::new();
    let known = format!("[localhost]:{} {}", world.sshd.port, world.sshd.key("host.pub"));
    for known_hosts in [None, Some(known.as_str())] {
        let pod = Pod::new();
        let outcome = world.prepare(&pod, "key-a", known_hosts);
        assert_eq!((outcome.code, outcome.err.as_str()), (0, ""), "{}", outcome.out);
        assert!(outcome.out.contains("from secret \"deploy\"\n"), "{}", outcome.out);
        assert_eq!(pod.read("workspace/main.py"), "print()\n");
        let metadata = pod.read("projectMetadata/project-metadata.toml");
        assert!(metadata.contains(&world.commit), "{metadata}");
        // The key is where it was mounted and nowhere else.
        assert_eq!(
            files_with(&pod.path(""), "PRIVATE KEY"),
            [pod.path("secrets/deploy/ssh-privatekey")]
        );
    }
}

#[test]
fn a_changed_host_key_or_a_wrong_key_ends_the_step_and_is_said() {
    let world = World::new();
    let changed = format!("[localhost]:{} {}", world.sshd.port, world.sshd.key("key-a.pub"));
    for (key, known_hosts, words) in [
        ("key-a", Some(changed.as_str()), "host key verification failed"),
        ("key-a", Some(""), "add known_hosts to the secret"),
        ("key-b", None, "permission denied"),
    ] {
        let pod = Pod::new();
        let outcome = world.prepare(&pod, key, known_hosts);
        assert_eq!(outcome.code, 1);
        assert!(outcome.err.to_lowercase().contains(words), "{}", outcome.err);
        assert!(
            outcome.err.contains("localhost") && !outcome.err.contains("PRIVATE KEY"),
            "{}",
            outcome.err
        );
        assert_eq!(
            std::fs::read_dir(pod.path("workspace"))
                .unwrap()
                .filter(|e| e.as_ref().unwrap().file_name() != ".git")
                .count(),
            0
        );
        assert_eq!(
            files_with(&pod.path(""), "PRIVATE KEY"),
            [pod.path("secrets/deploy/ssh-privatekey")]
        );
    }
}

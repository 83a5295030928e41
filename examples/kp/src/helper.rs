//! Docker's credential helpers, run with a time-out.

use std::{
    io::{self, Read as _, Write as _},
    process::{Command, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use registry_auth::{HelperOutput, HelperRunner};

/// Runs `docker-credential-NAME` of the `PATH`.
pub(crate) struct Programs;

impl HelperRunner for Programs {
    fn run(&self, helper: &str, server: &str) -> io::Result<HelperOutput> {
        let mut child = Command::new(format!("docker-credential-{helper}"))
            .arg("get")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(server.as_bytes())?;
        }
        let mut stdout = child
            .stdout
            .take()
            .ok_or_else(|| io::Error::other("no standard output"))?;
        let (sender, answer) = mpsc::channel();
        thread::spawn(move || {
            let mut bytes = Vec::new();
            let read = stdout.by_ref().take(1 << 20).read_to_end(&mut bytes);
            let _ = sender.send(read.map(|_| bytes));
        });
        let Ok(bytes) = answer.recv_timeout(Duration::from_secs(30)) else {
            child.kill()?;
            child.wait()?;
            return Err(io::Error::new(
                io::ErrorKind::TimedOut,
                format!("docker-credential-{helper} gave no answer within 30 seconds"),
            ));
        };
        Ok(HelperOutput {
            success: child.wait()?.success(),
            stdout: bytes?,
        })
    }
}

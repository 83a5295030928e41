//! An http server of plain files that knows ranges.

use std::{
    path::Path,
    process::{Command, Stdio},
};

use test_support::{Process, Program, require};

/// Serves what is beneath `root`; returns the server and its port.
pub(crate) fn file_server(root: &Path) -> (Process, u16) {
    require(&[Program::new("busybox", "busybox-static")]).expect("busybox is there");
    let command = |port| {
        let mut command = Command::new("busybox");
        command
            .args(["httpd", "-f", "-p", &format!("127.0.0.1:{port}"), "-h"])
            .arg(root)
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command
    };
    Process::serve(command).expect("busybox serves")
}

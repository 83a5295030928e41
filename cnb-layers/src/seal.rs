//! Layers of which it is known that nobody has changed them since they were restored.

use std::collections::BTreeMap;
use std::fs::{File, Metadata, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use sha2::{Digest as _, Sha256};

use crate::{DiffId, LayerBuilder, LayerContent, LayerError};

/// The clock of a file system is waited for so long; it goes on every few milliseconds, on old ones every second or two.
const PATIENCE: Duration = Duration::from_millis(100);

/// Spares an export the reading of layers that were restored in the same run and are still what they were.
///
/// [`restore`](crate::restore::restore) puts a seal on each layer that it extracts, when its inputs say so. An export that is
/// given the seals (see [`Export::with_seals`](crate::export::Export::with_seals)) walks such a layer and compares what it
/// finds: names, kinds, modes, link targets, and of each file device, inode, size, modification and change time. When all is
/// the same, the layer has the diff id that it was restored by, and no file of it is read; else it is read as any other.
///
/// # Risk
/// Content that changes while none of that does is not noticed, and the image gets the layer as it was restored. Where the
/// kernel keeps the change time that takes a clock that is set back to the nanosecond of the last write, or access to the
/// device beneath; but on a **tmpfs**, writes through a shared memory mapping leave the times alone, and a network or user
/// space file system need not keep them at all. So nothing is sealed unless the caller asks for it.
///
/// # Examples
/// ```no_run
/// use cnb_layers::Seals;
/// use cnb_layers::export::Export;
/// use cnb_layers::phase::NoLog;
/// use cnb_layers::restore::{RestoreInputs, restore};
///
/// /// Builds an image from restoring to exporting; `build` runs the buildpacks.
/// fn run<'a>(
///     mut restoring: RestoreInputs<'a>,
///     build: impl FnOnce(),
///     export: Export<'a>,
///     seals: &'a Seals,
/// ) -> Result<(), Box<dyn std::error::Error>> {
///     restoring.seals = Some(seals);
///     restore(&restoring, None, &NoLog)?;
///     build();
///     export.with_seals(seals).run(&NoLog)?;
///     Ok(())
/// }
/// ```
#[derive(Debug, Default)]
pub struct Seals {
    /// By the layer's directory on disk.
    layers: Mutex<BTreeMap<PathBuf, Seal>>,
}

/// What a layer was when it was restored.
#[derive(Clone, Debug)]
pub(crate) struct Seal {
    diff_id: DiffId,
    outline: [u8; 32],
    newest: Time,
}

/// Seconds and nanoseconds since 1970.
type Time = (i64, i64);

impl Seals {
    /// Returns no seals: the place for those of one run.
    pub fn new() -> Self {
        Self::default()
    }

    /// Seals the layer in `dir`, which has just been extracted.
    pub(crate) fn put(&self, dir: PathBuf, diff_id: DiffId, outline: Outline) {
        let seal = Seal {
            diff_id,
            newest: outline.newest,
            outline: outline.finish(),
        };
        self.layers().insert(dir, seal);
    }

    /// Waits until every later change of a sealed file gets another time than its last; seals for which that takes too
    /// long are given up.
    pub(crate) fn settle(&self) {
        let deadline = Instant::now() + PATIENCE;
        self.layers().retain(|dir, seal| has_passed(dir, seal.newest, deadline));
    }

    /// Returns a layer that knows its diff id as long as the seal of `dir` is whole; as it is when there is none.
    pub(crate) fn apply(&self, dir: &Path, layer: LayerBuilder) -> Box<dyn LayerContent> {
        match self.layers().get(dir) {
            Some(seal) => Box::new(Sealed {
                layer,
                seal: seal.clone(),
            }),
            None => Box::new(layer),
        }
    }

    fn layers(&self) -> MutexGuard<'_, BTreeMap<PathBuf, Seal>> {
        self.layers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns whether the clock that the file system of `dir` takes its times from has passed `time`.
fn has_passed(dir: &Path, time: Time, deadline: Instant) -> bool {
    loop {
        match now(dir) {
            Ok(now) if now > time => return true,
            Ok(_) if Instant::now() < deadline => thread::sleep(Duration::from_micros(500)),
            _ => return false,
        }
    }
}

/// Asks the file system for its time: that at which a directory has been given the mode it has.
fn now(dir: &Path) -> io::Result<Time> {
    let flags = rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::CLOEXEC;
    let dir = File::from(rustix::fs::open(dir, flags, rustix::fs::Mode::empty())?);
    let mode = dir.metadata()?.mode() & 0o7777;
    dir.set_permissions(Permissions::from_mode(mode))?;
    let status = dir.metadata()?;
    Ok((status.ctime(), status.ctime_nsec()))
}

/// A layer that was restored.
struct Sealed {
    layer: LayerBuilder,
    seal: Seal,
}

impl LayerContent for Sealed {
    fn write_tar(&self, out: &mut dyn Write) -> Result<(), LayerError> {
        self.layer.write_tar(out)
    }

    fn known_diff_id(&self) -> Option<DiffId> {
        // Whoever reads it will say what is wrong with it.
        let outline = self.layer.outline().ok()?;
        (outline.finish() == self.seal.outline).then(|| self.seal.diff_id.clone())
    }
}

/// Stands for the tar of a layer: takes everything in it but what is in the files, and the status of those in its place.
///
/// Two with the same sum are of the same entries in the same order, byte for byte, whose files are the same and unchanged.
#[derive(Default)]
pub(crate) struct Outline {
    sum: Sha256,
    newest: Time,
}

impl Outline {
    /// Takes the status of a file in the place of its content.
    pub(crate) fn file(&mut self, status: &Metadata) {
        for number in [status.dev(), status.ino(), status.size()] {
            self.sum.update(number.to_le_bytes());
        }
        let changed = (status.ctime(), status.ctime_nsec());
        for (seconds, nanos) in [(status.mtime(), status.mtime_nsec()), changed] {
            self.sum.update(seconds.to_le_bytes());
            self.sum.update(nanos.to_le_bytes());
        }
        self.newest = self.newest.max(changed);
    }

    fn finish(self) -> [u8; 32] {
        self.sum.finalize().into()
    }
}

impl Write for Outline {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.sum.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use proptest::prelude::*;

    use super::*;
    use crate::cache::{LayerPlace, extract_layer};
    use crate::{Parents, diff_id, directory_layer};

    /// The layer `/layers/bp/c` below `root`.
    fn layer(root: &Path) -> LayerBuilder {
        let parents = Parents::Given(&|_| (0o755, 0, 0));
        directory_layer(root, Path::new("/layers/bp/c"), &parents, 1000, 1000).expect("nothing is read yet")
    }

    fn tar(root: &Path) -> Vec<u8> {
        let mut tar = Vec::new();
        layer(root).write_tar(&mut tar).expect("memory takes all");
        tar
    }

    /// Extracts a tar below `root` and seals it.
    fn restore(root: &Path, tar: &[u8]) -> Seals {
        fs::create_dir_all(root.join("layers")).expect("there is room");
        let (diff_id, mut outline) = (DiffId::of(tar), Outline::default());
        let place = LayerPlace {
            disk: &root.join("layers"),
            image: Path::new("/layers"),
            within: &["bp", "c"],
        };
        extract_layer(&mut &*tar, &diff_id, place, Some(&mut outline)).expect("it is a good layer");
        let seals = Seals::new();
        seals.put(place.dir(), diff_id, outline);
        seals
    }

    fn known(root: &Path, seals: &Seals) -> Option<DiffId> {
        seals.apply(&root.join("layers/bp/c"), layer(root)).known_diff_id()
    }

    /// Makes a file with its directories, unless something is in the way.
    fn write(root: &Path, name: &str, content: &[u8]) {
        let path = root.join("layers/bp/c").join(name);
        let _ = path.parent().map(fs::create_dir_all);
        let _ = fs::write(path, content);
    }

    #[test]
    fn a_tar_that_was_written_otherwise_is_no_proof() {
        let root = tempfile::tempdir().expect("there is room");
        let mut builder = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        header.set_size(1);
        let appended = builder.append_data(&mut header, "layers/bp/c/f", &b"x"[..]);
        appended.expect("memory takes all");
        let tar = builder.into_inner().expect("memory takes all");
        let seals = restore(root.path(), &tar);
        seals.settle();
        assert_eq!(known(root.path(), &seals), None);
    }

    #[test]
    fn a_seal_whose_time_the_clock_does_not_pass_is_given_up() {
        let root = tempfile::tempdir().expect("there is room");
        write(root.path(), "f", b"x");
        let seals = restore(root.path(), &tar(root.path()));
        for seal in seals.layers().values_mut() {
            seal.newest = (i64::MAX, 0);
        }
        seals.settle();
        assert_eq!(known(root.path(), &seals), None);
    }

    #[test]
    fn the_clock_of_a_file_system_passes_the_time_of_the_last_write() {
        let root = tempfile::tempdir().expect("there is room");
        fs::write(root.path().join("f"), "x").expect("there is room");
        let status = fs::metadata(root.path().join("f")).expect("it is there");
        let written = (status.ctime(), status.ctime_nsec());
        assert!(has_passed(root.path(), written, Instant::now() + PATIENCE));
        assert!(!has_passed(
            &root.path().join("gone"),
            written,
            Instant::now() + PATIENCE
        ));
    }

    #[derive(Clone, Debug)]
    enum Change {
        Write(String, Vec<u8>),
        Mode(String, u32),
        Remove(String),
        Rename(String, String),
    }

    fn name() -> impl Strategy<Value = String> {
        "[abc](/[abc]){0,2}"
    }

    fn content() -> impl Strategy<Value = Vec<u8>> {
        proptest::collection::vec(any::<u8>(), 0..4)
    }

    fn change() -> impl Strategy<Value = Change> {
        prop_oneof![
            (name(), content()).prop_map(|(name, content)| Change::Write(name, content)),
            (name(), prop_oneof![Just(0o644), Just(0o755)]).prop_map(|(name, mode)| Change::Mode(name, mode)),
            name().prop_map(Change::Remove),
            (name(), name()).prop_map(|(from, to)| Change::Rename(from, to)),
        ]
    }

    fn apply(root: &Path, change: &Change) {
        let at = |name: &str| root.join("layers/bp/c").join(name);
        let _ = match change {
            Change::Write(name, content) => {
                write(root, name, content);
                Ok(())
            }
            Change::Mode(name, mode) if at(name).is_file() => {
                fs::set_permissions(at(name), Permissions::from_mode(*mode))
            }
            Change::Mode(..) => Ok(()),
            Change::Remove(name) if at(name).is_dir() => fs::remove_dir_all(at(name)),
            Change::Remove(name) => fs::remove_file(at(name)),
            Change::Rename(from, to) => fs::rename(at(from), at(to)),
        };
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]
        #[test]
        fn a_diff_id_that_a_seal_knows_is_the_one_that_reading_gives(
            files in proptest::collection::btree_map(name(), content(), 0..8),
            changes in proptest::collection::vec(change(), 0..3),
        ) {
            let (made, root) = (tempfile::tempdir().expect("there is room"), tempfile::tempdir().expect("there is room"));
            fs::create_dir_all(made.path().join("layers/bp/c")).expect("there is room");
            for (name, content) in &files {
                write(made.path(), name, content);
            }
            let seals = restore(root.path(), &tar(made.path()));
            seals.settle();
            let (read, _) = diff_id(&layer(root.path())).expect("it is readable");
            prop_assert_eq!(known(root.path(), &seals), Some(read), "nothing has changed");
            for change in &changes {
                apply(root.path(), change);
            }
            if let Some(known) = known(root.path(), &seals) {
                let (read, _) = diff_id(&layer(root.path())).expect("it is readable");
                prop_assert_eq!(known, read);
            }
        }
    }
}

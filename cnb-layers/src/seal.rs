//! Layers of which it is known that nobody has changed them since they were restored.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags};

use crate::outline::{Outline, Time};
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
/// To seal them, a restore gives the directory of each layer the mode it has, which tells the time of its file system, and
/// waits until that has passed the last change: a few milliseconds, 100 at most. What is not so far by then, has files on
/// another file system, or was extracted over files that were there, gets no seal.
///
/// # Risk
/// Content that changes while none of the above does is not noticed, and the image gets the layer as it was restored:
/// - Whoever writes to the files while they are restored may go on unnoticed: a write in progress, or a shared memory mapping
///   that has been written to already, need not change the times again.
/// - On a **tmpfs**, a write through a shared mapping that was read before leaves the times alone.
/// - Network and user space file systems need not keep times as local ones do.
/// - A clock that is set back to the nanosecond of the last write, and access to the device beneath, deceive it.
///
/// So nothing is sealed unless the caller asks for it.
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
    state: Mutex<State>,
}

/// Seals by the layer's directory on disk.
#[derive(Debug, Default)]
struct State {
    /// Those that no later change can escape.
    settled: BTreeMap<PathBuf, Seal>,
    /// Those of a restore that goes on; none where two layers were extracted to one place.
    fresh: BTreeMap<PathBuf, Option<Seal>>,
}

/// What a layer was when it was restored.
#[derive(Clone, Debug)]
struct Seal {
    diff_id: DiffId,
    sum: [u8; 32],
    /// The devices that its files are on.
    devices: BTreeSet<u64>,
    /// When a file was changed last.
    newest: Time,
}

impl Seals {
    /// Returns no seals: the place for those of one run.
    pub fn new() -> Self {
        Self::default()
    }

    /// Seals the layer in `dir`, which has just been extracted. The seal counts when it has been [settled](Self::settle).
    pub(crate) fn put(&self, dir: PathBuf, diff_id: DiffId, outline: Outline) {
        let seal = (!outline.is_void).then(|| Seal {
            diff_id,
            devices: outline.devices.clone(),
            newest: outline.newest,
            sum: outline.finish(),
        });
        let mut state = self.state();
        let is_second = state.fresh.contains_key(&dir);
        state.fresh.insert(dir, seal.filter(|_| !is_second));
    }

    /// Waits until every later change of a sealed file gets another time than its last, and returns the directories of
    /// the layers that get no seal.
    pub(crate) fn settle(&self) -> Vec<PathBuf> {
        let fresh = std::mem::take(&mut self.state().fresh);
        let deadline = Instant::now() + PATIENCE;
        let mut unsealed = Vec::new();
        for (dir, seal) in fresh {
            let settled = seal.filter(|seal| {
                let clock = Clock::of(&dir);
                clock.is_ok_and(|clock| {
                    seal.devices.iter().all(|device| *device == clock.device)
                        && has_passed(seal.newest, deadline, || clock.now())
                })
            });
            match settled {
                Some(seal) => drop(self.state().settled.insert(dir, seal)),
                None => unsealed.push(dir),
            }
        }
        unsealed
    }

    /// Returns a layer that knows its diff id as long as the seal of `dir` is whole; as it is when there is none.
    pub(crate) fn apply(&self, dir: &Path, layer: LayerBuilder) -> Box<dyn LayerContent> {
        match self.state().settled.get(dir) {
            Some(seal) => Box::new(Sealed {
                layer,
                seal: seal.clone(),
            }),
            None => Box::new(layer),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns whether a clock has passed `time`, and waits for it.
fn has_passed(time: Time, deadline: Instant, mut now: impl FnMut() -> io::Result<Time>) -> bool {
    loop {
        match now() {
            Ok(now) if now > time => return true,
            Ok(_) if Instant::now() < deadline => thread::sleep(Duration::from_micros(500)),
            _ => return false,
        }
    }
}

/// The clock that the file system of a directory takes its times from.
struct Clock {
    dir: File,
    mode: u32,
    device: u64,
}

impl Clock {
    fn of(dir: &Path) -> io::Result<Self> {
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let dir = File::from(rustix::fs::open(dir, flags, Mode::empty())?);
        let status = dir.metadata()?;
        Ok(Self {
            dir,
            mode: status.mode() & 0o7777,
            device: status.dev(),
        })
    }

    /// Gives the directory the mode it has, and returns when that was.
    fn now(&self) -> io::Result<Time> {
        self.dir.set_permissions(Permissions::from_mode(self.mode))?;
        let status = self.dir.metadata()?;
        Ok((status.ctime(), status.ctime_nsec()))
    }
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
        (outline.finish() == self.seal.sum).then(|| self.seal.diff_id.clone())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use proptest::prelude::*;

    use super::*;
    use crate::cache::{LayerPlace, extract_layer};
    use crate::outline::Status;
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

    /// A tar with the file `f`, otherwise than this crate writes it.
    fn foreign() -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        header.set_size(1);
        let appended = builder.append_data(&mut header, "layers/bp/c/f", &b"x"[..]);
        appended.expect("memory takes all");
        builder.into_inner().expect("memory takes all")
    }

    #[test]
    fn a_tar_that_was_written_otherwise_is_no_proof() {
        let root = tempfile::tempdir().expect("there is room");
        let seals = restore(root.path(), &foreign());
        assert!(seals.settle().is_empty());
        assert_eq!(known(root.path(), &seals), None);
    }

    #[test]
    fn a_seal_whose_time_the_clock_does_not_pass_is_given_up() {
        let root = tempfile::tempdir().expect("there is room");
        let seals = restore(root.path(), &foreign());
        for seal in seals.state().fresh.values_mut().flatten() {
            seal.newest = (i64::MAX, 0);
        }
        assert_eq!(seals.settle(), [root.path().join("layers/bp/c")]);
        assert_eq!(known(root.path(), &seals), None);
    }

    #[test]
    fn a_seal_counts_only_when_it_is_settled() {
        let root = tempfile::tempdir().expect("there is room");
        write(root.path(), "f", b"x");
        let made = tar(root.path());
        fs::remove_dir_all(root.path().join("layers")).expect("it is there");
        let seals = restore(root.path(), &made);
        assert_eq!(known(root.path(), &seals), None);
        assert!(seals.settle().is_empty());
        assert_eq!(known(root.path(), &seals), Some(DiffId::of(&made)));
    }

    #[test]
    fn what_was_extracted_over_other_files_is_not_sealed() {
        let root = tempfile::tempdir().expect("there is room");
        write(root.path(), "a", b"x");
        write(root.path(), "b", b"y");
        let made = tar(root.path());
        fs::remove_file(root.path().join("layers/bp/c/b")).expect("it is there");
        fs::hard_link(root.path().join("layers/bp/c/a"), root.path().join("layers/bp/c/b")).expect("there is room");
        let seals = restore(root.path(), &made);
        assert_eq!(seals.settle().len(), 1);
        assert_eq!(known(root.path(), &seals), None);
    }

    #[test]
    fn two_layers_in_one_place_are_not_sealed() {
        let root = tempfile::tempdir().expect("there is room");
        let seals = Seals::new();
        for text in [b"x", b"y"] {
            seals.put(root.path().to_owned(), DiffId::of(text), Outline::default());
        }
        assert_eq!(seals.settle().len(), 1);
    }

    #[test]
    fn files_on_another_device_than_the_layer_are_not_sealed() {
        let root = tempfile::tempdir().expect("there is room");
        let mut outline = Outline::default();
        let mut status = Status::from(&fs::metadata(root.path()).expect("it is there"));
        status.device += 1;
        outline.file(&status);
        let seals = Seals::new();
        seals.put(root.path().to_owned(), DiffId::of(b""), outline);
        assert_eq!(seals.settle().len(), 1);
    }

    #[test]
    fn a_clock_that_stands_at_the_time_of_the_last_write_has_not_passed_it() {
        let mut times = [(1, 9), (2, 0), (2, 0), (2, 1)].into_iter();
        let later = Instant::now() + Duration::from_secs(60);
        assert!(has_passed((2, 0), later, || times
            .next()
            .ok_or_else(|| io::ErrorKind::Other.into())));
        assert_eq!(times.next(), None);
        assert!(!has_passed((2, 0), Instant::now(), || Ok((2, 0))));
        assert!(!has_passed((2, 0), later, || Err(
            io::ErrorKind::PermissionDenied.into()
        )));
    }

    #[test]
    fn the_clock_of_a_file_system_passes_the_time_of_the_last_write() {
        let root = tempfile::tempdir().expect("there is room");
        let clock = Clock::of(root.path()).expect("it is a directory");
        fs::write(root.path().join("f"), "x").expect("there is room");
        let written = Status::from(&fs::metadata(root.path().join("f")).expect("it is there"));
        assert!(has_passed(written.changed, Instant::now() + PATIENCE, || clock.now()));
        assert!(Clock::of(&root.path().join("f")).is_err() && Clock::of(&root.path().join("gone")).is_err());
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

//! A disk in memory that forgets, at a power cut, what was not synced. The fault matrix among the
//! integration tests and the spool's fuzz target use it too.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use crate::spool::disk::{Disk, Entry};

/// The disk; clones share it.
#[derive(Clone, Default)]
pub struct SimDisk(Arc<Mutex<Sim>>);

#[derive(Default)]
pub struct Sim {
    files: Vec<File>,
    /// Names as a running program sees them.
    names: BTreeMap<PathBuf, usize>,
    /// Names that survive a power cut for sure.
    durable_names: BTreeMap<PathBuf, usize>,
    /// What was done to names since, in order. Each is done whole or not at all, as on any file
    /// system with a journal.
    unsynced: Vec<Change>,
    /// So many steps from now everything begins to fail, until [`SimDisk::recover`].
    fails_after: Option<u32>,
    unreadable: BTreeSet<String>,
    /// No file is found, as when the mount is away.
    pub all_missing: bool,
    /// No file can be deleted.
    pub undeletable: bool,
}

#[derive(Clone)]
struct Change {
    removed: Option<PathBuf>,
    added: Option<(PathBuf, usize)>,
}

impl Change {
    fn touches(&self, dir: &Path) -> bool {
        let added = self.added.iter().map(|(path, _)| path);
        let mut paths = self.removed.iter().chain(added);
        paths.any(|path| path.parent() == Some(dir))
    }

    fn apply(self, names: &mut BTreeMap<PathBuf, usize>) {
        if let Some(path) = self.removed {
            names.remove(&path);
        }
        names.extend(self.added);
    }
}

#[derive(Default)]
struct File {
    content: Vec<u8>,
    synced: bool,
}

impl SimDisk {
    /// Lets all operations fail after so many steps, as if the program had died there or the disk
    /// were full.
    pub fn fail_after(&self, steps: u32) {
        self.sim().fails_after = Some(steps);
    }

    /// Lets operations succeed again.
    pub fn recover(&self) {
        self.sim().fails_after = None;
    }

    /// Lets a file with this name be unreadable, or readable again.
    pub fn set_unreadable(&self, name: &str, is_unreadable: bool) {
        let unreadable = &mut self.sim().unreadable;
        unreadable.remove(name);
        unreadable.extend(is_unreadable.then(|| name.to_owned()));
    }

    /// Forgets what was not synced; of each such thing `chance` decides anew whether it survives,
    /// as a disk may have written it or not.
    pub fn cut_power(&self, mut chance: impl FnMut() -> bool) {
        let mut sim = self.sim();
        for file in &mut sim.files {
            if !file.synced {
                let half = file.content.len() / 2;
                file.content.truncate(if chance() { half } else { 0 });
                file.synced = true;
            }
        }
        let mut survivors = sim.durable_names.clone();
        let mut deletions_survive = true;
        for change in std::mem::take(&mut sim.unsynced) {
            let survives = chance();
            if change.added.is_none() {
                // A journal keeps their order: none survives without those before it.
                deletions_survive &= survives;
                if !deletions_survive {
                    continue;
                }
            } else if !survives {
                continue;
            }
            change.apply(&mut survivors);
        }
        sim.names.clone_from(&survivors);
        sim.durable_names = survivors;
    }

    /// The content of all files in a folder of the spool.
    pub fn contents(&self, folder: &str) -> Vec<Vec<u8>> {
        let sim = self.sim();
        let content = |(_, file): (_, usize)| sim.files[file].content.clone();
        sim.within(folder).map(content).collect()
    }

    /// The names of the files of batches, and how long they are.
    pub fn batch_files(&self) -> BTreeMap<String, u64> {
        let sim = self.sim();
        let about =
            |(name, file): (&str, usize)| (name.to_owned(), sim.files[file].content.len() as u64);
        sim.within("batches").map(about).collect()
    }

    pub fn sim(&self) -> MutexGuard<'_, Sim> {
        self.0.lock().unwrap()
    }
}

impl Sim {
    fn within(&self, folder: impl AsRef<Path>) -> impl Iterator<Item = (&str, usize)> {
        let is_within = move |path: &Path| path.parent().unwrap().ends_with(&folder);
        let names = self.names.iter().filter(move |(path, _)| is_within(path));
        names.map(|(path, file)| (path.file_name().unwrap().to_str().unwrap(), *file))
    }

    fn step(&mut self) -> io::Result<()> {
        match &mut self.fails_after {
            None => Ok(()),
            Some(0) => Err(io::ErrorKind::StorageFull.into()),
            Some(steps) => {
                *steps -= 1;
                Ok(())
            }
        }
    }

    fn change(&mut self, removed: Option<&Path>, added: Option<(&Path, usize)>) {
        let change = Change {
            removed: removed.map(Path::to_owned),
            added: added.map(|(path, file)| (path.to_owned(), file)),
        };
        change.clone().apply(&mut self.names);
        self.unsynced.push(change);
    }

    fn find(&self, path: &Path) -> io::Result<usize> {
        let found = self.names.get(path).copied();
        found.ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl Disk for SimDisk {
    fn create_dir(&self, _: &Path) -> io::Result<()> {
        self.sim().step()
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<Entry>> {
        let sim = self.sim();
        let entry = |(name, file): (&str, usize)| Entry {
            name: name.to_owned(),
            // So that there are folders, too.
            is_file: !sim.files[file].content.starts_with(b"folder"),
            bytes: sim.files[file].content.len() as u64,
        };
        Ok(sim.within(dir).map(entry).collect())
    }

    fn write(&self, path: &Path, content: &[&[u8]]) -> io::Result<()> {
        let mut sim = self.sim();
        sim.step()?;
        let file = sim.files.len();
        sim.files.push(File::default());
        sim.change(None, Some((path, file)));
        sim.step()?;
        sim.files[file].content = content.concat();
        sim.step()?;
        sim.files[file].synced = true;
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut sim = self.sim();
        sim.step()?;
        let file = sim.find(from)?;
        sim.change(Some(from), Some((to, file)));
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut sim = self.sim();
        sim.step()?;
        let sim = &mut *sim;
        for change in sim.unsynced.extract_if(.., |change| change.touches(dir)) {
            change.apply(&mut sim.durable_names);
        }
        Ok(())
    }

    fn read(&self, path: &Path, max_bytes: u64) -> io::Result<Vec<u8>> {
        let sim = self.sim();
        if sim.all_missing {
            return Err(io::ErrorKind::NotFound.into());
        }
        let file = sim.find(path)?;
        let name = path.file_name().unwrap().to_str().unwrap();
        if sim.unreadable.contains(name) {
            return Err(io::Error::other("unreadable"));
        }
        let content = sim.files[file].content.iter();
        Ok(content.take(max_bytes as usize).copied().collect())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut sim = self.sim();
        sim.step()?;
        sim.find(path)?;
        if sim.undeletable {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        sim.change(Some(path), None);
        Ok(())
    }
}

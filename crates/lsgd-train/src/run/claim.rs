//! A place for a run, taken before anything is prepared for it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::aside;
use super::files::{is_at, write_json, write_whole};
use super::folder::RunFolder;
use super::lock::{Attempt, Lock, Share};
use super::records::RunRecord;
use crate::config::RunConfig;
use crate::error::TrainError;

/// A node of several.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Member {
    /// Which, from 0.
    pub node: u32,
    /// How many there are.
    pub nodes: u32,
}

/// The folder of a run, `folder/name` or for a node of several `folder/name/node-J`, which no other
/// process writes to while this is held.
///
/// A run takes the place of the old one of its name, files of other people left alone: that of its own
/// folder, and what else of it no node of the new one replaces. Those are, for a run of one node, the
/// nodes of an old one; and for a run of several, shared out among its nodes, the nodes with higher
/// numbers and the run of one node. The old run goes when the new one has its first checkpoint or its
/// summary. If this is dropped before, or the process is killed and another comes, it is there again.
#[derive(Debug)]
pub struct Claim {
    folder: PathBuf,
    /// Where else an old run of the name lies, for this one to replace.
    others: Vec<PathBuf>,
    overwrite: bool,
    /// Whether a run is left as it is for the moment: the node may come back to it.
    comes_back: bool,
    /// The folder, held open: no other can be taken for it.
    opened: Option<File>,
    locks: Vec<Lock>,
    /// Folders that were made for it, innermost first.
    made: Vec<PathBuf>,
    /// Folders in which an old run was set aside.
    replaced: Mutex<Vec<PathBuf>>,
}

impl Claim {
    /// Takes the place of the run that `config` names, for `member` if there are several nodes. One
    /// that exists is to be replaced only if `config` says so; of several nodes one that was killed or
    /// stopped can come back to its own.
    ///
    /// # Errors
    ///
    /// [`TrainError::RunExists`], [`TrainError::NotARun`], [`TrainError::InUse`], or
    /// [`TrainError::Write`] if the folder cannot be made.
    pub fn new(config: &RunConfig, member: Option<Member>) -> Result<Self, TrainError> {
        let run = config.folder.join(&config.name);
        let folder = match member {
            // Nodes are counted from 1 where people see them.
            Some(member) => run.join(node_name(u64::from(member.node) + 1)),
            None => run.clone(),
        };
        let made = make(&folder)?;
        let mut claim = Self {
            opened: File::open(&folder).ok(),
            others: others(&run, member),
            overwrite: config.overwrite,
            comes_back: false,
            locks: Vec::new(),
            replaced: Mutex::default(),
            made,
            folder,
        };
        claim.lock(&run, member)?;
        for folder in claim.all() {
            aside::finish_moving(folder)?;
        }
        claim.comes_back = member.is_some() && RunFolder::unfinished(&claim.folder, true);
        if !claim.comes_back {
            claim.make_room()?;
        }
        Ok(claim)
    }

    /// Whether there is a run of this node that began and has not come to its end: it was killed, or
    /// somebody asked it to stop.
    pub fn comes_back(&self) -> bool {
        self.comes_back
    }

    /// Begins a new run with what is known then: `config` as `config.toml`, and `run.json`.
    ///
    /// # Errors
    ///
    /// [`TrainError::RunExists`], [`TrainError::NotARun`], or [`TrainError::Write`]; what was there
    /// before is then still there.
    pub fn begin(self, config: &str, record: &RunRecord) -> Result<RunFolder, TrainError> {
        self.make_room()?;
        for folder in self.all().filter(|folder| aside::is_run(folder)) {
            self.replaced().push(folder.to_owned());
            aside::set_aside(folder)?;
        }
        // `run.json` first: what lies beside it is then known as this program's.
        let written = write_json(&self.folder.join("run.json"), record)
            .and_then(|()| write_whole(&self.folder.join("config.toml"), config.as_bytes()));
        if let Err(error) = written {
            // What could not be written is the error to tell.
            let _ = aside::remove_own(&self.folder);
            return Err(error);
        }
        Ok(RunFolder::of(self.folder.clone(), Some(Arc::new(self))))
    }

    /// Goes on where the node's life before was left: what it came to then is no summary of the whole.
    ///
    /// # Errors
    ///
    /// [`TrainError`] if its files cannot be read or written.
    pub fn go_on(self, config: &str) -> Result<RunFolder, TrainError> {
        let aside = self.all().filter(|folder| aside::is_aside(folder));
        *self.replaced() = aside.map(Path::to_owned).collect();
        if aside::came_to_something(&self.folder)? {
            self.keep();
        }
        let folder = RunFolder::of(self.folder.clone(), Some(Arc::new(self)));
        folder.reopen(config)?;
        Ok(folder)
    }

    /// Whether the folder still is where it was, and can be written to.
    ///
    /// # Errors
    ///
    /// [`TrainError::Gone`] or [`TrainError::Write`].
    pub(super) fn check(&self) -> Result<(), TrainError> {
        let path = &self.folder;
        if let Some(opened) = &self.opened
            && !is_at(opened, path).map_err(TrainError::write(path))?
        {
            return Err(TrainError::Gone { path: path.clone() });
        }
        #[cfg(unix)]
        rustix::fs::access(path, rustix::fs::Access::WRITE_OK)
            .map_err(|why| TrainError::write(path)(why.into()))?;
        Ok(())
    }

    /// The run has come to something: the old one goes.
    pub(super) fn keep(&self) {
        for folder in self.replaced().drain(..) {
            // What cannot be removed now is removed by the next run of the name.
            let _ = aside::discard(&folder);
        }
    }

    /// Its own folder, and those of which it replaces the run.
    fn all(&self) -> impl Iterator<Item = &Path> {
        let others = self.others.iter().map(PathBuf::as_path);
        std::iter::once(self.folder.as_path()).chain(others)
    }

    fn replaced(&self) -> std::sync::MutexGuard<'_, Vec<PathBuf>> {
        self.replaced.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A run of one node shuts out any other of the name. Nodes of several share the run's folder, and
    /// each shuts out another in its place.
    fn lock(&mut self, run: &Path, member: Option<Member>) -> Result<(), TrainError> {
        let alone = |folder: &PathBuf| (folder.clone(), Share::Alone);
        let mut wanted = match member {
            None => vec![alone(&self.folder)],
            Some(_) => vec![(run.to_owned(), Share::WithOthers), alone(&self.folder)],
        };
        wanted.extend(self.others.iter().filter(|other| *other != run).map(alone));
        for (folder, share) in wanted {
            match Lock::attempt(&folder, share)? {
                Attempt::Held(lock) => self.locks.push(lock),
                Attempt::Taken { holder } => {
                    return Err(TrainError::InUse {
                        path: folder,
                        holder,
                    });
                }
                Attempt::NoLocks(why) => {
                    tracing::warn!(
                        "{} cannot be locked ({why}); see to it that no other process writes there",
                        folder.display()
                    );
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Ends what was left half done, and tells whether a run can be had here.
    fn make_room(&self) -> Result<(), TrainError> {
        for folder in self.all() {
            aside::settle(folder)?;
        }
        if let Some(name) = aside::in_the_way(&self.folder)? {
            let why = format!(
                "holds {}, but is not a run (it has no run.json of this program); choose another \
                 run.name, or move that away",
                name.display()
            );
            let path = self.folder.clone();
            return Err(TrainError::NotARun { path, why });
        }
        match self.all().find(|folder| aside::is_run(folder)) {
            Some(path) if !self.overwrite => Err(TrainError::RunExists {
                path: path.to_owned(),
            }),
            _ => Ok(()),
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        // Held until all is back; the folder is not empty before they are gone.
        let locks = std::mem::take(&mut self.locks);
        let own = |opened: &File| is_at(opened, &self.folder).unwrap_or(false);
        if !self.opened.as_ref().is_none_or(own) {
            // It was removed: what is there now is somebody else's.
            return;
        }
        for folder in std::mem::take(&mut *self.replaced()) {
            if let Err(error) = aside::put_back(&folder) {
                tracing::warn!("the run before is not back in its place yet: {error}");
            }
        }
        drop(locks);
        for folder in &self.made {
            // If it is not empty, it is needed.
            let _ = fs::remove_dir(folder);
        }
    }
}

/// Ends what was left half done in the folder of a run, unless somebody is at it.
///
/// # Errors
///
/// [`TrainError::Read`] or [`TrainError::Write`].
pub(super) fn settle(folder: &Path) -> Result<(), TrainError> {
    if !aside::is_aside(folder) {
        return Ok(());
    }
    match Lock::attempt(folder, Share::Alone)? {
        Attempt::Held(_lock) => aside::settle(folder),
        Attempt::Taken { .. } | Attempt::NoLocks(_) => Ok(()),
    }
}

/// The name of a node's folder in that of its run; nodes are counted from 1.
pub(super) fn node_name(number: u64) -> String {
    format!("node-{number}")
}

/// Makes a folder, and says which had to be made, innermost first.
fn make(folder: &Path) -> Result<Vec<PathBuf>, TrainError> {
    let above = folder
        .ancestors()
        .filter(|path| !path.as_os_str().is_empty());
    let missing = above.take_while(|path| !path.exists());
    let missing: Vec<PathBuf> = missing.map(Path::to_owned).collect();
    if folder.is_file() {
        return Err(TrainError::NotARun {
            path: folder.to_owned(),
            why: String::from("is a file; choose another run.name, or move it away"),
        });
    }
    fs::create_dir_all(folder).map_err(TrainError::write(folder))?;
    Ok(missing)
}

/// Where an old run of the name lies besides the folder that a new one takes, for this node of it to
/// replace.
fn others(run: &Path, member: Option<Member>) -> Vec<PathBuf> {
    let entries = fs::read_dir(run).into_iter().flatten().flatten();
    let numbers = entries.filter_map(|entry| {
        let name = entry.file_name().into_string().ok()?;
        let number: u64 = name.strip_prefix("node-")?.parse().ok()?;
        (node_name(number) == name).then_some(number)
    });
    let own = |number: &u64| match member {
        None => true,
        Some(Member { node, nodes }) => {
            let (node, nodes) = (u64::from(node), u64::from(nodes));
            *number > nodes && (number - 1) % nodes == node
        }
    };
    let nodes = numbers
        .filter(own)
        .map(|number| run.join(node_name(number)));
    let alone = match member {
        Some(Member { node: 0, .. }) => Some(run.to_owned()),
        _ => None,
    };
    let old = |folder: &PathBuf| aside::is_run(folder) || aside::is_aside(folder);
    let mut others: Vec<PathBuf> = nodes.chain(alone).filter(old).collect();
    others.sort_unstable();
    others
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(run: &Path, member: Option<Member>) -> Vec<String> {
        let inside = |path: PathBuf| path.strip_prefix(run).unwrap().display().to_string();
        others(run, member).into_iter().map(inside).collect()
    }

    /// Every folder that no node takes is some node's to replace, and just one's.
    #[test]
    fn what_an_old_run_left_is_shared_out() {
        let folder = tempfile::tempdir().unwrap();
        let run = folder.path();
        let sign = r#"{ "version": "", "burn": "", "layout": "" }"#;
        let mut old: Vec<String> = (1..=7).map(node_name).collect();
        old.push(String::new());
        for name in &old {
            fs::create_dir_all(run.join(name)).unwrap();
            fs::write(run.join(name).join("run.json"), sign).unwrap();
        }
        // Not of a run.
        fs::create_dir(run.join("node-9")).unwrap();
        fs::create_dir(run.join("node-04")).unwrap();
        assert_eq!(numbers(run, None), old[..7]);
        let of = |node, nodes| numbers(run, Some(Member { node, nodes }));
        assert_eq!(of(0, 3), ["", "node-4", "node-7"]);
        assert_eq!(of(1, 3), ["node-5"]);
        assert_eq!(of(2, 3), ["node-6"]);
        assert_eq!(of(0, 8), [""]);
    }

    /// A node was killed after it had set the run before aside, and comes back.
    #[test]
    fn a_node_that_comes_back_still_replaces_the_run_before() {
        let sign =
            |layout: &str| format!(r#"{{ "version": "", "burn": "", "layout": "{layout}" }}"#);
        for (had_checkpoint, has_one_now, left) in [
            (false, false, "old"),
            (false, true, "new"),
            (true, false, "new"),
        ] {
            let runs = tempfile::tempdir().unwrap();
            let config = RunConfig {
                folder: runs.path().to_owned(),
                name: String::from("run"),
                overwrite: true,
                ..RunConfig::default()
            };
            let place = runs.path().join("run/node-1");
            fs::create_dir_all(place.join(".replaced")).unwrap();
            fs::write(place.join(".replaced/run.json"), sign("old")).unwrap();
            fs::write(place.join("run.json"), sign("new")).unwrap();
            if had_checkpoint {
                fs::create_dir_all(place.join("checkpoints/step-4")).unwrap();
            }
            let claim = Claim::new(&config, Some(Member { node: 0, nodes: 2 })).unwrap();
            assert!(claim.comes_back());
            let run = claim.go_on("").unwrap();
            // It was killed before that was written.
            assert!(place.join("config.toml").is_file());
            if has_one_now {
                run.keep();
            }
            drop(run);
            let found = fs::read_to_string(place.join("run.json")).unwrap();
            assert_eq!(found, sign(left));
            assert!(!place.join(".replaced").exists());
        }
    }
}

//! Claims the folder of a run before anything is prepared for it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::aside;
use super::files::is_at;
use super::folder_error::FolderError;
use super::lock::{Attempt, Lock, Share};
use crate::config::RunConfig;
use crate::error::RunError;

/// A node's number among all nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NodeNumber {
    /// The node, from 0.
    pub node: u32,
    /// Number of nodes.
    pub nodes: u32,
}

/// The folder of a run, `folder/name` or, with several nodes, `folder/name/node-J`, which no other
/// process writes to while this is held.
///
/// A run replaces the old one of its name and leaves the user's files alone: the old run in its own
/// folder, and those parts of it that no other node of the new run replaces. For a run of one node,
/// these are the nodes of an old one; for a run of several, shared among its nodes, the nodes with
/// higher numbers and the run of one node. The old run is removed when the new one has its first
/// checkpoint or its summary. If this is dropped before, or the process is killed and another
/// follows, the old run is restored.
#[derive(Debug)]
pub struct Claim {
    folder: PathBuf,
    /// Other folders of an old run with this name that this run replaces.
    others: Vec<PathBuf>,
    overwrite: bool,
    /// Whether a run in its own folder is to continue, or to begin anew if it came to nothing.
    resumes: bool,
    /// Whether the existing run is left unchanged for now: the node may rejoin it.
    comes_back: bool,
    /// The open folder, which prevents another from taking its place.
    opened: Option<File>,
    locks: Vec<Lock>,
    /// Folders created for it, innermost first.
    made: Vec<PathBuf>,
    /// Folders in which an old run was moved aside.
    replaced: Mutex<Vec<PathBuf>>,
}

impl Claim {
    /// Claims the folder of the run that `config` names, for `node_number` if there are several
    /// nodes. An existing run continues if `resumes`; it is replaced only if `config` says so, or if
    /// it is to continue and came to nothing: it has neither a checkpoint nor an end. One of several nodes that was killed or
    /// stopped can rejoin its own.
    ///
    /// # Errors
    ///
    /// [`FolderError::RunExists`], [`FolderError::NotARun`], [`FolderError::InUse`], or
    /// [`RunError::Write`] if the folder cannot be made.
    pub fn new(
        config: &RunConfig,
        node_number: Option<NodeNumber>,
        resumes: bool,
    ) -> Result<Self, RunError> {
        let run = config.path();
        let folder = match node_number {
            // Nodes are numbered from 1 for users.
            Some(node_number) => run.join(node_name(u64::from(node_number.node) + 1)),
            None => run.clone(),
        };
        let made = make(&folder)?;
        let mut claim = Self {
            opened: File::open(&folder).ok(),
            others: others(&run, node_number),
            overwrite: config.overwrite,
            resumes,
            comes_back: false,
            locks: Vec::new(),
            replaced: Mutex::default(),
            made,
            folder,
        };
        claim.lock(&run, node_number)?;
        for folder in claim.all() {
            aside::finish_moving(folder)?;
        }
        claim.comes_back = match resumes {
            true => aside::is_run(&claim.folder),
            false => node_number.is_some() && aside::is_unfinished(&claim.folder, true),
        };
        if !claim.comes_back {
            claim.make_room()?;
        }
        Ok(claim)
    }

    /// Whether there is a run to continue, or this node has one that it may rejoin: it was killed
    /// or stopped.
    pub fn comes_back(&self) -> bool {
        self.comes_back
    }

    /// The folders of the other nodes of a run of `nodes`.
    pub fn others_of(&self, nodes: u32) -> Vec<PathBuf> {
        let all =
            (1..=u64::from(nodes)).map(|number| self.folder.with_file_name(node_name(number)));
        match nodes {
            0 | 1 => Vec::new(),
            _ => all.filter(|folder| *folder != self.folder).collect(),
        }
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Sets aside the runs that the new one replaces.
    ///
    /// # Errors
    ///
    /// [`FolderError::RunExists`], [`FolderError::NotARun`], or [`RunError::Write`]; the old run is then
    /// unchanged.
    pub(super) fn set_aside(&self) -> Result<(), RunError> {
        self.make_room()?;
        for folder in self.all().filter(|folder| aside::is_run(folder)) {
            self.replaced().push(folder.to_owned());
            aside::set_aside(folder)?;
        }
        Ok(())
    }

    /// Continues the run of an earlier incarnation: what that had set aside is still to be removed.
    ///
    /// # Errors
    ///
    /// [`RunError`] if its files cannot be read.
    pub(super) fn take_up(&self) -> Result<(), RunError> {
        let aside = self.all().filter(|folder| aside::is_aside(folder));
        *self.replaced() = aside.map(Path::to_owned).collect();
        if aside::came_to_something(&self.folder)? {
            self.keep();
        }
        Ok(())
    }

    /// Checks that the folder is still in place and writable.
    ///
    /// # Errors
    ///
    /// [`FolderError::Gone`] or [`RunError::Write`].
    pub(super) fn check(&self) -> Result<(), RunError> {
        let path = &self.folder;
        if let Some(opened) = &self.opened
            && !is_at(opened, path).map_err(RunError::write(path))?
        {
            return Err(FolderError::Gone { path: path.clone() }.into());
        }
        #[cfg(unix)]
        rustix::fs::access(path, rustix::fs::Access::WRITE_OK)
            .map_err(|why| RunError::write(path)(why.into()))?;
        Ok(())
    }

    /// The run has produced something: removes the old one.
    pub(super) fn keep(&self) {
        for folder in self.replaced().drain(..) {
            // What cannot be removed now is removed by the next run of this name.
            let _ = aside::discard(&folder);
        }
    }

    /// Its own folder, and those whose run it replaces.
    fn all(&self) -> impl Iterator<Item = &Path> {
        let others = self.others.iter().map(PathBuf::as_path);
        std::iter::once(self.folder.as_path()).chain(others)
    }

    fn replaced(&self) -> std::sync::MutexGuard<'_, Vec<PathBuf>> {
        self.replaced.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A run of one node excludes all others with its name. Nodes of several share the run's
    /// folder, and each excludes others with its number.
    fn lock(&mut self, run: &Path, node_number: Option<NodeNumber>) -> Result<(), RunError> {
        let alone = |folder: &PathBuf| (folder.clone(), Share::Alone);
        let mut wanted = match node_number {
            None => vec![alone(&self.folder)],
            Some(_) => vec![(run.to_owned(), Share::WithOthers), alone(&self.folder)],
        };
        wanted.extend(self.others.iter().filter(|other| *other != run).map(alone));
        for (folder, share) in wanted {
            match Lock::attempt(&folder, share)? {
                Attempt::Held(lock) => self.locks.push(lock),
                Attempt::Taken { holder } => {
                    return Err(FolderError::InUse {
                        path: folder,
                        holder,
                    }
                    .into());
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

    /// Completes interrupted moves, and checks that a run can be here.
    fn make_room(&self) -> Result<(), RunError> {
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
            return Err(FolderError::NotARun { path, why }.into());
        }
        if self.overwrite {
            return Ok(());
        }
        for folder in self.all().filter(|folder| aside::is_run(folder)) {
            let begins_anew = self.resumes && folder == self.folder;
            if !begins_anew || aside::came_to_something(folder)? {
                return Err(FolderError::RunExists {
                    path: folder.to_owned(),
                }
                .into());
            }
        }
        Ok(())
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        // Held until everything is back; the folder is not empty before they are gone.
        let locks = std::mem::take(&mut self.locks);
        let own = |opened: &File| is_at(opened, &self.folder).unwrap_or(false);
        if !self.opened.as_ref().is_none_or(own) {
            // It was removed: what is there now belongs to someone else.
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

/// Completes interrupted moves in the folder of a run, unless another process works there.
///
/// # Errors
///
/// [`RunError::Read`] or [`RunError::Write`].
pub(super) fn settle(folder: &Path) -> Result<(), RunError> {
    if !aside::is_aside(folder) {
        return Ok(());
    }
    match Lock::attempt(folder, Share::Alone)? {
        Attempt::Held(_lock) => aside::settle(folder),
        Attempt::Taken { .. } | Attempt::NoLocks(_) => Ok(()),
    }
}

/// The name of a node's folder in that of its run; nodes are numbered from 1.
pub(super) fn node_name(number: u64) -> String {
    format!("node-{number}")
}

/// Creates a folder, and returns those that had to be created, innermost first.
fn make(folder: &Path) -> Result<Vec<PathBuf>, RunError> {
    let above = folder
        .ancestors()
        .filter(|path| !path.as_os_str().is_empty());
    let missing = above.take_while(|path| !path.exists());
    let missing: Vec<PathBuf> = missing.map(Path::to_owned).collect();
    if folder.is_file() {
        return Err(FolderError::NotARun {
            path: folder.to_owned(),
            why: String::from("is a file; choose another run.name, or move it away"),
        }
        .into());
    }
    fs::create_dir_all(folder).map_err(RunError::write(folder))?;
    Ok(missing)
}

/// Folders of an old run, besides the new run's own, that this node replaces.
fn others(run: &Path, node_number: Option<NodeNumber>) -> Vec<PathBuf> {
    let entries = fs::read_dir(run).into_iter().flatten().flatten();
    let numbers = entries.filter_map(|entry| {
        let name = entry.file_name().into_string().ok()?;
        let number: u64 = name.strip_prefix("node-")?.parse().ok()?;
        (node_name(number) == name).then_some(number)
    });
    let own = |number: &u64| match node_number {
        None => true,
        Some(NodeNumber { node, nodes }) => {
            let (node, nodes) = (u64::from(node), u64::from(nodes));
            *number > nodes && (number - 1) % nodes == node
        }
    };
    let nodes = numbers
        .filter(own)
        .map(|number| run.join(node_name(number)));
    let alone = match node_number {
        Some(NodeNumber { node: 0, .. }) => Some(run.to_owned()),
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

    fn numbers(run: &Path, node_number: Option<NodeNumber>) -> Vec<String> {
        let inside = |path: PathBuf| path.strip_prefix(run).unwrap().display().to_string();
        others(run, node_number).into_iter().map(inside).collect()
    }

    /// Every folder that no node claims is replaced by exactly one node.
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
        // Not part of a run.
        fs::create_dir(run.join("node-9")).unwrap();
        fs::create_dir(run.join("node-04")).unwrap();
        assert_eq!(numbers(run, None), old[..7]);
        let of = |node, nodes| numbers(run, Some(NodeNumber { node, nodes }));
        assert_eq!(of(0, 3), ["", "node-4", "node-7"]);
        assert_eq!(of(1, 3), ["node-5"]);
        assert_eq!(of(2, 3), ["node-6"]);
        assert_eq!(of(0, 8), [""]);
    }

    /// A node was killed after it had moved the previous run aside, and restarts.
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
            let claim = Claim::new(&config, Some(NodeNumber { node: 0, nodes: 2 }), false).unwrap();
            assert!(claim.comes_back());
            claim.take_up().unwrap();
            if has_one_now {
                claim.keep();
            }
            drop(claim);
            let found = fs::read_to_string(place.join("run.json")).unwrap();
            assert_eq!(found, sign(left));
            assert!(!place.join(".replaced").exists());
        }
    }
}

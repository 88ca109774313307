//! Where commands keep what they know from one run to the next: the shell's history, how far loads came.

use std::env;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};

/// The path of a file of the user's state (XDG Base Directory Specification): `$XDG_STATE_HOME/basalt` or
/// `~/.local/state/basalt`. The folder is made.
pub(crate) fn state_file(name: &str) -> Result<PathBuf> {
    let home = || env::var_os("HOME").map(|home| PathBuf::from(home).join(".local/state"));
    let state = env::var_os("XDG_STATE_HOME").map(PathBuf::from).filter(|path| path.is_absolute()).or_else(home);
    let folder = state.context("neither XDG_STATE_HOME nor HOME is set")?.join("basalt");
    fs::create_dir_all(&folder).with_context(|| format!("the folder {} cannot be made", folder.display()))?;
    Ok(folder.join(name))
}

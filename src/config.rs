//! Reads the configuration, YAML under the environment, into valid settings for all parts.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

mod build;
mod environment;
mod keys;
mod problems;
mod reference;
mod settings;
mod tree;
mod values;

pub use environment::environment;
pub use problems::Problems;
pub use reference::reference;
pub use settings::{Cache, Provider, Settings};

/// Where a file is looked for when none is named. The last is where the Go service's image has it.
const PLACES: [&str; 3] = ["config.yml", "/etc/elastauth/config.yml", "/config.yml"];

/// A valid configuration and what is odd about it.
#[derive(Debug)]
pub struct Loaded {
    /// What the parts of the process are made with.
    pub settings: Settings,
    /// What an operator should know, although it is no error.
    pub warnings: Vec<String>,
    /// The file, if there was one.
    pub source: Option<PathBuf>,
    /// Every setting in force by key, secrets redacted.
    pub effective: Vec<(String, String)>,
}

/// Reads the file (`explicit`, else `ELASTAUTH_CONFIG`, else the first of the usual places, else none) under the
/// environment, and reports all problems at once.
pub fn load(explicit: Option<&Path>, env: &BTreeMap<String, String>) -> Result<Loaded, Problems> {
    let one = |problem: String| Problems(vec![problem]);
    let named = explicit.map(Path::to_owned).or_else(|| env.get("ELASTAUTH_CONFIG").map(PathBuf::from));
    let source = named.or_else(|| PLACES.iter().map(PathBuf::from).find(|path| path.is_file()));
    let text = match &source {
        Some(path) => std::fs::read_to_string(path).map_err(|e| one(format!("{}: {e}", path.display())))?,
        None => String::new(),
    };
    let tree = tree::parse(&text, env).map_err(one)?;
    let mut values = values::Values::new(&tree, env);
    let settings = build::settings(&mut values);
    values.unused_restrictions();
    if values.problems.is_empty() {
        let (warnings, effective) = (values.warnings, values.effective);
        Ok(Loaded { settings, warnings, source, effective })
    } else {
        Err(Problems(values.problems))
    }
}

#[cfg(test)]
mod tests;

//! Which file of the crate uses which, read from the source with `syn`: its `use` trees and the paths in its code.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use elastauth_support::files;
use syn::visit::{self, Visit};
use syn::{Attribute, ItemMod, ItemUse, UseTree, Visibility};

/// Names of modules from the root of the crate; `credentials/broker.rs` is `["credentials", "broker"]`, `lib.rs` is empty.
type Name = Vec<String>;

/// What one file uses, as paths from the root of the crate.
#[derive(Default)]
struct File {
    used: BTreeSet<Name>,
    /// Re-exports (`pub use`): what the last name of the path is found by in this file.
    exported: Vec<Name>,
}

/// Every file of the crate, without tests.
pub struct Files(BTreeMap<Name, File>);

impl Files {
    pub fn below(folder: &str) -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
        let named =
            |path: &PathBuf| Some((name_of(path.strip_prefix(&root).unwrap())?, fs::read_to_string(path).unwrap()));
        let sources: BTreeMap<Name, String> = files::with_extension(&root, "rs").iter().filter_map(named).collect();
        let names: BTreeSet<Name> = sources.keys().cloned().collect();
        let files = sources.into_iter().map(|(name, source)| {
            let mut paths = Paths { names: &names, name: &name, file: File::default() };
            paths.visit_file(&syn::parse_file(&source).unwrap_or_else(|error| panic!("{name:?}: {error}")));
            let file = paths.file;
            (name, file)
        });
        Self(files.collect())
    }

    /// Each circle, with the imports that close it.
    pub fn circles(&self) -> Vec<String> {
        let uses: BTreeMap<&Name, BTreeSet<&Name>> =
            self.0.iter().map(|(name, file)| (name, self.files_of(name, file))).collect();
        let mut circles = Vec::new();
        let mut told = BTreeSet::new();
        for start in uses.keys() {
            let circle: BTreeSet<&Name> =
                reached(start, &uses).into_iter().filter(|other| reached(other, &uses).contains(start)).collect();
            if circle.is_empty() || !told.insert(circle.clone()) {
                continue;
            }
            let lines = circle.iter().map(|file| {
                let within: Vec<String> = uses[file].intersection(&circle).map(|other| other.join("/")).collect();
                format!("{} uses {}", file.join("/"), within.join(", "))
            });
            circles.push(lines.collect::<Vec<_>>().join("\n"));
        }
        circles
    }

    /// The files in which stands what this one uses. Every module may use what the root declares.
    fn files_of(&self, name: &Name, file: &File) -> BTreeSet<&Name> {
        let found = file.used.iter().filter_map(|path| self.holder(path));
        found.filter(|other| *other != name && !other.is_empty()).collect()
    }

    /// The file that defines what the path names, also where another one re-exports it.
    fn holder(&self, path: &[String]) -> Option<&Name> {
        let (name, file) = (0..=path.len()).rev().find_map(|length| self.0.get_key_value(&path[..length]))?;
        let Some(item) = path.get(name.len()) else { return Some(name) };
        let exported = file.exported.iter().find(|exported| exported.last() == Some(item) && **exported != path);
        exported.map_or(Some(name), |exported| self.holder(exported))
    }
}

fn reached<'a>(start: &'a Name, uses: &BTreeMap<&'a Name, BTreeSet<&'a Name>>) -> BTreeSet<&'a Name> {
    let (mut found, mut open) = (BTreeSet::new(), vec![start]);
    while let Some(name) = open.pop() {
        open.extend(uses[name].iter().copied().filter(|other| found.insert(*other)));
    }
    found
}

/// The name of a file's module, from its path within the crate; none for tests and for the program, which is a crate of its own.
fn name_of(path: &Path) -> Option<Name> {
    let parts: Name = path.with_extension("").iter().map(|part| part.to_str().unwrap().to_owned()).collect();
    let tests = parts.iter().any(|part| ["tests", "testing"].contains(&&**part));
    match &*parts {
        [root] if root == "lib" => Some(Name::new()),
        [root] if root == "main" => None,
        _ => Some(parts).filter(|_| !tests),
    }
}

/// Collects the paths of one file.
struct Paths<'a> {
    names: &'a BTreeSet<Name>,
    name: &'a Name,
    file: File,
}

impl Paths<'_> {
    /// From the root of the crate; none for what stands in another crate, or in this file.
    fn absolute(&self, path: &[String]) -> Option<Name> {
        let (first, rest) = path.split_first()?;
        match &**first {
            "crate" => Some(rest.to_vec()),
            "self" => Some([self.name, rest].concat()),
            "super" => {
                let up = path.iter().take_while(|part| *part == "super").count();
                Some([&self.name[..self.name.len().checked_sub(up)?], &path[up..]].concat())
            }
            _ => {
                let child = [&**self.name, std::slice::from_ref(first)].concat();
                self.names.contains(&child).then(|| [child, rest.to_vec()].concat())
            }
        }
    }

    fn uses(&mut self, path: &[String], exports: bool) {
        let Some(path) = self.absolute(path) else { return };
        // a parent that shows what its child has is above it all the same, but needs nothing of it
        if exports {
            self.file.exported.push(path.clone());
        }
        if !(exports && path.starts_with(self.name)) {
            self.file.used.insert(path);
        }
    }

    fn tree(&mut self, tree: &UseTree, path: &mut Name, exports: bool) {
        match tree {
            UseTree::Path(part) => {
                path.push(part.ident.to_string());
                self.tree(&part.tree, path, exports);
                path.pop();
            }
            UseTree::Name(name) if name.ident == "self" => self.uses(path, exports),
            UseTree::Name(name) => self.uses(&[&**path, &[name.ident.to_string()]].concat(), exports),
            UseTree::Rename(name) => self.uses(&[&**path, &[name.ident.to_string()]].concat(), exports),
            UseTree::Glob(_) => self.uses(path, exports),
            UseTree::Group(group) => group.items.iter().for_each(|tree| self.tree(tree, path, exports)),
        }
    }
}

impl<'ast> Visit<'ast> for Paths<'_> {
    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        if !is_test(&item.attrs) {
            self.tree(&item.tree, &mut Vec::new(), !matches!(item.vis, Visibility::Inherited));
        }
    }

    fn visit_item_mod(&mut self, item: &'ast ItemMod) {
        if !is_test(&item.attrs) {
            visit::visit_item_mod(self, item);
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let names: Name = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        if names.len() > 1 {
            self.uses(&names, false);
        }
        visit::visit_path(self, path);
    }
}

fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg") && attribute.parse_args::<syn::Path>().is_ok_and(|path| path.is_ident("test"))
    })
}

#[test]
fn a_circle_is_found_through_parents_and_re_exports() {
    let folder = tempfile::tempdir().unwrap();
    let source = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    let circles = || Files::below(folder.path().to_str().unwrap()).circles();
    source("lib.rs", "mod a; mod b;");
    source("a.rs", "pub mod low; pub use low::Low; use crate::b::B; pub struct A;");
    source("a/low.rs", "pub struct Low;");
    source("b.rs", "use crate::a::Low; pub struct B;");
    assert_eq!(circles(), Vec::<String>::new(), "Low stands in a file of its own, below both");
    source("b.rs", "use crate::a::Low; fn f() { crate::a::A; }");
    assert_eq!(circles(), ["a uses b\nb uses a"]);
    source("a.rs", "pub mod low; pub struct A; fn f() { low::g(); }");
    source("a/low.rs", "use super::A; #[cfg(test)] mod tests { use crate::b::B; }");
    source("b.rs", "pub struct B;");
    assert_eq!(circles(), ["a uses a/low\na/low uses a"]);
}

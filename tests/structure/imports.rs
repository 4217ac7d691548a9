//! Which file of a crate imports what from which other one, read from the code itself.
//!
//! A path leads to the file that defines its item: names that a module only hands on (`pub use`) are followed, and handing
//! on is no import. What stands under `#[cfg(test)]` does not count.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use syn::visit::Visit;
use syn::{Item, UseTree};

/// One arrow between two files.
pub(crate) struct Import {
    pub(crate) from: String,
    pub(crate) to: String,
    /// The path as it resolves.
    name: String,
}

impl Import {
    pub(crate) fn importing_room(&self) -> &str {
        room(&self.from)
    }

    pub(crate) fn imported_room(&self) -> &str {
        room(&self.to)
    }

    /// The imported file's name, without its ending.
    pub(crate) fn imported_stem(&self) -> &str {
        Path::new(&self.to).file_stem().unwrap().to_str().unwrap()
    }
}

impl fmt::Display for Import {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} imports {} of {}", self.from, self.name, self.to)
    }
}

/// The first part of a file's path: a directory, or the file itself.
fn room(file: &str) -> &str {
    let first = file.split('/').next().unwrap();
    first.strip_suffix(".rs").unwrap_or(first)
}

/// A module that has a file.
struct Module {
    file: String,
    lines: usize,
    /// Paths that the code names, from the crate's root on.
    paths: Vec<Vec<String>>,
    /// Names that are handed on, and where they come from.
    handed_on: BTreeMap<String, Vec<String>>,
}

/// A crate's modules by their paths.
pub(crate) struct House {
    modules: BTreeMap<Vec<String>, Module>,
    imports: Vec<Import>,
}

impl House {
    /// Reads all modules below the crate's root directory.
    pub(crate) fn read(directory: &Path) -> Self {
        let mut modules = BTreeMap::new();
        for root in ["lib.rs", "main.rs"].map(|name| directory.join(name)) {
            if root.exists() {
                let path = if root.ends_with("main.rs") { vec!["main".to_owned()] } else { Vec::new() };
                read_module(directory, &root, &path, &mut modules);
            }
        }
        let mut house = Self { modules, imports: Vec::new() };
        house.imports = house.resolve();
        house
    }

    pub(crate) fn imports(&self) -> impl Iterator<Item = &Import> {
        self.imports.iter()
    }

    /// Files and their lines.
    pub(crate) fn lengths(&self) -> impl Iterator<Item = (&str, usize)> {
        self.modules.values().map(|module| (module.file.as_str(), module.lines))
    }

    fn resolve(&self) -> Vec<Import> {
        let mut imports = Vec::new();
        for (path, module) in &self.modules {
            for named in &module.paths {
                let Some(to) = self.file_of(named, 0).filter(|to| *to != module.file) else { continue };
                // the root hands on, and defines nothing
                if !path.is_empty() {
                    let name = named.join("::");
                    imports.push(Import { from: module.file.clone(), to: to.to_owned(), name });
                }
            }
        }
        imports
    }

    /// The file that defines what a path leads to.
    fn file_of(&self, path: &[String], depth: usize) -> Option<&str> {
        let known = (0..=path.len()).rev().find(|length| self.modules.contains_key(&path[..*length]))?;
        let module = &self.modules[&path[..known]];
        let handed_on = path.get(known).and_then(|name| module.handed_on.get(name));
        match handed_on {
            Some(origin) if depth < 8 => {
                let rest: Vec<String> = origin.iter().chain(&path[known + 1..]).cloned().collect();
                self.file_of(&rest, depth + 1)
            }
            _ if known == 0 => None,
            _ => Some(&module.file),
        }
    }
}

fn read_module(directory: &Path, file: &Path, path: &[String], modules: &mut BTreeMap<Vec<String>, Module>) {
    let text = fs::read_to_string(file).unwrap();
    let syntax = syn::parse_file(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let mut reader =
        Reader { here: path.to_vec(), paths: Vec::new(), handed_on: BTreeMap::new(), children: Vec::new() };
    for item in &syntax.items {
        if let Item::Mod(module) = item
            && module.content.is_none()
            && !is_for_tests(&module.attrs)
        {
            reader.children.push(module.ident.to_string());
        }
    }
    reader.visit_file(&syntax);
    let relative = file.strip_prefix(directory).unwrap().to_str().unwrap().to_owned();
    let children = std::mem::take(&mut reader.children);
    let lines = text.lines().count();
    let module = Module { file: relative, lines, paths: reader.paths, handed_on: reader.handed_on };
    modules.insert(path.to_vec(), module);
    let beside: PathBuf = match file.file_name().unwrap().to_str().unwrap() {
        "lib.rs" | "main.rs" | "mod.rs" => file.parent().unwrap().to_owned(),
        _ => file.with_extension(""),
    };
    for child in children {
        let path = [path, std::slice::from_ref(&child)].concat();
        let candidates = [beside.join(format!("{child}.rs")), beside.join(&child).join("mod.rs")];
        if let Some(file) = candidates.iter().find(|file| file.exists()) {
            read_module(directory, file, &path, modules);
        }
    }
}

fn is_for_tests(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute.meta.require_list().is_ok_and(|list| list.tokens.to_string() == "test")
    })
}

struct Reader {
    here: Vec<String>,
    paths: Vec<Vec<String>>,
    handed_on: BTreeMap<String, Vec<String>>,
    children: Vec<String>,
}

impl Reader {
    /// From the crate's root on; `None`: another crate's, or something local.
    fn absolute(&self, path: &[String]) -> Option<Vec<String>> {
        let mut here = self.here.clone();
        match path.first()?.as_str() {
            "crate" => Some(path[1..].to_vec()),
            "self" => Some(here.into_iter().chain(path[1..].iter().cloned()).collect()),
            "super" => {
                let ups = path.iter().take_while(|part| *part == "super").count();
                here.truncate(here.len().checked_sub(ups)?);
                Some(here.into_iter().chain(path[ups..].iter().cloned()).collect())
            }
            first if self.children.iter().any(|child| child == first) => {
                Some(here.into_iter().chain(path.iter().cloned()).collect())
            }
            _ => None,
        }
    }
}

/// The names that a use tree brings in, with their paths.
fn leaves(tree: &UseTree, before: &[String], out: &mut Vec<(Vec<String>, String)>) {
    match tree {
        UseTree::Path(path) => {
            let before: Vec<String> = before.iter().cloned().chain([path.ident.to_string()]).collect();
            leaves(&path.tree, &before, out);
        }
        UseTree::Group(group) => group.items.iter().for_each(|tree| leaves(tree, before, out)),
        UseTree::Name(name) if name.ident == "self" => {
            out.push((before.to_vec(), before.last().cloned().unwrap_or_default()));
        }
        UseTree::Name(name) => {
            let path = before.iter().cloned().chain([name.ident.to_string()]).collect();
            out.push((path, name.ident.to_string()));
        }
        UseTree::Rename(rename) => {
            let path = before.iter().cloned().chain([rename.ident.to_string()]).collect();
            out.push((path, rename.rename.to_string()));
        }
        UseTree::Glob(_) => out.push((before.to_vec(), "*".to_owned())),
    }
}

impl<'ast> Visit<'ast> for Reader {
    fn visit_item_mod(&mut self, module: &'ast syn::ItemMod) {
        if is_for_tests(&module.attrs) || module.content.is_none() {
            return;
        }
        self.here.push(module.ident.to_string());
        syn::visit::visit_item_mod(self, module);
        self.here.pop();
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        let mut found = Vec::new();
        leaves(&item.tree, &[], &mut found);
        let is_handed_on = !matches!(item.vis, syn::Visibility::Inherited);
        for (path, name) in found {
            let Some(path) = self.absolute(&path) else { continue };
            if is_handed_on {
                self.handed_on.insert(name, path);
            } else {
                self.paths.push(path);
            }
        }
    }

    /// Who may see something is no import.
    fn visit_visibility(&mut self, _: &'ast syn::Visibility) {}

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let parts: Vec<String> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        if parts.len() > 1
            && let Some(path) = self.absolute(&parts)
        {
            self.paths.push(path);
        }
        syn::visit::visit_path(self, path);
    }
}

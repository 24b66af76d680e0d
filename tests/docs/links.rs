//! Links of pages. A page of the book links to pages and pictures of the book only: mdBook copies nothing from outside of
//! `docs/`, and the repository has no public address to link to. Such files are named as code.

use std::path::{Component, Path, PathBuf};

use elastauth_support::servers::root;
use pulldown_cmark::{BrokenLink, CowStr, Event, LinkType, Parser, Tag};

use crate::pages::Page;
use crate::slug::anchors;

/// The list of pages, which may name a README.
const SUMMARY: &str = "docs/SUMMARY.md";

/// One link or picture of a page.
pub struct Link {
    from: String,
    to: String,
    /// The page refers to a definition that it does not have.
    undefined: bool,
}

impl Link {
    /// Every link and every picture.
    pub fn all(page: &Page) -> Vec<Self> {
        let undefined = |broken: BrokenLink<'_>| match broken.link_type {
            LinkType::Reference | LinkType::Collapsed => Some((CowStr::from("undefined:"), CowStr::from(""))),
            _ => None,
        };
        let events =
            Parser::new_with_broken_link_callback(&page.text, pulldown_cmark::Options::ENABLE_TABLES, Some(undefined));
        events
            .filter_map(|event| match event {
                Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => Some(dest_url.into_string()),
                _ => None,
            })
            .map(|to| Self { from: page.path.clone(), undefined: to == "undefined:", to })
            .collect()
    }

    /// What is wrong with it.
    pub fn problem(&self, pages: &[Page]) -> Option<String> {
        if self.undefined {
            return Some("a link without a definition".into());
        }
        if ["https://", "http://", "mailto:"].iter().any(|scheme| self.to.starts_with(scheme)) {
            return None;
        }
        let (path, fragment) = self.to.split_once('#').map_or((self.to.as_str(), None), |(path, at)| (path, Some(at)));
        let target = if path.is_empty() { self.from.clone() } else { self.resolve(path)? };
        let file = root().join(&target);
        if !file.exists() {
            return Some(format!("{} does not exist", self.to));
        }
        let book = |path: &str| path.starts_with("docs/");
        if book(&self.from) && !book(&target) {
            return Some(format!("{} is outside of the book: name the file as code", self.to));
        }
        if book(&self.from) && file.is_dir() {
            return Some(format!("{} is a folder, which is no page of the book", self.to));
        }
        if book(&self.from) && self.from != SUMMARY && target.ends_with("/README.md") {
            return Some(format!("{} is `index.html` in the book, and mdBook leaves links to it as they are", self.to));
        }
        let fragment = fragment?;
        match pages.iter().find(|page| page.path == target) {
            Some(page) if anchors(page).contains(fragment) => None,
            _ => Some(format!("{} names no heading", self.to)),
        }
    }

    /// The target relative to the root of the repository.
    fn resolve(&self, path: &str) -> Option<String> {
        let folder = Path::new(&self.from).parent()?;
        let mut found = PathBuf::new();
        for part in folder.join(path).components() {
            match part {
                Component::ParentDir => drop(found.pop()),
                Component::CurDir => {}
                other => found.push(other),
            }
        }
        found.to_str().map(str::to_owned)
    }
}

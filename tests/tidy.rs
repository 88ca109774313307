//! Tidiness as a test that fails: direction of imports, names, file headers, file sizes.

use std::fs;
use std::path::{Path, PathBuf};

/// A file of more lines of code than this is split by responsibility.
const LINES_MAX: usize = 500;

const ROLES: [&str; 3] = ["tailer", "leaf", "aggregator"];

/// Words that say nothing about what a thing is.
const FORBIDDEN: [&str; 9] = ["util", "utils", "helper", "helpers", "misc", "manager", "trait", "traits", "enhanced"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All Rust files of the workspace.
fn sources() -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders: Vec<PathBuf> = ["common", "tailer", "leaf", "aggregator", "src", "tests", "benches"]
        .iter()
        .map(|folder| root().join(folder))
        .filter(|folder| folder.is_dir())
        .collect();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder of the workspace can be read") {
            let path = entry.expect("an entry can be read").path();
            match path.extension() {
                _ if path.is_dir() => folders.push(path),
                Some(extension) if extension == "rs" => files.push(path),
                _ => {}
            }
        }
    }
    assert!(files.len() > 10, "found only {} files: the walk is broken", files.len());
    files
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn shown(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).display().to_string()
}

fn assert_none(offences: &[String], rule: &str) {
    assert!(offences.is_empty(), "{rule}:\n  {}", offences.join("\n  "));
}

#[test]
fn every_file_says_what_it_is() {
    let mute = sources().into_iter().filter(|file| !text(file).starts_with("//! "));
    assert_none(&mute.map(|file| shown(&file)).collect::<Vec<_>>(), "files that do not open with `//!`");
}

#[test]
fn files_fit_in_a_head() {
    let code = |file: &Path| {
        text(file).lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("//")).count()
    };
    let long = sources().into_iter().filter(|file| code(file) > LINES_MAX);
    let named = long.map(|file| format!("{} ({})", shown(&file), code(&file))).collect::<Vec<_>>();
    assert_none(&named, "files of more than 500 lines of code");
}

#[test]
fn roles_know_common_only() {
    let mut offences = Vec::new();
    let mut check = |folder: &str, forbidden: &[String]| {
        let manifest = text(&root().join(folder).join("Cargo.toml"));
        let lines = manifest.lines().filter(|line| !line.starts_with("name"));
        for line in lines {
            let named = forbidden.iter().find(|other| line.contains(other.as_str()));
            offences.extend(named.map(|other| format!("{folder} names {other}: {line}")));
        }
    };
    let crates: Vec<String> = ROLES.iter().chain(&["harness"]).map(|role| format!("basalt-{role}")).collect();
    check("common", &crates);
    for role in ROLES {
        let others: Vec<String> = crates.iter().filter(|other| !other.ends_with(role)).cloned().collect();
        check(role, &others);
    }
    assert_none(&offences, "dependencies against the direction");
}

/// The modules of a crate, in the order in which its `lib.rs` lists them: the order of the data.
fn stages(library: &Path) -> Vec<String> {
    let name = |line: &str| {
        let module = line.trim().trim_start_matches("pub ").strip_prefix("mod ")?;
        Some(module.strip_suffix(';')?.to_string())
    };
    text(library).lines().filter_map(name).collect()
}

#[test]
fn stages_name_no_later_stage() {
    let mut offences = Vec::new();
    for folder in ["common", "tailer", "leaf", "aggregator"] {
        let source = root().join(folder).join("src");
        let stages = stages(&source.join("lib.rs"));
        assert!(!stages.is_empty(), "{folder} has no modules: the parser is broken");
        for file in sources().into_iter().filter(|file| file.starts_with(&source)) {
            let within = file.strip_prefix(&source).expect("the file is in the folder");
            let own = within.iter().next().expect("a file has a name").to_string_lossy().replace(".rs", "");
            let Some(position) = stages.iter().position(|stage| *stage == own) else { continue };
            if own == "pipeline" || own == "query" {
                continue;
            }
            let code = text(&file);
            let later = stages[position + 1..].iter().filter(|stage| code.lines().any(|line| names_stage(line, stage)));
            offences.extend(later.map(|stage| format!("{} names the later stage `{stage}`", shown(&file))));
        }
    }
    assert_none(&offences, "imports against the order of the data");
}

/// Whether a line of code or documentation names a stage of its own crate, alone or in a list of imports.
fn names_stage(line: &str, stage: &str) -> bool {
    let is_word = |letter: char| letter.is_alphanumeric() || letter == '_';
    let listed = line.split("crate::{").nth(1).unwrap_or_default();
    let mut words = listed.split(|letter: char| !is_word(letter));
    let named = line.match_indices("crate::").any(|(at, found)| {
        let rest = &line[at + found.len()..];
        rest.strip_prefix(stage).is_some_and(|behind| !behind.starts_with(is_word))
    });
    named || words.any(|word| word == stage)
}

fn forbidden(name: &str) -> bool {
    let name = name.to_lowercase();
    name.split('_').any(|word| FORBIDDEN.contains(&word)) || name.ends_with("_v2") || name.starts_with("new_")
}

/// `CamelCase` as `snake_case`, so that both are checked word by word.
fn snake(name: &str) -> String {
    let mut out = String::new();
    for letter in name.chars() {
        if letter.is_uppercase() && !out.is_empty() {
            out.push('_');
        }
        out.extend(letter.to_lowercase());
    }
    out
}

#[test]
fn names_say_something() {
    let mut offences = Vec::new();
    for file in sources() {
        let stem = file.file_stem().expect("a file has a name").to_string_lossy().into_owned();
        if forbidden(&stem) {
            offences.push(shown(&file));
        }
        for line in text(&file).lines() {
            let words: Vec<&str> = line.split(|letter: char| !letter.is_alphanumeric() && letter != '_').collect();
            let defined = words.windows(2).filter(|pair| {
                ["struct", "enum", "trait", "fn", "mod", "type"].contains(&pair[0]) && forbidden(&snake(pair[1]))
            });
            if !line.trim_start().starts_with("//") {
                offences.extend(defined.map(|pair| format!("{}: {} {}", shown(&file), pair[0], pair[1])));
            }
        }
    }
    assert_none(&offences, "names that say nothing");
}

#[test]
fn the_checks_can_fail() {
    assert!(forbidden("string_utils") && forbidden("log_v2") && forbidden(&snake("SegmentManager")));
    assert!(!forbidden("segment") && !forbidden(&snake("MergeOperation")));
    assert!(names_stage("use crate::serve::X;", "serve") && names_stage("use crate::{keys::K, serve::X};", "serve"));
    assert!(!names_stage("use crate::keys::served;", "serve") && !names_stage("use crate::served::S;", "serve"));
    assert!(stages(&root().join("leaf/src/lib.rs")).contains(&"serve".to_string()));
}

//! The recipes of `conf/recipes`: each a config of one idea that compiles without a word, policies with tests, and a page.

use std::path::{Path, PathBuf};

use super::{load, report};

fn recipes() -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> =
        std::fs::read_dir("conf/recipes").unwrap().map(|entry| entry.unwrap().path()).collect();
    folders.sort();
    assert!(folders.len() >= 8, "{folders:?}");
    folders
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|problem| panic!("{}: {problem}", path.display()))
}

#[test]
fn recipes_compile_without_a_word() {
    for folder in recipes() {
        let loaded = load(&folder.join("crossgate.yaml"), &|_| None);
        assert_eq!(report(&loaded), "", "{}", folder.display());
        assert!(loaded.compiled.is_some_and(|compiled| compiled.snapshot.routes.len() >= 3), "{}", folder.display());
    }
}

/// Whoever copies one has an editor that knows the language, and finds nothing that he has to guess.
#[test]
fn a_recipe_is_short_and_whole() {
    let index = read(Path::new("docs/recipes.md"));
    for folder in recipes() {
        let name = folder.file_name().unwrap().to_str().unwrap();
        assert!(
            index.contains(&format!("[{name}](../conf/recipes/{name}/README.md)")),
            "{name} is not in docs/recipes.md"
        );
        let config = read(&folder.join("crossgate.yaml"));
        let lines = config.lines().count();
        assert!((20..=40).contains(&lines), "{name}: {lines} lines");
        for (file, up) in
            [("crossgate.yaml", "../../../schema/config"), ("policies/app.yaml", "../../../../schema/policy")]
        {
            let text = read(&folder.join(file));
            let first = format!("# yaml-language-server: $schema={up}.schema.json");
            assert_eq!(text.lines().next(), Some(&*first), "{name}/{file}");
        }
        let tests: serde_yaml::Value = serde_yaml::from_str(&read(&folder.join("policies/app_test.yaml"))).unwrap();
        let tests = tests["tests"].as_sequence().unwrap();
        let denies = tests.iter().filter(|test| test["expect"].get("deny").is_some()).count();
        assert!(tests.len() >= 4 && denies >= 1, "{name}: {} tests, {denies} of them of a denial", tests.len());
        let page = read(&folder.join("README.md"));
        assert!(page.contains("One idea: "), "{name}");
        for link in page.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            assert!(folder.join(link.split('#').next().unwrap()).exists(), "{name}: {link}");
        }
    }
}

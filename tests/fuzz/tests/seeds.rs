//! What the targets say holds for the seeds, and for input cut short.

use std::fs;
use std::path::PathBuf;

use oci_bind_hook_fuzz::TARGETS;

#[test]
fn what_holds_holds_for_the_seeds() {
    for (name, target) in TARGETS {
        for seed in seeds(name) {
            let data = fs::read(&seed).expect("a seed is a file");
            for end in 0..=data.len() {
                target(&data[..end]);
            }
        }
    }
}

/// The seeds of a target. One that is made of numbers has what was found before.
fn seeds(target: &str) -> Vec<PathBuf> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("seeds")
        .join(target);
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    let seeds: Vec<_> = entries
        .map(|entry| entry.expect("an entry").path())
        .collect();
    assert!(!seeds.is_empty(), "no seeds in the folder of {target}");
    seeds
}

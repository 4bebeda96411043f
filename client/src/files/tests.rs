//! Somebody else changes the folder while it is used.

use std::{
    fs,
    os::unix::fs::symlink,
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
};

use halyard_protocol::transfer::RelativeName;

use super::{FileRoot, Store};

fn name(text: &str) -> RelativeName {
    RelativeName::folder(text).expect("a good name")
}

/// Ends the swapping, also where an assertion ends the test.
struct Ending<'a>(&'a AtomicBool);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// `d` is a folder, then a link to `outside`, then a folder again, as fast as that can be done.
fn flip(home: &Path, outside: &Path, stop: &AtomicBool) {
    let (at, aside) = (home.join("d"), home.join("aside"));
    while !stop.load(Ordering::Relaxed) {
        let _ = fs::rename(&at, &aside);
        let _ = symlink(outside, &at);
        let _ = fs::remove_file(&at);
        // Its users may have made one meanwhile.
        let _ = fs::remove_dir_all(&at);
        let _ = fs::rename(&aside, &at);
    }
}

#[test]
fn a_link_that_is_swapped_in_meanwhile_leads_nowhere() {
    let (home, outside) = (tempfile::tempdir().expect("made"), tempfile::tempdir().expect("made"));
    fs::write(outside.path().join("f"), "a secret").expect("written");
    fs::create_dir(outside.path().join("sub")).expect("made");
    fs::create_dir(home.path().join("d")).expect("made");
    fs::write(home.path().join("d/f"), "shared").expect("written");
    let root = FileRoot::open_blocking(home.path()).expect("shared");
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| flip(home.path(), outside.path(), &stop));
        let _ending = Ending(&stop);
        let mut reached = 0;
        for round in 0..40 {
            if let Ok(mut source) = root.open(&name("d/f")) {
                let mut buffer = [0; 20];
                let read = source.read_at(0, &mut buffer).expect("an opened file");
                assert_eq!(&buffer[..read], b"shared");
                reached += 1;
            }
            if let Ok(mut source) = root.open_any(&name("d")) {
                let mut buffer = vec![0; 4096];
                let read = source.read_at(0, &mut buffer).unwrap_or(0);
                assert!(!buffer[..read].windows(8).any(|bytes| bytes == b"a secret"));
            }
            if let Ok(found) = root.list("d", 0) {
                assert!(found.entries.iter().all(|entry| entry.name != "sub"), "{found:?}");
            }
            if let Ok(found) = root.glob("d/*", 0) {
                assert!(found.entries.iter().all(|entry| entry.name != "d/sub"), "{found:?}");
            }
            if let Ok(found) = root.stat(&name("d/f")) {
                assert_eq!(found.size, 6);
            }
            let written = name(&format!("d/{round}"));
            if let Ok(part) = root.create(&written, 1) {
                let _ = part.write_at(0, b"x").and_then(|()| part.finish(None));
            }
            if let Ok(part) = root.create_folder(&name(&format!("d/f{round}")), 1024, false) {
                let _ = part.write_at(0, &[0; 1024]).and_then(|()| part.finish(None));
            }
            let _ = root.delete(&written, true);
            let _ = root.delete(&name("d/sub"), true);
        }
        assert!(reached > 0, "the folder was there now and then");
    });
    let mut left: Vec<_> = fs::read_dir(outside.path())
        .expect("listed")
        .map(|entry| entry.expect("listed").file_name())
        .collect();
    left.sort();
    assert_eq!(left, ["f", "sub"], "nothing came, nothing went");
    assert_eq!(fs::read(outside.path().join("f")).expect("read"), b"a secret");
}

//! Folders through their tar, whole, cut in the middle, changed and hostile.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
    sync::Arc,
};

use halyard_protocol::{
    channel::FileErrorCode,
    transfer::{Failure, RelativeName},
};
use proptest::prelude::*;
use tempfile::TempDir;

use super::{
    super::{FileRoot, Source, Store, Unfinished},
    FolderSource, Skipped,
};

fn name(text: &str) -> RelativeName {
    RelativeName::folder(text).expect("a good name")
}

/// A folder with what folders have: nested, empty, large, small and long-named things.
fn example() -> TempDir {
    let home = tempfile::tempdir().expect("a folder");
    let at = |path: &str| home.path().join(path);
    let long = "n".repeat(200);
    fs::create_dir_all(at("deep/er")).expect("made");
    fs::create_dir_all(at("nothing in it")).expect("made");
    fs::create_dir_all(at(&long)).expect("made");
    fs::write(at("a.txt"), "one").expect("written");
    fs::write(at("empty"), "").expect("written");
    fs::write(at("block"), [5; 512]).expect("written");
    fs::write(at("deep/er/large.bin"), vec![7; 5000]).expect("written");
    fs::write(at("deep/ÄÖÜ 测试"), "x").expect("written");
    fs::write(at(&format!("{long}/{long}")), "long").expect("written");
    fs::write(at("z.sh"), "#!/bin/sh").expect("written");
    fs::set_permissions(at("z.sh"), fs::Permissions::from_mode(0o755)).expect("changed");
    home
}

/// Everything below a folder: folders end in a slash; files with their bytes, times and rights.
fn all(folder: &Path) -> BTreeMap<String, (Vec<u8>, u64, bool)> {
    let mut found = BTreeMap::new();
    let mut waiting = vec![folder.to_owned()];
    while let Some(at) = waiting.pop() {
        for entry in fs::read_dir(at).expect("a folder") {
            let path = entry.expect("listed").path();
            let short = path.strip_prefix(folder).expect("inside").display().to_string();
            let metadata = fs::symlink_metadata(&path).expect("there");
            if metadata.is_dir() {
                found.insert(format!("{short}/"), (Vec::new(), 0, false));
                waiting.push(path);
            } else {
                let since = metadata.modified().expect("known");
                let since = since.duration_since(std::time::UNIX_EPOCH).expect("later");
                let runs = metadata.permissions().mode() & 0o100 != 0;
                found.insert(short, (fs::read(path).expect("read"), since.as_secs(), runs));
            }
        }
    }
    found
}

fn stream(source: &mut FolderSource, piece: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut buffer = vec![0xAA; piece];
    loop {
        match source.read_at(bytes.len() as u64, &mut buffer).expect("read") {
            0 => return bytes,
            read => bytes.extend_from_slice(&buffer[..read]),
        }
    }
}

fn receiver() -> (TempDir, FileRoot) {
    let home = tempfile::tempdir().expect("a folder");
    let root = FileRoot::open_blocking(home.path()).expect("shared");
    (home, root)
}

fn unfinished(root: &FileRoot, size: usize) -> Arc<dyn Unfinished> {
    root.create_folder(&name("in/set"), size as u64, false).expect("may be written")
}

fn names_in(folder: &Path) -> Vec<String> {
    fs::read_dir(folder)
        .map(|entries| {
            entries.map(|e| e.expect("listed").file_name().to_string_lossy().into_owned()).collect()
        })
        .unwrap_or_default()
}

#[test]
fn what_arrives_is_what_was_sent_and_any_tar_can_read_the_stream() {
    let home = example();
    let mut source = FolderSource::open(home.path()).expect("opened");
    let bytes = stream(&mut source, 700);
    assert_eq!(bytes.len() as u64, source.size());
    assert_eq!(bytes, stream(&mut source, 1 << 20), "however it is read");
    let again = stream(&mut FolderSource::open(home.path()).expect("opened"), 4096);
    assert_eq!(bytes, again, "whenever it is read");

    let (there, root) = receiver();
    let part = unfinished(&root, bytes.len());
    assert_eq!(part.held(), 0);
    for (index, piece) in bytes.chunks(999).enumerate() {
        part.write_at(index as u64 * 999, piece).expect("written");
    }
    assert_eq!(names_in(&there.path().join("in")), [".set.part"], "not before it is whole");
    assert!(root.list("in", 0).expect("listed").entries.is_empty(), "and hidden until then");
    part.finish(None).expect("whole");
    drop(part);
    assert_eq!(all(&there.path().join("in/set")), all(home.path()));
    assert_eq!(names_in(&there.path().join("in")), ["set"]);

    let other = tempfile::tempdir().expect("a folder");
    ::tar::Archive::new(&bytes[..]).unpack(other.path()).expect("a tar like any other");
    assert_eq!(all(other.path()), all(home.path()));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn whoever_is_killed_goes_on_where_the_stream_ended(
        cuts in prop::collection::vec(0_usize..15_000, 1..4), piece in 1_usize..3000,
    ) {
        let home = example();
        let bytes = stream(&mut FolderSource::open(home.path()).expect("opened"), 1 << 20);
        let (there, root) = receiver();
        let mut last = 0;
        for cut in cuts {
            let part = unfinished(&root, bytes.len());
            let held = part.held() as usize;
            // At most what does not make up a whole block of headers is lost.
            prop_assert!(held <= last.max(held) && held + 3 * 512 > last, "{held} of {last}");
            let mut back = vec![0xAA; held + 10];
            let read = part.read_at(0, &mut back).expect("read back");
            prop_assert_eq!(read, held);
            prop_assert!(back[..held] == bytes[..held], "what is held is the beginning");
            let mut at = held;
            let cut = cut.clamp(held, bytes.len());
            while at < cut {
                let end = cut.min(at + piece);
                part.write_at(at as u64, &bytes[at..end]).expect("written");
                at = end;
            }
            last = cut;
        }
        let part = unfinished(&root, bytes.len());
        let held = part.held() as usize;
        part.write_at(held as u64, &bytes[held..]).expect("written");
        part.finish(None).expect("whole");
        drop(part);
        prop_assert_eq!(all(&there.path().join("in/set")), all(home.path()));
        prop_assert_eq!(names_in(&there.path().join("in")), ["set"]);
    }
}

#[test]
fn a_cut_at_every_block_loses_no_more_than_the_headers_at_hand() {
    let home = example();
    let bytes = stream(&mut FolderSource::open(home.path()).expect("opened"), 1 << 20);
    for cut in (512..bytes.len()).step_by(512) {
        let (_there, root) = receiver();
        let part = unfinished(&root, bytes.len());
        part.write_at(0, &bytes[..cut]).expect("written");
        drop(part);
        let held = unfinished(&root, bytes.len()).held() as usize;
        assert!(held <= cut && held + 3 * 512 > cut, "{held} of {cut}");
    }
}

#[test]
fn what_was_changed_meanwhile_is_not_taken_for_a_beginning() {
    let home = example();
    let bytes = stream(&mut FolderSource::open(home.path()).expect("opened"), 1 << 20);
    let (there, root) = receiver();
    let part = unfinished(&root, bytes.len());
    part.write_at(0, &bytes[..6000]).expect("written");
    drop(part);
    // Somebody lengthened a file of it.
    let grown = there.path().join("in/.set.part/tree/block");
    fs::write(grown, [6; 600]).expect("written");
    let part = unfinished(&root, bytes.len());
    assert_eq!(part.held(), 0, "it begins anew");
    part.write_at(0, &bytes).expect("written");
    part.finish(None).expect("whole");
    assert_eq!(all(&there.path().join("in/set")), all(home.path()));
}

#[test]
fn links_and_others_are_left_out_and_named() {
    let home = tempfile::tempdir().expect("a folder");
    fs::write(home.path().join("a"), "x").expect("written");
    fs::write(home.path().join("film.part"), "x").expect("written");
    fs::write(home.path().join("back\\slash"), "x").expect("written");
    symlink("/etc/passwd", home.path().join("passwd")).expect("linked");
    symlink(home.path(), home.path().join("loop")).expect("linked");
    let _socket = std::os::unix::net::UnixListener::bind(home.path().join("sock")).expect("bound");
    let source = FolderSource::open(home.path()).expect("opened");
    assert_eq!(source.entries(), 1);
    let skipped: Vec<_> =
        source.skipped().iter().map(|Skipped { name, why }| (name.as_str(), *why)).collect();
    assert_eq!(
        skipped,
        [
            ("back\\slash", "its name is not accepted, or it is unfinished"),
            ("film.part", "its name is not accepted, or it is unfinished"),
            ("loop", "it is a link"),
            ("passwd", "it is a link"),
            ("sock", "it is neither a file nor a folder"),
        ]
    );
}

type Change<'a> = &'a dyn Fn(&Path);

#[test]
fn a_folder_that_changes_while_it_is_sent_says_so() {
    let home = example();
    let changes: [(&str, Change<'_>); 4] = [
        ("longer", &|path| fs::write(path, vec![7; 6000]).expect("written")),
        ("shorter", &|path| fs::write(path, vec![7; 100]).expect("written")),
        ("gone", &|path| fs::remove_file(path).expect("removed")),
        ("a link to a secret", &|path| {
            let _ = fs::remove_file(path);
            symlink("/etc/passwd", path).expect("linked");
        }),
    ];
    let large = home.path().join("deep/er/large.bin");
    for (what, change) in changes {
        let _ = fs::remove_file(&large);
        fs::write(&large, vec![7; 5000]).expect("written");
        let mut source = FolderSource::open(home.path()).expect("opened");
        change(&large);
        let mut buffer = vec![0; 1 << 20];
        let failure = source.read_at(0, &mut buffer).expect_err(what);
        assert!(failure.message.contains("large.bin"), "{what}: {failure}");
    }
}

#[test]
fn a_hostile_stream_is_refused_and_leaves_nothing() {
    use ::tar::{Builder, EntryType, Header};
    for (path, kind) in [
        ("../x", EntryType::Regular),
        ("/x", EntryType::Regular),
        ("link", EntryType::Symlink),
        ("tty", EntryType::Char),
        ("a", EntryType::Regular),
        ("A", EntryType::Regular),
    ] {
        let mut tar = Builder::new(Vec::new());
        for (path, kind) in [("a", EntryType::Regular), (path, kind)] {
            let mut header = Header::new_gnu();
            header.as_mut_bytes()[..path.len()].copy_from_slice(path.as_bytes());
            header.set_entry_type(kind);
            header.set_size(0);
            header.set_cksum();
            tar.append(&header, &b""[..]).expect("appended");
        }
        let bytes = tar.into_inner().expect("ended");
        let (there, root) = receiver();
        let part = unfinished(&root, bytes.len());
        let failure = part.write_at(0, &bytes).expect_err(path);
        assert_eq!(failure.code, FileErrorCode::BadArchive, "{failure}");
        drop(part);
        assert!(names_in(&there.path().join("in")).is_empty(), "{path}");
        assert_eq!(names_in(there.path()), ["in"]);
    }
}

#[test]
fn one_that_is_there_is_refused_before_the_first_byte_or_replaced_at_the_last() {
    let home = example();
    let bytes = stream(&mut FolderSource::open(home.path()).expect("opened"), 1 << 20);
    let (there, root) = receiver();
    fs::create_dir_all(there.path().join("in/set")).expect("made");
    fs::write(there.path().join("in/set/old"), "old").expect("written");
    let code = |failure: Failure| failure.code;
    let size = bytes.len() as u64;
    let refused = root.create_folder(&name("in/set"), size, false).map(|_| ()).map_err(code);
    assert_eq!(refused, Err(FileErrorCode::Exists));
    let part = root.create_folder(&name("in/set"), size, true).expect("may be replaced");
    part.write_at(0, &bytes).expect("written");
    assert_eq!(names_in(&there.path().join("in/set")), ["old"], "whole until the last");
    part.finish(None).expect("replaced");
    drop(part);
    assert_eq!(all(&there.path().join("in/set")), all(home.path()));
    assert_eq!(names_in(&there.path().join("in")), ["set"]);
    fs::write(there.path().join("file"), "x").expect("written");
    let refused = root.create_folder(&name("file"), size, true).map(|_| ()).map_err(code);
    assert_eq!(refused, Err(FileErrorCode::WrongKind));
}

#[test]
fn two_writers_of_one_folder_do_not_mix() {
    let (_there, root) = receiver();
    let _first = unfinished(&root, 10_000);
    let second = root.create_folder(&name("in/set"), 10_000, false).map(|_| ());
    assert_eq!(second.expect_err("busy").code, FileErrorCode::Busy);
}

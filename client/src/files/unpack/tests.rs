//! Archives of every hostile kind, against real folders.

use std::{
    collections::BTreeMap,
    fs,
    io::{Cursor, Write},
    path::Path,
};

use ::tar::{Builder, EntryType, Header};
use flate2::{Compression, write::GzEncoder};
use proptest::prelude::*;
use tempfile::TempDir;
use zip::{ZipWriter, write::SimpleFileOptions};

use super::{super::FileRoot, tar::TarReader, *};

fn name(text: &str) -> RelativeName {
    RelativeName::new(text).expect("a good name")
}

/// Unpacks `archive` into `out` of a new folder.
fn unpacked_with(archive: &[u8], limits: &UnpackLimits) -> (TempDir, Result<Unpacked, Failure>) {
    let home = tempfile::tempdir().expect("a folder");
    fs::write(home.path().join("in.bin"), archive).expect("written");
    let root = FileRoot::open_blocking(home.path()).expect("shared");
    let result = root.unpack(&name("in.bin"), &name("deep/out"), false, limits);
    (home, result)
}

/// The failure, once it is sure that nothing is left of the try, neither inside nor outside.
fn refusal_with(archive: &[u8], limits: &UnpackLimits) -> Failure {
    let (home, result) = unpacked_with(archive, limits);
    let failure = result.expect_err("refused");
    let left: Vec<_> = fs::read_dir(home.path().join("deep"))
        .map(|entries| entries.map(|entry| entry.expect("listed").file_name()).collect())
        .unwrap_or_default();
    assert!(left.is_empty(), "{left:?} is left after {failure}");
    assert!(failure.message.contains("\"in.bin\""), "{failure}");
    failure
}

fn refusal(archive: &[u8]) -> Failure {
    refusal_with(archive, &UnpackLimits::default())
}

fn header(path: &str, kind: EntryType, size: u64) -> Header {
    let mut header = Header::new_gnu();
    // Past every check of the crate's own.
    let bytes = &mut header.as_mut_bytes()[..100];
    bytes[..path.len()].copy_from_slice(path.as_bytes());
    header.set_entry_type(kind);
    header.set_size(size);
    header.set_mode(0o644);
    header.set_mtime(1_700_000_000);
    header.set_cksum();
    header
}

fn tar_of(entries: &[(&str, EntryType, &[u8])]) -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    for (path, kind, bytes) in entries {
        builder.append(&header(path, *kind, bytes.len() as u64), *bytes).expect("appended");
    }
    builder.into_inner().expect("ended")
}

fn zip_of(entries: &[(&str, Option<u32>, &[u8])]) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (path, mode, bytes) in entries {
        let options = SimpleFileOptions::default().unix_permissions(mode.unwrap_or(0o644));
        if path.ends_with('/') {
            zip.add_directory(*path, options).expect("added");
        } else {
            zip.start_file(*path, options).expect("started");
            zip.write_all(bytes).expect("written");
        }
    }
    zip.finish().expect("ended").into_inner()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).expect("packed");
    encoder.finish().expect("packed")
}

fn files_in(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut waiting = vec![folder.to_owned()];
    while let Some(at) = waiting.pop() {
        for entry in fs::read_dir(at).expect("a folder") {
            let path = entry.expect("listed").path();
            let short = path.strip_prefix(folder).expect("inside").display().to_string();
            if path.is_dir() {
                found.insert(format!("{short}/"), Vec::new());
                waiting.push(path);
            } else {
                found.insert(short, fs::read(path).expect("read"));
            }
        }
    }
    found
}

#[test]
fn zip_tar_and_gzipped_tar_give_the_same_folder() {
    use EntryType as T;
    let long = format!("long/{}/x", "y".repeat(150));
    let mut tar = Builder::new(Vec::new());
    for (path, kind, bytes) in [
        ("./", T::Directory, &b""[..]),
        ("./a.txt", T::Regular, b"one"),
        ("empty/", T::Directory, b""),
        ("deep/in/b.bin", T::Regular, &[7; 1000]),
    ] {
        tar.append(&header(path, kind, bytes.len() as u64), bytes).expect("appended");
    }
    let mut plain = header("", T::Regular, 4);
    tar.append_data(&mut plain, &long, &b"long"[..]).expect("appended");
    let tar = tar.into_inner().expect("ended");
    let zip = zip_of(&[
        ("a.txt", None, b"one"),
        ("empty/", None, b""),
        ("deep/in/b.bin", None, &[7; 1000]),
        (&long, None, b"long"),
    ]);
    let mut whole = None;
    for archive in [gzip(&tar), tar, zip] {
        let (home, result) = unpacked_with(&archive, &UnpackLimits::default());
        let counted = result.expect("unpacked");
        assert_eq!((counted.files, counted.folders, counted.bytes), (3, 5, 1007));
        let files = files_in(&home.path().join("deep/out"));
        assert_eq!(files["a.txt"], b"one");
        assert_eq!(files[&long], b"long");
        assert_eq!(*whole.get_or_insert(files.clone()), files);
        let hidden = home.path().join("deep/.out.part");
        assert!(!hidden.exists(), "nothing else is left");
    }
}

#[test]
fn what_owners_may_execute_stays_so_and_nothing_more() {
    use std::os::unix::fs::PermissionsExt;

    let mut run = header("run.sh", EntryType::Regular, 1);
    run.set_mode(0o6777);
    run.set_cksum();
    let mut tar = Builder::new(Vec::new());
    tar.append(&run, &b"x"[..]).expect("appended");
    tar.append(&header("data", EntryType::Regular, 1), &b"x"[..]).expect("appended");
    let (home, result) = unpacked_with(&tar.into_inner().expect("ended"), &UnpackLimits::default());
    result.expect("unpacked");
    let mode = |file| {
        let path = home.path().join("deep/out").join(file);
        fs::metadata(path).expect("there").permissions().mode() & 0o7777
    };
    assert_eq!(mode("run.sh") & 0o7100, 0o100);
    assert_eq!(mode("data") & 0o111, 0);
    let modified = fs::metadata(home.path().join("deep/out/data")).expect("there").modified();
    let since = modified.expect("known").duration_since(std::time::UNIX_EPOCH).expect("later");
    assert_eq!(since.as_secs(), 1_700_000_000);
}

#[test]
fn every_hostile_entry_of_a_tar_is_refused_with_its_name() {
    use EntryType as T;
    for (path, kind, words) in [
        ("../x", T::Regular, "could leave the folder"),
        ("a/../../x", T::Regular, "could leave the folder"),
        ("/etc/passwd", T::Regular, "absolute"),
        ("C:/x", T::Regular, "absolute"),
        ("a\\b", T::Regular, "not accepted"),
        ("..", T::Directory, "could leave the folder"),
        ("a//b", T::Regular, "empty part"),
        (".x.part/y", T::Regular, "unfinished folders"),
        ("link", T::Symlink, "is a link"),
        ("hard", T::Link, "second name"),
        ("tty", T::Char, "a device"),
        ("disk", T::Block, "a device"),
        ("pipe", T::Fifo, "a pipe"),
        ("sparse", T::GNUSparse, "sparse"),
        ("odd", T::new(b'Z'), "neither"),
    ] {
        // Behind a good one, so that something is there to be left behind.
        let tar = tar_of(&[("good", T::Regular, b"good"), (path, kind, b"")]);
        for archive in [gzip(&tar), tar] {
            let failure = refusal(&archive);
            assert_eq!(failure.code, FileErrorCode::BadArchive, "{path}: {failure}");
            assert!(failure.message.contains(words), "{path}: {failure}");
            assert!(failure.message.contains(&format!("{path:?}")), "{path}: {failure}");
        }
    }
}

#[test]
fn every_hostile_entry_of_a_zip_is_refused_with_its_name() {
    for (path, mode, words) in [
        ("../x", 0o644, "could leave the folder"),
        ("/etc/passwd", 0o644, "absolute"),
        ("a\\..\\b", 0o644, "not accepted"),
        ("link", 0o120_777, "a link or a device"),
        ("pipe", 0o010_644, "a link or a device"),
        ("disk", 0o060_644, "a link or a device"),
    ] {
        // The crate's own writer does not make these; written by hand into both headers.
        let safe = "s".repeat(path.len());
        let mut zip = zip_of(&[("good", None, b"good"), (&safe, Some(0o644), b"/etc/passwd")]);
        patch(&mut zip, safe.as_bytes(), path.as_bytes());
        set_mode(&mut zip, path.as_bytes(), mode);
        let failure = refusal(&zip);
        assert_eq!(failure.code, FileErrorCode::BadArchive, "{path}: {failure}");
        assert!(failure.message.contains(words), "{path}: {failure}");
        assert!(failure.message.contains(&format!("{path:?}")), "{path}: {failure}");
    }
}

/// Every place where these bytes stand.
fn patch(bytes: &mut [u8], from: &[u8], to: &[u8]) {
    for at in 0..=bytes.len() - from.len() {
        if &bytes[at..at + from.len()] == from {
            bytes[at..at + from.len()].copy_from_slice(to);
        }
    }
}

/// Into the central header of the entry of this name: made by UNIX, this mode.
fn set_mode(zip: &mut [u8], name: &[u8], mode: u32) {
    let central = (0..zip.len() - 46 - name.len())
        .find(|at| {
            &zip[*at..at + 4] == b"PK\x01\x02" && &zip[at + 46..at + 46 + name.len()] == name
        })
        .expect("its central header");
    zip[central + 5] = 3;
    zip[central + 38..central + 42].copy_from_slice(&(mode << 16).to_le_bytes());
}

#[test]
fn two_of_one_name_are_refused_in_either_kind_of_archive() {
    use EntryType as T;
    for (first, second, words) in [
        ("same", "same", "two entries"),
        ("Case", "case", "differ in case"),
        ("Case/a", "case/b", "differ in case"),
        ("ÄRGER", "ärger", "differ in case"),
        ("x", "x/y", "a folder and a file"),
        ("x/y", "x", "a folder and a file"),
    ] {
        let tar = tar_of(&[(first, T::Regular, b"1"), (second, T::Regular, b"2")]);
        assert!(refusal(&tar).message.contains(words), "{first} {second}: {}", refusal(&tar));
        // Patched, because the writer refuses two of one name; in the same encoding.
        let safe = if second.is_ascii() {
            "s".repeat(second.len())
        } else {
            format!("é{}", "s".repeat(second.len() - 2))
        };
        let mut zip = zip_of(&[(first, None, b"1"), (&safe, None, b"2")]);
        patch(&mut zip, safe.as_bytes(), second.as_bytes());
        assert!(refusal(&zip).message.contains(words), "{first} {second}: {}", refusal(&zip));
    }
}

#[test]
fn a_bomb_is_refused_while_it_comes() {
    let zeros = vec![0; 4 << 20];
    let limits = UnpackLimits { free_of_ratio: 1 << 20, ..UnpackLimits::default() };
    let zip = zip_of(&[("zeros", None, &zeros)]);
    let tar = gzip(&tar_of(&[("zeros", EntryType::Regular, &zeros)]));
    for archive in [&zip, &tar] {
        let failure = refusal_with(archive, &limits);
        assert_eq!(failure.code, FileErrorCode::TooLarge, "{failure}");
        assert!(failure.message.contains("no archive of real files"), "{failure}");
        // The same is welcome where so much is.
        unpacked_with(archive, &UnpackLimits::default()).1.expect("4 MiB are no bomb");
    }
    // A size that lies hides nothing: what comes is counted.
    let mut liar = zip;
    let real = u32::try_from(zeros.len()).expect("small").to_le_bytes();
    patch(&mut liar, &real, &1000_u32.to_le_bytes());
    let failure = refusal_with(&liar, &limits);
    assert!(
        matches!(failure.code, FileErrorCode::BadArchive | FileErrorCode::TooLarge),
        "{failure}"
    );
}

#[test]
fn headers_without_end_are_refused_although_they_are_no_entries() {
    let limits = UnpackLimits { entries: 10, ..UnpackLimits::default() };
    let comment = (EntryType::XGlobalHeader, &[b'x'; 500][..]);
    for (kind, bytes) in [comment, (EntryType::Directory, b"")] {
        let mut entries = vec![("a", EntryType::Directory, &b""[..])];
        entries.extend([("a", kind, bytes)].repeat(100));
        let few = gzip(&tar_of(&entries[..10]));
        assert!(unpacked_with(&few, &limits).1.is_ok());
        let failure = refusal_with(&gzip(&tar_of(&entries)), &limits);
        assert_eq!(failure.code, FileErrorCode::TooLarge, "{failure}");
    }
}

#[test]
fn entries_bytes_and_depth_are_bounded() {
    use EntryType as T;
    let limits =
        UnpackLimits { entries: 3, names: 12, depth: 2, bytes: 10, ..UnpackLimits::default() };
    for (entries, words) in [
        (&[("a/b/c", &b"1"[..])][..], "3 folders deep"),
        (&[("a", b"1"), ("b", b"1"), ("c", b"1"), ("d", b"1")], "more than 3 entries"),
        (&[("a/b", b"1"), ("c/d", b"1")], "more than 3 entries"),
        (&[("abcdefgh", b"1"), ("ijklm", b"1")], "more than 12 bytes together"),
        (&[("a", b"123456"), ("b", b"12345")], "more than 10 bytes"),
    ] {
        let tar: Vec<_> = entries.iter().map(|(path, bytes)| (*path, T::Regular, *bytes)).collect();
        let zip: Vec<_> = entries.iter().map(|(path, bytes)| (*path, None, *bytes)).collect();
        for archive in [tar_of(&tar), zip_of(&zip)] {
            let failure = refusal_with(&archive, &limits);
            assert_eq!(failure.code, FileErrorCode::TooLarge, "{failure}");
            assert!(failure.message.contains(words), "{failure}");
        }
    }
}

#[test]
fn what_is_no_archive_or_is_cut_off_says_so() {
    let tar = tar_of(&[("a", EntryType::Regular, &[1; 3000])]);
    let zip = zip_of(&[("a", None, &[1; 3000])]);
    for (bytes, words) in [
        (&b"hello"[..], "no archive"),
        (&[], "no archive"),
        (&tar[..2000], "cut off"),
        (&zip[..zip.len() / 2], "damaged or cut off"),
        (&gzip(&tar)[..30], "cut off"),
        (&gzip(b"hello"), "cut off"),
        (&gzip(&[7; 5000]), "no tar"),
    ] {
        let failure = refusal(bytes);
        assert_eq!(failure.code, FileErrorCode::BadArchive, "{failure}");
        assert!(failure.message.contains(words), "{failure}, expected {words:?}");
    }
}

#[test]
fn a_folder_that_is_there_stays_unless_it_shall_be_replaced() {
    let home = tempfile::tempdir().expect("a folder");
    fs::write(home.path().join("a.zip"), zip_of(&[("new", None, b"new")])).expect("written");
    fs::create_dir(home.path().join("out")).expect("made");
    fs::write(home.path().join("out/old"), "old").expect("written");
    let root = FileRoot::open_blocking(home.path()).expect("shared");
    let limits = UnpackLimits::default();
    let failure = root.unpack(&name("a.zip"), &name("out"), false, &limits).expect_err("there");
    assert_eq!(failure.code, FileErrorCode::Exists, "{failure}");
    assert_eq!(files_in(&home.path().join("out")).len(), 1);
    root.unpack(&name("a.zip"), &name("out"), true, &limits).expect("replaced");
    let files = files_in(&home.path().join("out"));
    assert_eq!(files.keys().collect::<Vec<_>>(), ["new"]);
    let failure = root.unpack(&name("a.zip"), &name("a.zip"), true, &limits).expect_err("a file");
    assert_eq!(failure.code, FileErrorCode::WrongKind, "{failure}");
    assert_eq!(fs::read_dir(home.path()).expect("listed").count(), 2, "nothing else is left");
}

#[test]
fn a_link_in_the_way_is_never_written_through() {
    let outside = tempfile::tempdir().expect("a folder");
    let home = tempfile::tempdir().expect("a folder");
    fs::write(home.path().join("a.zip"), zip_of(&[("f", None, b"x")])).expect("written");
    let root = FileRoot::open_blocking(home.path()).expect("shared");
    let limits = UnpackLimits::default();
    // In the place of the folder above, of the hidden folder, and of the folder itself.
    for (link, into) in [("up", "up/out"), (".out.part", "out"), ("out", "out")] {
        let path = home.path().join(link);
        std::os::unix::fs::symlink(outside.path(), &path).expect("linked");
        for replace in [false, true] {
            root.unpack(&name("a.zip"), &name(into), replace, &limits).expect_err("a link");
        }
        fs::remove_file(path).expect("still the link");
    }
    assert_eq!(fs::read_dir(outside.path()).expect("listed").count(), 0);
}

/// Keeps what it is told.
#[derive(Debug, Default, PartialEq)]
struct Told(Vec<(String, Vec<u8>)>);

impl Sink for Told {
    fn folder(&mut self, name: &RelativeName) -> Result<(), Failure> {
        self.0.push((format!("{name}/"), Vec::new()));
        Ok(())
    }

    fn file(&mut self, name: &RelativeName, _: FileEntry) -> Result<(), Failure> {
        self.0.push((name.to_string(), Vec::new()));
        Ok(())
    }

    fn bytes(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        if let Some(last) = self.0.last_mut() {
            last.1.extend_from_slice(bytes);
        }
        Ok(())
    }

    fn close(&mut self) -> Result<(), Failure> {
        Ok(())
    }
}

proptest! {
    #[test]
    fn a_tar_is_read_the_same_in_whatever_pieces_it_comes(
        sizes in prop::collection::vec(0_usize..1500, 1..6),
        pieces in prop::collection::vec(1_usize..700, 1..20),
    ) {
        let contents: Vec<_> =
            sizes.iter().enumerate().map(|(n, size)| (format!("d/{n}"), vec![n as u8; *size])).collect();
        let entries: Vec<_> =
            contents.iter().map(|(path, bytes)| (path.as_str(), EntryType::Regular, &bytes[..])).collect();
        let tar = tar_of(&entries);
        let (mut told, mut reader, mut at) = (Told::default(), TarReader::new(), 0);
        for size in pieces.iter().cycle() {
            let end = tar.len().min(at + size);
            reader.push(&tar[at..end], &mut told).expect("a good tar");
            at = end;
            if at == tar.len() {
                break;
            }
        }
        reader.finish().expect("all of it");
        prop_assert_eq!(reader.position(), tar.len() as u64);
        prop_assert_eq!(told.0, contents);
    }

    #[test]
    fn bytes_that_are_flipped_or_cut_never_panic_and_never_leave_the_folder(
        at in 0_usize..6000, flip in 1_u8..=255, cut in 0_usize..6000, kind in 0..3,
    ) {
        let tar = tar_of(&[("a/b", EntryType::Regular, &[1; 600]), ("c/", EntryType::Directory, b"")]);
        let mut archive = match kind {
            0 => tar,
            1 => gzip(&tar),
            _ => zip_of(&[("a/b", None, &[1; 600]), ("c/", None, b"")]),
        };
        let len = archive.len();
        archive[at % len] ^= flip;
        archive.truncate(len - cut % len);
        let (home, _) = unpacked_with(&archive, &UnpackLimits::default());
        for entry in fs::read_dir(home.path()).expect("listed") {
            let name = entry.expect("listed").file_name();
            prop_assert!(name == "in.bin" || name == "deep", "{:?}", name);
        }
    }
}

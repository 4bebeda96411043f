//! A package's zip, unpacked where nothing of it can lead elsewhere.
//!
//! Every entry is written through the folder's own handle. What is refused leaves nothing behind.

use std::io::{self, Read};

use cap_std::fs::Dir;
use halyard_protocol::transfer::RelativeName;
use zip::ZipArchive;

/// Files and folders of one package.
const MOST_ENTRIES: usize = 100_000;

/// Bytes of all files of one package.
const MOST_BYTES: u64 = 64 << 30;

/// A zip may become so many times larger: pictures hardly shrink, a bomb to a thousandth ...
const MOST_RATIO: u64 = 100;

/// ... or become so many bytes, whatever its own size.
const FREE_OF_RATIO: u64 = 64 << 20;

/// Unpacks the zip `archive` of `root` into its new folder `into`. Blocks. The error is for people.
pub(super) fn unpack(root: &Dir, archive: &str, into: &str) -> Result<(), String> {
    let file = root.open(archive).map_err(|error| error.to_string())?.into_std();
    let size = file.metadata().map_err(|error| error.to_string())?.len();
    let limit = size.saturating_mul(MOST_RATIO).clamp(FREE_OF_RATIO, MOST_BYTES);
    root.create_dir_all(into).map_err(|error| error.to_string())?;
    let unpacked = root
        .open_dir(into)
        .map_err(|error| error.to_string())
        .and_then(|dir| entries(file, &dir, limit));
    if unpacked.is_err()
        && let Err(error) = root.remove_dir_all(into)
    {
        tracing::warn!(%error, folder = into, "what was unpacked of a refused package stays");
    }
    unpacked
}

fn entries(file: std::fs::File, dir: &Dir, limit: u64) -> Result<(), String> {
    let mut zip = ZipArchive::new(file).map_err(|error| format!("it is no zip: {error}"))?;
    if zip.len() > MOST_ENTRIES {
        return Err(format!("it has {} entries; accepted are {MOST_ENTRIES}", zip.len()));
    }
    let mut left = limit;
    for at in 0..zip.len() {
        let mut entry = zip.by_index(at).map_err(|error| format!("it is damaged: {error}"))?;
        let name = entry.name().map_err(|error| error.to_string())?.into_owned();
        let refused = |why: String| format!("{:?} in it is refused: {why}", shown(&name));
        let path = RelativeName::folder(name.trim_end_matches('/'));
        let path = path.map_err(|error| refused(error.to_string()))?;
        let failed = |error: io::Error| refused(error.to_string());
        if entry.is_symlink() {
            return Err(refused("it is a link".to_owned()));
        }
        if entry.is_dir() {
            dir.create_dir_all(path.as_str()).map_err(failed)?;
            continue;
        }
        if let Some(parent) = path.parent() {
            dir.create_dir_all(parent).map_err(failed)?;
        }
        let mut options = cap_std::fs::OpenOptions::new();
        // Two entries of one name are no package.
        let mut made =
            dir.open_with(path.as_str(), options.write(true).create_new(true)).map_err(failed)?;
        // What it says of its size is its own word.
        let written = io::copy(&mut (&mut entry).take(left + 1), &mut made).map_err(failed)?;
        left = left.checked_sub(written).ok_or_else(|| {
            format!("it becomes larger than {limit} bytes, which is as much as is accepted of it")
        })?;
    }
    Ok(())
}

fn shown(name: &str) -> String {
    name.chars().take(120).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use cap_std::ambient_authority;
    use zip::{ZipWriter, write::SimpleFileOptions};

    use super::*;

    fn packed(pack: impl FnOnce(&mut ZipWriter<std::fs::File>)) -> (tempfile::TempDir, Dir) {
        let home = tempfile::tempdir().expect("a folder");
        let root = home.path().join("files");
        std::fs::create_dir(&root).expect("made");
        let mut zip = ZipWriter::new(std::fs::File::create(root.join("a.zip")).expect("made"));
        pack(&mut zip);
        zip.finish().expect("written");
        let dir = Dir::open_ambient_dir(&root, ambient_authority()).expect("opened");
        (home, dir)
    }

    fn file(zip: &mut ZipWriter<std::fs::File>, name: &str, content: &[u8]) {
        zip.start_file(name, SimpleFileOptions::default()).expect("begun");
        zip.write_all(content).expect("written");
    }

    #[test]
    fn folders_and_files_come_out_as_they_went_in() {
        let (home, dir) = packed(|zip| {
            zip.add_directory("p/empty/", SimpleFileOptions::default()).expect("added");
            file(zip, "p/a/b.txt", b"hello");
        });
        unpack(&dir, "a.zip", "packages/1/a").expect("unpacked");
        let top = home.path().join("files/packages/1/a/p");
        assert_eq!(std::fs::read(top.join("a/b.txt")).expect("there"), b"hello");
        assert!(top.join("empty").is_dir());
    }

    type Pack = Box<dyn FnOnce(&mut ZipWriter<std::fs::File>)>;

    #[test]
    fn what_leads_out_is_refused_and_leaves_nothing() {
        let bomb = vec![0; (FREE_OF_RATIO + 1) as usize];
        let refused: [(&str, Pack); 5] = [
            ("leave the folder", Box::new(|zip| file(zip, "../../evil.txt", b"x"))),
            ("absolute", Box::new(|zip| file(zip, "/evil.txt", b"x"))),
            (
                "it is a link",
                Box::new(|zip| {
                    zip.add_symlink("out", "/etc", SimpleFileOptions::default()).expect("added");
                    file(zip, "out/evil.txt", b"x");
                }),
            ),
            ("larger than", Box::new(move |zip| file(zip, "bomb", &bomb))),
            (
                "File exists",
                Box::new(|zip| {
                    file(zip, "a", b"x");
                    file(zip, "b/../a", b"x");
                }),
            ),
        ];
        for (words, pack) in refused {
            let (home, dir) = packed(|zip| {
                file(zip, "first.txt", b"x");
                pack(zip);
            });
            let why = unpack(&dir, "a.zip", "packages/1/a").expect_err(words);
            assert!(why.contains(words) || why.contains("leave the folder"), "{words}: {why}");
            assert!(!home.path().join("files/packages/1/a").exists(), "{words}");
            assert!(!home.path().join("files/evil.txt").exists(), "{words}");
        }
        let (_home, dir) = packed(|_| {});
        dir.write("a.zip", "no zip at all").expect("written");
        assert!(unpack(&dir, "a.zip", "x").expect_err("no zip").starts_with("it is no zip"));
    }
}

//! Archives on the disk, told apart by their content.

use std::{
    fs::File,
    io::{self, BufReader, Read, Seek, SeekFrom},
    sync::Arc,
};

use cap_std::fs::Dir;
use flate2::read::MultiGzDecoder;
use halyard_protocol::transfer::{Failure, RelativeName};
use zip::{
    ZipReadOptions,
    read::{Config, ZipFileEntry},
    result::ZipError,
    unstable::read::ZipIterable,
};

use super::{
    COPY_BYTES, FileEntry, Sink, Tree, UnpackLimits, Unpacked, bad_name, entry_name, refused,
    tar::{self, BLOCK, is_header},
};
use crate::files::space::Space;

/// The kind of file, in the bits that UNIX keeps for it.
const KIND: u32 = 0o170_000;
const FOLDER: u32 = 0o040_000;
const PLAIN: u32 = 0o100_000;

/// Unpacks into an empty folder.
pub(super) fn unpack(
    mut archive: File,
    into: &Arc<Dir>,
    limits: &UnpackLimits,
    space: &Space,
) -> Result<Unpacked, Failure> {
    let unreadable = |error: io::Error| refused(format!("it cannot be read: {error}"));
    let size = archive.metadata().map_err(unreadable)?.len();
    let mut start = Vec::with_capacity(BLOCK);
    Read::by_ref(&mut archive).take(BLOCK as u64).read_to_end(&mut start).map_err(unreadable)?;
    archive.seek(SeekFrom::Start(0)).map_err(unreadable)?;
    let cut = |error: &io::Error| refused(format!("it is damaged or cut off: {error}"));
    match &*start {
        [b'P', b'K', 3, 4, ..] | [b'P', b'K', 5, 6, ..] => {
            let mut tree = Tree::new(into.clone(), limits, Some(size)).on(space);
            unpack_zip(&archive, &mut tree)?;
            Ok(tree.done())
        }
        [0x1f, 0x8b, ..] => {
            let mut tree = Tree::new(into.clone(), limits, Some(size)).on(space);
            let plain = MultiGzDecoder::new(BufReader::with_capacity(COPY_BYTES, archive));
            tar::read(plain, &mut tree, cut)?;
            Ok(tree.done())
        }
        block if <&[u8; BLOCK]>::try_from(block).is_ok_and(is_header) => {
            let mut tree = Tree::new(into.clone(), limits, None).on(space);
            tar::read(archive, &mut tree, cut)?;
            Ok(tree.done())
        }
        _ => Err(refused("it is no archive; accepted are .zip, .tar and .tar.gz")),
    }
}

fn unpack_zip(archive: &File, tree: &mut Tree) -> Result<(), Failure> {
    let open = || archive.try_clone().map(|file| BufReader::with_capacity(COPY_BYTES, file));
    let unreadable = |error: io::Error| refused(format!("it cannot be read: {error}"));
    // Two handles of one file share their position; whoever reads seeks first.
    let mut zip = ZipIterable::try_new(open().map_err(unreadable)?, Config::default())
        .map_err(|error| damaged(&error))?
        .enforce_header_consistency(true);
    let mut announced = 0_u64;
    tree.announced(zip.len() as u64, 0)?;
    for entry in zip.files().map_err(|error| damaged(&error))? {
        let entry = entry.map_err(|error| damaged(&error))?;
        announced = announced.saturating_add(entry.size());
    }
    tree.announced(zip.len() as u64, announced)?;
    let mut contents = open().map_err(unreadable)?;
    let mut buffer = vec![0; COPY_BYTES];
    for entry in zip.files().map_err(|error| damaged(&error))? {
        let entry = entry.map_err(|error| damaged(&error))?;
        unpack_entry(entry, &mut contents, tree, &mut buffer)?;
    }
    Ok(())
}

fn unpack_entry(
    entry: ZipFileEntry<'_>,
    contents: &mut BufReader<File>,
    tree: &mut Tree,
    buffer: &mut [u8],
) -> Result<(), Failure> {
    let name = entry.name().map_err(|error| damaged(&error))?.into_owned();
    let mode = entry.unix_mode().unwrap_or(0);
    let is_folder = name.ends_with('/') || mode & KIND == FOLDER;
    if !matches!(mode & KIND, 0 | FOLDER | PLAIN) {
        return Err(refused(format!(
            "its entry {name:?} is a link or a device, which is not unpacked; pack what it leads to"
        )));
    }
    let short = entry_name(&name);
    if is_folder && matches!(short, "" | ".") {
        return Ok(());
    }
    let short = RelativeName::folder(short).map_err(|error| bad_name(&name, &error))?;
    if is_folder {
        return tree.folder(&short);
    }
    if entry.encrypted() {
        return Err(refused(format!(
            "its entry {name:?} is protected by a password; pack it without one"
        )));
    }
    let file = FileEntry {
        size: entry.size(),
        executable: mode & 0o100 != 0,
        // The format keeps local time without a zone: whose, nobody knows.
        modified_ms: None,
    };
    tree.file(&short, file)?;
    let mut from = entry
        .with_reader(contents, ZipReadOptions::default())
        .map_err(|error| in_entry(&name, &error))?;
    loop {
        match from.read(buffer) {
            Ok(0) => break,
            Ok(read) => tree.bytes(&buffer[..read])?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(in_entry(&name, &error)),
        }
    }
    tree.close()
}

fn damaged(error: &ZipError) -> Failure {
    refused(format!("it is damaged or cut off: {error}"))
}

fn in_entry(name: &str, error: &dyn std::fmt::Display) -> Failure {
    refused(format!("its entry {name:?} cannot be unpacked: {error}"))
}

//! A tar, read as it comes: bytes go in, entries come out, nothing is kept.
//!
//! The crate `tar` reads the headers. What it would do with a whole stream is done here, because a
//! stream that arrives in pieces, stops in the middle and goes on after a restart cannot be pulled.

use ::tar::{EntryType, Header, PaxExtensions};
use halyard_protocol::transfer::{Failure, RelativeName};

use super::{FileEntry, Sink, refused};

/// Everything in a tar stands in blocks of this size.
pub(crate) const BLOCK: usize = 512;

/// Bytes of a long name or of extended attributes that are looked at. Names have 1 KiB at most.
const MAX_EXTENSION_BYTES: u64 = 64 * 1024;

/// Reads a tar from its first byte on.
#[derive(Debug)]
pub(crate) struct TarReader {
    state: State,
    block: [u8; BLOCK],
    filled: usize,
    position: u64,
    /// Said by an entry about the next one.
    next_name: Option<Vec<u8>>,
    next_size: Option<u64>,
}

#[derive(Debug)]
enum State {
    Header,
    Extension { kind: EntryType, size: usize, data: Vec<u8>, whole: usize },
    Body { left: u64, padding: usize },
    Padding { left: usize },
    Ended,
}

impl TarReader {
    pub(crate) fn new() -> Self {
        Self {
            state: State::Header,
            block: [0; BLOCK],
            filled: 0,
            position: 0,
            next_name: None,
            next_size: None,
        }
    }

    /// Bytes taken so far.
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    /// Takes what comes next.
    pub(crate) fn push(&mut self, mut bytes: &[u8], sink: &mut dyn Sink) -> Result<(), Failure> {
        while !bytes.is_empty() {
            let taken = match &mut self.state {
                State::Header => {
                    let taken = bytes.len().min(BLOCK - self.filled);
                    self.block[self.filled..self.filled + taken].copy_from_slice(&bytes[..taken]);
                    self.filled += taken;
                    if self.filled == BLOCK {
                        self.filled = 0;
                        self.header(sink)?;
                    }
                    taken
                }
                State::Extension { data, whole, .. } => {
                    let taken = bytes.len().min(*whole - data.len());
                    data.extend_from_slice(&bytes[..taken]);
                    if data.len() == *whole {
                        self.extension(sink)?;
                    }
                    taken
                }
                State::Body { left, padding } => {
                    let taken = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                    sink.bytes(&bytes[..taken])?;
                    *left -= taken as u64;
                    if *left == 0 {
                        self.state = after_body(*padding);
                        sink.close()?;
                    }
                    taken
                }
                State::Padding { left } => {
                    let taken = bytes.len().min(*left);
                    *left -= taken;
                    if *left == 0 {
                        self.state = State::Header;
                    }
                    taken
                }
                State::Ended => bytes.len(),
            };
            self.position += taken as u64;
            bytes = &bytes[taken..];
        }
        Ok(())
    }

    /// Nothing comes any more: says whether that was all of it.
    pub(crate) fn finish(&self) -> Result<(), Failure> {
        let whole = match self.state {
            State::Ended => true,
            // Some programs leave the end mark out.
            State::Header => self.filled == 0 && self.position > 0 && self.next_name.is_none(),
            _ => false,
        };
        if whole {
            return Ok(());
        }
        Err(refused(format!("it is cut off after {} bytes; send it again", self.position)))
    }

    fn header(&mut self, sink: &mut dyn Sink) -> Result<(), Failure> {
        let block = self.block;
        if block == [0; BLOCK] {
            sink.meta(&block)?;
            self.state = State::Ended;
            return Ok(());
        }
        let header = Header::from_byte_slice(&block);
        if !is_header(&block) {
            return Err(refused(format!("it is no tar, or damaged, at byte {}", self.position)));
        }
        let damaged = |what| refused(format!("it is damaged: an entry has no readable {what}"));
        let kind = header.entry_type();
        let size = header.entry_size().map_err(|_| damaged("size"))?;
        if matches!(kind, EntryType::GNULongName | EntryType::XHeader | EntryType::XGlobalHeader) {
            if size > MAX_EXTENSION_BYTES {
                return Err(refused(format!(
                    "it has {size} bytes of attributes before an entry, at most \
                     {MAX_EXTENSION_BYTES} are accepted"
                )));
            }
            sink.meta(&block)?;
            let size = size as usize;
            let whole = size.next_multiple_of(BLOCK);
            self.state = State::Extension { kind, size, data: Vec::with_capacity(whole), whole };
            if whole == 0 {
                self.extension(sink)?;
            }
            return Ok(());
        }
        let raw = self.next_name.take().unwrap_or_else(|| header.path_bytes().into_owned());
        let size = self.next_size.take().unwrap_or(size);
        let name = String::from_utf8(raw).map_err(|error| {
            let name = String::from_utf8_lossy(error.as_bytes()).into_owned();
            refused(format!("the name of its entry {name:?} is not UTF-8"))
        })?;
        let is_folder = kind.is_dir() || (kind.is_file() && name.ends_with('/'));
        if !is_folder && !kind.is_file() {
            return Err(refused(format!("its entry {name:?} is {}", kind_of(kind))));
        }
        let short = super::entry_name(&name);
        // The folder that everything is in has no name.
        let name = match short {
            "" | "." if is_folder => None,
            short => {
                Some(RelativeName::folder(short).map_err(|error| super::bad_name(&name, &error))?)
            }
        };
        sink.meta(&block)?;
        if is_folder {
            if let Some(name) = &name {
                sink.folder(name)?;
            }
            // Whatever it says: a folder has no bytes.
            if size != 0 {
                return Err(refused(format!("its folder {short:?} has bytes")));
            }
            return Ok(());
        }
        let Some(name) = name else { return Err(refused("it has an entry without a name")) };
        let executable = header.mode().is_ok_and(|mode| mode & 0o100 != 0);
        let modified_ms = header.mtime().ok().and_then(|seconds| seconds.checked_mul(1000));
        sink.file(&name, FileEntry { size, executable, modified_ms })?;
        if size == 0 {
            return sink.close();
        }
        let padding = padding(size);
        self.state = State::Body { left: size, padding };
        Ok(())
    }

    /// The block before an entry that says what did not fit into its header.
    fn extension(&mut self, sink: &mut dyn Sink) -> Result<(), Failure> {
        let State::Extension { kind, size, data, .. } =
            std::mem::replace(&mut self.state, State::Header)
        else {
            return Ok(());
        };
        sink.meta(&data)?;
        let data = &data[..size];
        if kind == EntryType::GNULongName {
            let name = data.split(|byte| *byte == 0).next().unwrap_or_default();
            self.next_name = Some(name.to_vec());
        } else if kind == EntryType::XHeader {
            for record in PaxExtensions::new(data) {
                let record =
                    record.map_err(|_| refused("it is damaged: attributes that cannot be read"))?;
                match record.key_bytes() {
                    b"path" => self.next_name = Some(record.value_bytes().to_vec()),
                    b"size" => {
                        let size = record.value().ok().and_then(|size| size.parse().ok());
                        self.next_size = Some(
                            size.ok_or_else(|| refused("it is damaged: a size that is none"))?,
                        );
                    }
                    key if key.starts_with(b"GNU.sparse.") => {
                        return Err(refused("it has sparse files, which are not unpacked"));
                    }
                    _ => {}
                }
            }
        }
        Ok(())
    }
}

/// Going on where an earlier try stopped: what is on the disk need not be pushed again.
impl TarReader {
    /// Counts bytes of the file at hand as taken; `true` when it is whole with them.
    pub(crate) fn skip_body(&mut self, bytes: u64) -> bool {
        let State::Body { left, padding } = &mut self.state else { return false };
        let bytes = bytes.min(*left);
        *left -= bytes;
        self.position += bytes;
        let whole = *left == 0;
        if whole {
            self.state = after_body(*padding);
        }
        whole
    }

    /// Counts the zeros behind a file as taken.
    pub(crate) fn skip_padding(&mut self) {
        if let State::Padding { left } = self.state {
            self.position += left as u64;
            self.state = State::Header;
        }
    }

    /// Forgets the beginning of an extension that is not whole, and says how many bytes that were.
    pub(crate) fn take_back_extension(&mut self) -> u64 {
        let State::Extension { data, .. } = &self.state else { return 0 };
        let bytes = (BLOCK + data.len()) as u64;
        self.position -= bytes;
        self.state = State::Header;
        bytes
    }
}

/// Zeros behind a file of this size.
pub(crate) fn padding(size: u64) -> usize {
    (size.wrapping_neg() % BLOCK as u64) as usize
}

fn after_body(padding: usize) -> State {
    if padding == 0 { State::Header } else { State::Padding { left: padding } }
}

/// Whether a block is a header: its sum is right.
pub(crate) fn is_header(block: &[u8; BLOCK]) -> bool {
    let expected = Header::from_byte_slice(block).cksum();
    let sum =
        |range: std::ops::Range<usize>| -> u32 { block[range].iter().map(|b| u32::from(*b)).sum() };
    expected.is_ok_and(|expected| expected == sum(0..148) + 8 * u32::from(b' ') + sum(156..BLOCK))
}

fn kind_of(kind: EntryType) -> &'static str {
    match kind {
        EntryType::Symlink | EntryType::GNULongLink => {
            "a link, which is never followed; pack what it leads to (tar --dereference)"
        }
        EntryType::Link => "a second name of a file; pack it as a file (tar --hard-dereference)",
        EntryType::Char | EntryType::Block => "a device, which is not unpacked",
        EntryType::Fifo => "a pipe, which is not unpacked",
        EntryType::GNUSparse => "a sparse file, which is not unpacked; pack it without --sparse",
        _ => "neither a file nor a folder",
    }
}

/// Reads the whole of a tar from a file or a decompressor.
pub(super) fn read(
    mut from: impl std::io::Read,
    sink: &mut dyn Sink,
    mut failed: impl FnMut(&std::io::Error) -> Failure,
) -> Result<(), Failure> {
    let mut reader = TarReader::new();
    let mut buffer = vec![0; super::COPY_BYTES];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return reader.finish(),
            Ok(read) => reader.push(&buffer[..read], sink)?,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(failed(&error)),
        }
        // What stands behind the end is nobody's; a stream of it could be endless.
        if matches!(reader.state, State::Ended) {
            return Ok(());
        }
    }
}

//! Whether a file will fit, asked before its first byte is taken.

use std::fs::File;

use halyard_protocol::{channel::FileErrorCode, transfer::Failure};

/// Refuses when the file system of `file` has less than `wanted` bytes for us.
#[cfg(unix)]
pub(super) fn check(file: &File, wanted: u64, name: &str) -> Result<(), Failure> {
    // Some network and virtual file systems tell nothing, or zero of zero; then writing will tell.
    let Ok(disk) = rustix::fs::fstatvfs(file) else { return Ok(()) };
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    if disk.f_blocks == 0 || wanted <= free {
        return Ok(());
    }
    Err(Failure::new(
        FileErrorCode::NoSpace,
        format!(
            "cannot write {name:?}: {wanted} more bytes are needed, the disk there has {free} free; \
             make room and send it again"
        ),
    ))
}

/// Elsewhere, writing will tell.
#[cfg(not(unix))]
#[expect(clippy::unnecessary_wraps, reason = "other systems do refuse")]
pub(super) fn check(_: &File, _: u64, _: &str) -> Result<(), Failure> {
    Ok(())
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_file_larger_than_the_disk_is_refused_with_both_numbers() {
        let file = tempfile::tempfile().expect("a temporary file");
        check(&file, 1, "small.bin").expect("one byte fits");
        let failure = check(&file, u64::MAX, "huge.bin").expect_err("no disk is that large");
        assert_eq!(failure.code, FileErrorCode::NoSpace);
        assert!(failure.message.contains("18446744073709551615 more bytes"), "{failure}");
        assert!(failure.message.contains("\"huge.bin\""), "{failure}");
    }
}

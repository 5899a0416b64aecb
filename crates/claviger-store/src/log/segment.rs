//! A file that only grows, with room reserved ahead of its end.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::Errno;

/// Room is reserved in steps, so that most appends need no system call for it.
const STEP: u64 = 1024 * 1024;

/// One of a directory's numbered files, the last of which is being written.
pub(super) struct Segment {
    file: Arc<File>,
    number: u64,
    length: u64,
    /// Up to here the file system has promised room.
    reserved: u64,
}

impl Segment {
    /// Creates the file `number`, and makes its name durable.
    pub(super) fn create(dir: &Path, number: u64, extension: &str) -> io::Result<Self> {
        let path = file_path(dir, number, extension);
        let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path)?;
        sync_dir(dir)?;
        Ok(Self { file: Arc::new(file), number, length: 0, reserved: 0 })
    }

    /// Opens the file `number` and cuts off what follows its first `length` bytes.
    pub(super) fn open(dir: &Path, number: u64, extension: &str, length: u64) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).open(file_path(dir, number, extension))?;
        // Even to the same length, this would give back what a killed process had reserved.
        if file.metadata()?.len() != length {
            file.set_len(length)?;
            file.sync_data()?;
        }
        Ok(Self { file: Arc::new(file), number, length, reserved: length })
    }

    pub(super) fn file(&self) -> &Arc<File> {
        &self.file
    }

    pub(super) fn number(&self) -> u64 {
        self.number
    }

    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// Makes sure that the file can grow by `bytes` without asking for room.
    pub(super) fn reserve(&mut self, bytes: u64) -> io::Result<()> {
        let end = self.length.saturating_add(bytes);
        if end <= self.reserved {
            return Ok(());
        }
        match self.allocate(end.next_multiple_of(STEP)) {
            Err(error) if is_full(&error) => self.allocate(end),
            other => other,
        }
    }

    fn allocate(&mut self, end: u64) -> io::Result<()> {
        loop {
            match fallocate(&*self.file, FallocateFlags::KEEP_SIZE, self.reserved, end - self.reserved) {
                Ok(()) => self.reserved = end,
                Err(Errno::INTR) => continue,
                // A file system that cannot promise: writes then find out.
                Err(Errno::OPNOTSUPP | Errno::NOSYS) => self.reserved = u64::MAX,
                Err(error) => return Err(error.into()),
            }
            return Ok(());
        }
    }

    /// Appends all the bytes or none of them.
    pub(super) fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let Err(error) = self.file.write_all_at(bytes, self.length) {
            self.cut(self.length)?;
            return Err(error);
        }
        self.length += bytes.len() as u64;
        self.reserved = self.reserved.max(self.length);
        Ok(())
    }

    /// Takes back what was appended beyond `length`, and with it the room reserved.
    pub(super) fn cut(&mut self, length: u64) -> io::Result<()> {
        self.file.set_len(length)?;
        self.length = length;
        self.reserved = length;
        Ok(())
    }

    /// Makes the file durable and gives back the room that it does not need.
    pub(super) fn finish(&mut self) -> io::Result<()> {
        self.cut(self.length)?;
        self.file.sync_data()
    }
}

/// Whether an error says that there is no room, which passes, rather than that the storage is broken, which does not.
pub(super) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge)
}

pub(super) fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// Where the file `number` is. Twenty digits hold any number, so that names sort as numbers do.
pub(super) fn file_path(dir: &Path, number: u64, extension: &str) -> PathBuf {
    dir.join(format!("{number:020}.{extension}"))
}

/// The numbers of a directory's files, in order.
pub(super) fn numbers(dir: &Path, extension: &str) -> io::Result<Vec<u64>> {
    let mut numbers = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let name = entry?.file_name();
        let number = name.to_str().and_then(|name| name.strip_suffix(extension)?.strip_suffix('.')?.parse::<u64>().ok());
        numbers.extend(number);
    }
    numbers.sort_unstable();
    Ok(numbers)
}

//! Log files, plain or packed, as lines; and their order in time.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::line;

/// The longest line that is read; of a longer one the rest is passed over.
const LONGEST: usize = 64 << 10;

/// The name that stands for standard input.
const STDIN: &str = "-";

/// Lines that are looked at to find out when a log begins.
const PROBED: usize = 1_000;

/// A log that can be read.
pub(super) struct Input {
    reader: Box<dyn BufRead>,
}

impl Input {
    /// Opens a file, or standard input for `-`. What is read of it is added to `progress`, in bytes
    /// as they lie on the disk.
    pub(super) fn open(path: &Path, progress: &Arc<AtomicU64>) -> io::Result<Self> {
        let raw: Box<dyn Read> = match path == Path::new(STDIN) {
            true => Box::new(io::stdin()),
            false => Box::new(File::open(path)?),
        };
        let counted = Counted { inner: raw, progress: Arc::clone(progress) };
        let mut raw = BufReader::with_capacity(256 << 10, counted);
        let start = raw.fill_buf()?;
        let reader: Box<dyn BufRead> = if start.starts_with(&[0x1f, 0x8b]) {
            Box::new(BufReader::with_capacity(256 << 10, flate2::bufread::MultiGzDecoder::new(raw)))
        } else if start.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
            let decoder = zstd::stream::read::Decoder::with_buffer(raw)?;
            Box::new(BufReader::with_capacity(256 << 10, decoder))
        } else {
            Box::new(raw)
        };
        Ok(Self { reader })
    }

    /// Reads the next line into `line`, without its end; false after the last.
    pub(super) fn next(&mut self, line: &mut Vec<u8>) -> io::Result<bool> {
        line.clear();
        let mut begun = false;
        loop {
            let available = match self.reader.fill_buf() {
                Ok(available) => available,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            if available.is_empty() {
                return Ok(begun);
            }
            begun = true;
            let end = memchr::memchr(b'\n', available);
            let part = available.get(..end.unwrap_or(available.len())).unwrap_or_default();
            let room = LONGEST.saturating_sub(line.len()).min(part.len());
            line.extend_from_slice(part.get(..room).unwrap_or_default());
            let read = part.len() + usize::from(end.is_some());
            self.reader.consume(read);
            if end.is_some() {
                return Ok(true);
            }
        }
    }
}

/// Counts what is read.
struct Counted {
    inner: Box<dyn Read>,
    progress: Arc<AtomicU64>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.progress.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

/// The files in the order of their first entries: rotated logs are named youngest first.
pub(super) fn in_order(paths: &[PathBuf]) -> io::Result<Vec<PathBuf>> {
    let begin = |path: &PathBuf| -> io::Result<Option<u64>> {
        if path == Path::new(STDIN) {
            return Ok(None); // it can be read only once
        }
        let mut input = Input::open(path, &Arc::default())?;
        let mut text = Vec::new();
        for _ in 0..PROBED {
            // A file that is damaged is read as far as it can be.
            if !input.next(&mut text).unwrap_or(false) {
                break;
            }
            if let Some(entry) = line::parse(&text) {
                return Ok(Some(entry.time));
            }
        }
        Ok(None)
    };
    let mut begins = Vec::new();
    for path in paths {
        let began = begin(path).map_err(|error| of(path, &error))?;
        begins.push((began, path.clone()));
    }
    begins.sort_by_key(|(began, _)| *began);
    Ok(begins.into_iter().map(|(_, path)| path).collect())
}

/// An error, and whose it is.
pub(super) fn of(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

/// The bytes of all files; `None` if that cannot be known.
pub(super) fn total(paths: &[PathBuf]) -> Option<u64> {
    paths.iter().map(|path| std::fs::metadata(path).ok().map(|file| file.len())).sum()
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn lines(path: &Path) -> Vec<Vec<u8>> {
        let mut input = Input::open(path, &Arc::default()).unwrap();
        let (mut all, mut line) = (Vec::new(), Vec::new());
        while input.next(&mut line).unwrap() {
            all.push(line.clone());
        }
        all
    }

    #[test]
    fn packed_files_read_like_plain_ones() {
        let folder = tempfile::tempdir().unwrap();
        let text = b"one\ntwo\n\nfour";
        let expected: Vec<_> = text.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
        let plain = folder.path().join("plain");
        std::fs::write(&plain, text).unwrap();
        assert_eq!(lines(&plain), expected);
        let packed = folder.path().join("gz");
        let mut gzip =
            flate2::write::GzEncoder::new(File::create(&packed).unwrap(), Default::default());
        gzip.write_all(text).unwrap();
        gzip.finish().unwrap();
        assert_eq!(lines(&packed), expected);
        let packed = folder.path().join("zst");
        std::fs::write(&packed, zstd::encode_all(&text[..], 1).unwrap()).unwrap();
        assert_eq!(lines(&packed), expected);
    }

    #[test]
    fn a_line_without_end_does_not_fill_memory() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("long");
        let mut text = vec![b'a'; 3 * LONGEST];
        text.extend_from_slice(b"\nnext\n");
        std::fs::write(&path, &text).unwrap();
        let lines = lines(&path);
        assert_eq!((lines[0].len(), lines[1].as_slice()), (LONGEST, &b"next"[..]));
    }

    #[test]
    fn files_are_put_in_the_order_of_time() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str, hour: u8| {
            let path = folder.path().join(name);
            let time = format!("24/Nov/2026:{hour:02}:00:00 +0000");
            let line = format!("noise\n192.0.2.1 - - [{time}] \"GET / HTTP/1.1\" 200 1\n");
            std::fs::write(&path, line).unwrap();
            path
        };
        let (young, old, older) = (at("log", 12), at("log.1", 11), at("log.2", 10));
        let ordered = in_order(&[young.clone(), old.clone(), older.clone()]).unwrap();
        assert_eq!(ordered, [older, old, young]);
        assert!(in_order(&[folder.path().join("none")]).is_err());
    }
}

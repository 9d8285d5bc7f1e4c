//! Memory for the bytes of many small files, which is used again when those are gone.

use bytes::{Bytes, BytesMut};
use proto::limits;
use std::{
    collections::VecDeque,
    fs::File,
    io::{self, Read as _},
};

/// Bytes of a page: those of a batch, more or less.
const PAGE: usize = 4 << 20;
const _: () = assert!(limits::MAX_BATCH_BYTES < PAGE as u64);

/// Pages with files on them, which may have been sent by now; on the last one there is room. Without them
/// each file has memory of its own, which two threads make and free, and the system gives and takes back.
#[derive(Debug, Default)]
pub(super) struct Pages(VecDeque<BytesMut>);

impl Pages {
    /// The bytes of a file, of which there should be `size`, in one piece; a byte more if there are more. A file that is as
    /// long as it says costs one call.
    pub(super) fn read(&mut self, mut file: &File, size: usize) -> io::Result<Bytes> {
        let page = self.page(size + 1);
        page.resize(size + 1, 0);
        let mut filled = 0;
        loop {
            match file.read(&mut page[filled..]) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    page.clear();
                    return Err(error);
                }
            }
            // Of files the system gives all that there is.
            if filled >= size {
                break;
            }
        }
        page.truncate(filled);
        Ok(page.split().freeze())
    }

    /// One with room for so many bytes, and none on it that are not given away.
    fn page(&mut self, room: usize) -> &mut BytesMut {
        let has_room = |page: &BytesMut| page.capacity() - page.len() >= room;
        if !self.0.back().is_some_and(has_room) {
            // What nobody has bytes of any more.
            let free = self.0.iter_mut().position(|page| page.try_reclaim(PAGE.max(room)));
            let page = free.and_then(|free| self.0.remove(free));
            self.0.push_back(page.unwrap_or_else(|| BytesMut::with_capacity(PAGE.max(room))));
        }
        self.0.back_mut().expect("one was added")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs, io::Seek as _};

    fn file(bytes: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        io::Write::write_all(&mut file, bytes).unwrap();
        file.rewind().unwrap();
        file
    }

    #[test]
    fn files_lie_on_pages_one_behind_the_other() {
        let mut pages = Pages::default();
        let (one, other) = (pages.read(&file(b"one"), 3).unwrap(), pages.read(&file(b"other"), 5).unwrap());
        assert_eq!((&one[..], &other[..]), (&b"one"[..], &b"other"[..]));
        assert_eq!(one.as_ptr_range().end, other.as_ptr());
        // A longer file shows, a shorter one, too.
        assert_eq!(pages.read(&file(b"longer"), 3).unwrap(), &b"long"[..]);
        assert_eq!(pages.read(&file(b"short"), 9).unwrap(), &b"short"[..]);
        assert_eq!(pages.read(&file(b""), 0).unwrap(), &b""[..]);
        assert_eq!(one, &b"one"[..]);
    }

    #[test]
    fn pages_are_used_again_when_their_files_are_gone() {
        let mut pages = Pages::default();
        let large = file(&vec![7; PAGE / 2 + 1]);
        let mut read = |kept: &mut VecDeque<Bytes>| {
            (&large).rewind().unwrap();
            kept.push_back(pages.read(&large, PAGE / 2 + 1).unwrap());
            pages.0.len()
        };
        let mut kept = VecDeque::new();
        assert_eq!([read(&mut kept), read(&mut kept), read(&mut kept)], [1, 2, 3]);
        for _ in 0..10 {
            kept.pop_front();
            assert_eq!(read(&mut kept), 3);
        }
        assert!(kept.iter().all(|bytes| bytes.iter().all(|byte| *byte == 7)));
    }

    #[test]
    fn files_that_say_nothing_of_their_size_show_by_a_byte_more() {
        let kernel = fs::File::open("/proc/self/status").unwrap();
        assert_eq!(Pages::default().read(&kernel, 0).unwrap().len(), 1);
    }
}

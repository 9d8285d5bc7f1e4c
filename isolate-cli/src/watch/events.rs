//! What the kernel's queue says, taken apart. Pure.

use rustix::fs::inotify::ReadFlags;

/// One event.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Event<'a> {
    /// Which watch it is of.
    pub(super) watch: i32,
    pub(super) what: ReadFlags,
    /// What it happened to in the directory; empty for the directory itself.
    pub(super) name: &'a [u8],
}

/// Bytes of an event before its name: watch, flags, cookie and length of the name, 32 bits each.
const HEAD: usize = 16;

/// The events in what was read at once, which is always whole events.
pub(super) fn events(mut bytes: &[u8]) -> impl Iterator<Item = Event<'_>> {
    std::iter::from_fn(move || {
        let (head, rest) = bytes.split_first_chunk::<HEAD>()?;
        let (numbers, _) = head.as_chunks::<4>();
        let [watch, what, _, length] = [0, 1, 2, 3].map(|at| u32::from_ne_bytes(numbers[at]));
        let (name, rest) = rest.split_at_checked(usize::try_from(length).ok()?)?;
        bytes = rest;
        // Filled up with zeroes.
        let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
        Some(Event { watch: watch.cast_signed(), what: ReadFlags::from_bits_retain(what), name })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(watch: i32, what: ReadFlags, name: &[u8], length: u32) -> Vec<u8> {
        let numbers = [watch.cast_unsigned(), what.bits(), 7, length];
        let mut bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_ne_bytes()).collect();
        bytes.extend_from_slice(name);
        bytes.resize(HEAD + length as usize, 0);
        bytes
    }

    #[test]
    fn events_are_taken_apart_and_what_is_cut_is_none() {
        let bytes = [
            written(3, ReadFlags::CREATE | ReadFlags::ISDIR, b"name", 16),
            written(-1, ReadFlags::QUEUE_OVERFLOW, b"", 0),
            written(4, ReadFlags::MODIFY, b"\xffx", 16),
        ]
        .concat();
        let expected = [
            Event { watch: 3, what: ReadFlags::CREATE | ReadFlags::ISDIR, name: b"name" },
            Event { watch: -1, what: ReadFlags::QUEUE_OVERFLOW, name: b"" },
            Event { watch: 4, what: ReadFlags::MODIFY, name: b"\xffx" },
        ];
        assert!(events(&bytes).eq(expected));
        for cut in 0..bytes.len() {
            assert!(events(&bytes[..cut]).count() < 3);
        }
    }
}

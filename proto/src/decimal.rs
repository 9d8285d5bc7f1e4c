//! Numbers in names and texts that are written in one way only.

use std::str::FromStr;

/// A whole number as numbers are written: neither a sign nor zeros before it. What is read so is written again as it was, and
/// no two texts name the same thing.
pub fn decimal<T: FromStr>(text: &str) -> Option<T> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let shortest = text == "0" || !text.starts_with('0');
    (digits && shortest).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn signs_and_zeros_before_it_make_it_none() {
        assert_eq!([decimal("0"), decimal("255")], [Some(0_u8), Some(255)]);
        for bad in ["", "+3", "-3", "03", "00", " 3", "3 ", "256", "٣", "0x3"] {
            assert_eq!(decimal::<u8>(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn what_is_read_is_written_so(text in "[+-]?[0-9]{0,12}") {
            prop_assert!(decimal::<u64>(&text).is_none_or(|number| number.to_string() == text));
        }
    }
}

//! How messages of gRPC lie in the frames of HTTP/2, for those who send or take the bytes of blobs without a copy of them.
//!
//! See gRPC over HTTP/2, "Length-Prefixed-Message", and the ByteStream API.

use bytes::{BufMut as _, Bytes, BytesMut};
use prost::Message;

/// Bytes before a message: one that says whether it is compressed, and its length in four.
pub const PREFIX: usize = 5;

/// The method that answers with a blob, as the path of a request.
pub const READ: &str = "/google.bytestream.ByteStream/Read";

/// The number of the field `data` of its [`ReadResponse`](crate::bytestream::ReadResponse).
pub const READ_DATA: u32 = 10;

/// What stands before a message of so many bytes, which is not compressed. No message of ours is as long as four bytes cannot tell.
pub fn prefix(length: usize) -> [u8; PREFIX] {
    let [a, b, c, d] = u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes();
    [0, a, b, c, d]
}

/// A whole message with what stands before it.
pub fn framed(message: &impl Message) -> Bytes {
    let length = message.encoded_len();
    let mut framed = BytesMut::with_capacity(PREFIX + length);
    framed.put_slice(&prefix(length));
    framed.put_slice(&message.encode_to_vec());
    framed.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bytestream::ReadResponse;

    #[test]
    fn a_message_lies_behind_its_length() {
        let message = ReadResponse { data: vec![7; 300].into() };
        let framed = framed(&message);
        assert_eq!(&framed[..PREFIX], [0, 0, 0, 1, 47]);
        assert_eq!(ReadResponse::decode(&framed[PREFIX..]).unwrap(), message);
        // Field and kind, as one number.
        assert_eq!(u32::from(framed[PREFIX]), READ_DATA << 3 | 2);
    }
}

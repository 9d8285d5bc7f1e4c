//! How messages of the public protocols, which may be full of blobs, become bytes and come of them.

use bytes::Buf as _;
use prost::{DecodeError, Message};
use std::marker::PhantomData;
use tonic::{
    Status,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
};

/// Protobuf as tonic's own codec has it, for large messages whose blobs are parts of the bytes that came.
#[derive(Debug)]
pub(crate) struct WholeCodec<T, U>(PhantomData<(T, U)>);

/// Writes a message into room that is as large as it has to be from the start: otherwise it grows, and is copied, until a
/// batch of several megabytes fits into it.
#[derive(Debug)]
pub(crate) struct WholeEncoder<T>(PhantomData<T>);

/// Reads a message that keeps no more than twice its own size in memory.
#[derive(Debug)]
pub(crate) struct WholeDecoder<T>(PhantomData<T>);

impl<T, U> Default for WholeCodec<T, U> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T, U> Codec for WholeCodec<T, U>
where
    T: Message + Send + 'static,
    U: Message + Default + Send + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = WholeEncoder<T>;
    type Decoder = WholeDecoder<U>;

    fn encoder(&mut self) -> Self::Encoder {
        WholeEncoder(PhantomData)
    }

    fn decoder(&mut self) -> Self::Decoder {
        WholeDecoder(PhantomData)
    }
}

impl<T: Message> Encoder for WholeEncoder<T> {
    type Item = T;
    type Error = Status;

    fn encode(&mut self, message: T, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        to.reserve(message.encoded_len());
        message.encode(to).map_err(|error| Status::internal(error.to_string()))
    }
}

impl<T: Message + Default> Decoder for WholeDecoder<T> {
    type Item = T;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<T>, Status> {
        let came = from.remaining();
        let message = T::decode(from).and_then(|message| compact(message, came));
        message.map(Some).map_err(|error| Status::internal(error.to_string()))
    }
}

/// A message of which little is left of `came` bytes, the rest being fields that nobody knows, or the same ones again and
/// again: a blob in it would hold all of these. It is made anew.
fn compact<T: Message + Default>(message: T, came: usize) -> Result<T, DecodeError> {
    if message.encoded_len() >= came / 2 { Ok(message) } else { T::decode(&*message.encode_to_vec()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reapi::{BatchUpdateBlobsRequest, batch_update_blobs_request::Request};
    use bytes::Bytes;

    /// What is decoded of these bytes, and whether its blob is a part of them.
    fn decode(wire: &Bytes) -> (BatchUpdateBlobsRequest, bool) {
        let message = BatchUpdateBlobsRequest::decode(wire.clone()).unwrap();
        let message = compact(message, wire.len()).unwrap();
        let is_part = wire.as_ptr_range().contains(&message.requests[0].data.as_ptr());
        (message, is_part)
    }

    #[test]
    fn blobs_are_parts_of_the_message_unless_it_is_much_larger_than_they_are() {
        let blob = Request { data: Bytes::from(vec![7; 1000]), ..Request::default() };
        let message = BatchUpdateBlobsRequest { requests: vec![blob], ..BatchUpdateBlobsRequest::default() };
        let wire = Bytes::from(message.encode_to_vec());
        assert_eq!(decode(&wire), (message.clone(), true));
        // Field 1000, which there is none of.
        let junk = [&[0xc2, 0x3e, 0xf0, 0x2e][..], &[0; 6000]].concat();
        let padded = Bytes::from([&wire[..], &junk].concat());
        assert_eq!(decode(&padded), (message, false));
    }
}

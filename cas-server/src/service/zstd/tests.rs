use super::*;
use futures::TryStreamExt as _;
use proptest::prelude::*;

fn chunks(bytes: &[u8], len: usize) -> ByteStream {
    let chunks: Vec<_> = bytes.chunks(len.max(1)).map(|chunk| Ok(Bytes::copy_from_slice(chunk))).collect();
    stream::iter(chunks).boxed()
}

async fn all(stream: Result<ByteStream>) -> Result<Vec<u8>> {
    Ok(stream?.try_collect::<Vec<_>>().await?.concat())
}

async fn compressed(bytes: &[u8], chunk: usize) -> Vec<u8> {
    all(Zstd::new(0).compress(chunks(bytes, chunk), bytes.len() as u64).await).await.unwrap()
}

async fn decompressed(bytes: &[u8], chunk: usize) -> Result<Vec<u8>> {
    all(Zstd::new(0).decompress(chunks(bytes, chunk)).await).await
}

fn run<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn what_is_compressed_comes_back(
        unit in proptest::collection::vec(any::<u8>(), 1..5000),
        times in 0..1000usize,
        (there, back) in (1..300_000usize, 1..300_000usize),
    ) {
        let bytes = unit.repeat(times);
        run(async {
            let frame = compressed(&bytes, there).await;
            // By other implementations of the format, too, which need the size in the frame.
            assert_eq!(zstd::bulk::decompress(&frame, bytes.len()).unwrap(), bytes);
            assert_eq!(zstd::zstd_safe::get_frame_content_size(&frame).unwrap(), Some(bytes.len() as u64));
            assert!(decompressed(&frame, back).await.unwrap() == bytes);
            assert!(bytes.len() < 100_000 || times < 100 || frame.len() < bytes.len() / 2);
        });
    }

    #[test]
    fn frames_that_are_cut_and_garbage_are_refused(
        bytes in proptest::collection::vec(any::<u8>(), 0..5000),
        garbage in proptest::collection::vec(any::<u8>(), 1..100),
        cut in any::<proptest::sample::Index>(),
    ) {
        run(async {
            let frame = compressed(&bytes, 1000).await;
            let cut = cut.index(frame.len());
            let truncated = decompressed(&frame[..cut], 700).await;
            assert!(matches!(truncated, Err(Error::Invalid { .. })), "{truncated:?}");
            if let Ok(other) = decompressed(&garbage, 700).await {
                // Skippable frames, or one that happens to be right.
                assert!(other.len() <= garbage.len());
            }
            let trailing = [&frame[..], b"trailing"].concat();
            assert!(matches!(decompressed(&trailing, 700).await, Err(Error::Invalid { .. })));
        });
    }
}

#[tokio::test]
async fn frames_one_after_the_other_are_one_stream() {
    let (one, two) = (vec![1; 100_000], vec![2; 3_000_000]);
    let frames =
        [compressed(&one, 9999).await, compressed(&[], 1).await, compressed(&two, 9999).await].concat();
    for chunk in [1, 10, 100_000] {
        assert!(decompressed(&frames, chunk).await.unwrap() == [&one[..], &two].concat());
    }
    assert!(matches!(decompressed(&[], 1).await, Err(Error::Invalid { .. })), "no frame at all");
}

#[tokio::test]
async fn a_bomb_gives_a_step_at_a_time() {
    let frame = compressed(&vec![0; 64 << 20], 1 << 20).await;
    assert!(frame.len() < 10_000);
    let mut stream = Zstd::new(0).decompress(chunks(&frame, frame.len())).await.unwrap();
    assert!(stream.next().await.unwrap().unwrap().len() <= STEP);
    assert!(decompress_blob(&frame, 1 << 20).is_err());
}

#[tokio::test]
async fn windows_that_take_too_much_memory_are_refused() {
    let mut encoder = zstd::bulk::Compressor::new(1).unwrap();
    encoder.set_parameter(CParameter::WindowLog(26)).unwrap();
    encoder.set_parameter(CParameter::ContentSizeFlag(false)).unwrap();
    let frame = encoder.compress(&vec![7; 100 << 20]).unwrap();
    assert!(matches!(decompressed(&frame, 1000).await, Err(Error::Invalid { .. })));
}

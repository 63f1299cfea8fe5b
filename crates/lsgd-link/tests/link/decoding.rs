//! What a decoder must do with any bytes.

use lsgd_core::Status;
use lsgd_link::{ChunkRequest, Hello};

/// Refuses them, or reads what is written the same again.
pub fn decode_all(bytes: &[u8]) {
    if let Ok(status) = Status::decode(bytes) {
        assert_eq!(status.encode(), bytes);
    }
    if let Ok(hello) = Hello::decode(bytes) {
        // Its keys may have come in another order, or twice.
        assert_eq!(Hello::decode(&hello.encode()), Ok(hello));
    }
    if let Ok(request) = ChunkRequest::decode(bytes) {
        assert_eq!(request.encode(), bytes);
        for values in [0, 1, 1 << 15, 15_000_000, usize::MAX] {
            if let Ok(range) = request.range(values) {
                assert!(range.end <= values && range.len() <= ChunkRequest::MAX_VALUES);
                assert!(!range.is_empty());
            }
        }
    }
}

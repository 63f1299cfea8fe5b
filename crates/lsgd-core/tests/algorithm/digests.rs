//! What is said of a layout and its vectors: digests, which people compare by eye and look for in
//! logs, and lengths.

use lsgd_core::{Layout, SnapshotDigest};

use crate::setting::{Point, snapshot};

#[test]
fn a_digest_is_written_in_hexadecimal() {
    let mut bytes = [0; 32];
    (bytes[0], bytes[1], bytes[31]) = (0xab, 0x01, 0xff);
    let written = format!("ab01{}ff", "00".repeat(29));
    let digest = SnapshotDigest(bytes);
    assert_eq!(digest.to_string(), written);
    assert_eq!(format!("{digest:?}"), format!("SnapshotDigest({written})"));
}

#[test]
fn a_layouts_digest_is_written_in_hexadecimal() {
    let digest = |len| Layout::of(&Point::at(&vec![0.0; len])).digest();
    let written = digest(1).to_string();
    let hexadecimal = |digit: char| matches!(digit, '0'..='9' | 'a'..='f');
    assert!(written.len() == 64 && written.chars().all(hexadecimal));
    assert_ne!(digest(2).to_string(), written);
    assert_eq!(
        format!("{:?}", digest(1)),
        format!("LayoutDigest({written})")
    );
}

/// Vectors are named by their values alone, whosever they are.
#[test]
fn equal_values_have_one_name() {
    let digest = |worker, x: [f32; 2]| snapshot(worker, 1, &x).digest();
    assert_eq!(digest(0, [1.0, 2.0]), digest(3, [1.0, 2.0]));
    assert_ne!(digest(0, [1.0, 2.0]), digest(0, [2.0, 1.0]));
    assert_ne!(digest(0, [0.0, 2.0]), digest(0, [-0.0, 2.0]));
}

/// A tensor without elements has its place in a layout.
#[test]
fn an_entry_is_empty_if_it_has_no_elements() {
    for len in [0, 1, 2] {
        let layout = Layout::of(&Point::at(&vec![0.0; len]));
        let [entry] = layout.parameters() else {
            panic!("one tensor");
        };
        assert_eq!((entry.len(), entry.is_empty()), (len, len == 0));
    }
}

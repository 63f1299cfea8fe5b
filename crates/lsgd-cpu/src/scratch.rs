//! Memory that is kept from call to call.

use std::cell::RefCell;

thread_local! {
    /// Planes, vectors and packed weights, kept from call to call: clearing new memory for each
    /// takes longer than most of the work done in it.
    static SCRATCH: RefCell<[Vec<f32>; 2]> = const { RefCell::new([Vec::new(), Vec::new()]) };
}

/// Bytes of a cache line. A vector that lies across two takes two accesses.
const LINE: usize = 64;

/// Two slices of these lengths that begin with a cache line, with arbitrary contents.
pub(crate) fn with_scratch<R>(
    lengths: [usize; 2],
    act: impl FnOnce(&mut [f32], &mut [f32]) -> R,
) -> R {
    // Taken out while in use, so that a nested call on the same thread gets its own.
    let [mut first, mut second] = SCRATCH.take();
    let result = act(
        aligned(&mut first, lengths[0]),
        aligned(&mut second, lengths[1]),
    );
    SCRATCH.replace([first, second]);
    result
}

/// The first values of a buffer, as many as asked for, from the first cache line on.
fn aligned(buffer: &mut Vec<f32>, length: usize) -> &mut [f32] {
    let more = LINE / size_of::<f32>();
    if buffer.len() < length + more {
        buffer.resize(length + more, 0.0);
    }
    // At most `more` on any real machine, but the function promises nothing.
    let first = buffer.as_ptr().align_offset(LINE).min(more);
    &mut buffer[first..first + length]
}

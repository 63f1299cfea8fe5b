//! Changes inside files that have a header, checksums or compression around their content.

use std::io::{Read, Write};

use flate2::read::GzDecoder;
use flate2::write::{GzEncoder, ZlibEncoder};
use flate2::{Compression, Crc};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use serde_json::Value;

use super::{binary, json, text};

/// A safetensors file with another header; its length is made to fit, mostly.
pub fn safetensors(file: &[u8], random: &mut ChaCha8Rng) -> Option<Vec<u8>> {
    let (length, rest) = file.split_first_chunk::<8>()?;
    let (header, data) =
        rest.split_at_checked(usize::try_from(u64::from_le_bytes(*length)).ok()?)?;
    let header: Value = serde_json::from_slice(header).ok()?;
    let header = json::written(&json::changed_value(header, random), random);
    let length = match random.random_bool(0.9) {
        true => header.len() as u64,
        false => random.random(),
    };
    let mut data = data.to_vec();
    if random.random_bool(0.2) {
        data = binary::changed(data, &[], random);
    }
    Some([&length.to_le_bytes()[..], &header, &data].concat())
}

/// A burnpack file (Burn's own format) with another header: magic number, version, length, CBOR.
pub fn burnpack(file: &[u8], random: &mut ChaCha8Rng) -> Option<Vec<u8>> {
    let (start, rest) = file.split_first_chunk::<10>()?;
    let length = u32::from_le_bytes(start[6..].try_into().ok()?);
    let (header, data) = rest.split_at_checked(length as usize)?;
    let header: Value = ciborium::from_reader(header).ok()?;
    let text = json::written(&json::changed_value(header, random), random);
    // What JSON cannot say, such as a number that is out of range, is left as it was.
    let header: Value = serde_json::from_slice(&text).ok()?;
    let mut encoded = Vec::new();
    ciborium::into_writer(&header, &mut encoded).ok()?;
    let length = match random.random_bool(0.95) {
        true => encoded.len() as u32,
        false => random.random(),
    };
    // Tensors begin at a multiple of 256 bytes.
    let begins = |header: usize| (10 + header).div_ceil(256) * 256 - 10 - header;
    let padding = vec![0; begins(encoded.len())];
    let mut data = data.get(begins(rest.len() - data.len())..)?.to_vec();
    if random.random_bool(0.2) {
        data = binary::changed(data, &[], random);
    }
    let length = length.to_le_bytes();
    Some([&start[..6], &length[..], &encoded, &padding, &data].concat())
}

/// Bytes in the gzip format.
pub fn gzipped(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).expect("memory can be written");
    encoder.finish().expect("memory can be written")
}

/// A tar archive of these files.
pub fn tar_of(files: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for (name, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        archive
            .append_data(&mut header, name, &content[..])
            .expect("memory can be written");
    }
    archive.into_inner().expect("memory can be written")
}

/// A gzip file whose content is changed: a tar archive in a field of a header, text line by line. Now and
/// then the content is very long.
pub fn gzip(file: &[u8], valid: &[Vec<u8>], random: &mut ChaCha8Rng) -> Option<Vec<u8>> {
    let mut content = Vec::new();
    GzDecoder::new(file).read_to_end(&mut content).ok()?;
    let is_tar = content.get(257..262) == Some(&b"ustar"[..]);
    let mut content = match (is_tar, random.random_range(0..8)) {
        (_, 0) => binary::changed(content, valid, random),
        (true, _) => tar_header(content, random),
        (false, _) => text::changed(&content, random),
    };
    if random.random_range(0..200) == 0 {
        content.resize(
            random.random_range(1 << 20..24 << 20),
            content[content.len() / 2],
        );
    }
    Some(gzipped(&content))
}

/// An archive with another value in a field of one of its headers, and a checksum that fits.
fn tar_header(mut archive: Vec<u8>, random: &mut ChaCha8Rng) -> Vec<u8> {
    // Name, size, kind, link, magic and version, device numbers, prefix.
    const FIELDS: [(usize, usize); 7] = [
        (0, 100),
        (124, 12),
        (156, 1),
        (157, 100),
        (257, 8),
        (329, 16),
        (345, 155),
    ];
    const KINDS: &[u8] = b"\x00012345679KLSxgVMND";
    let magic = |block: &[u8]| block.get(257..262) == Some(&b"ustar"[..]);
    let headers: Vec<usize> = (0..archive.len() / 512)
        .map(|block| block * 512)
        .filter(|&start| magic(&archive[start..]))
        .collect();
    let Some(&start) = headers.get(random.random_range(0..headers.len().max(1))) else {
        return archive;
    };
    let header = &mut archive[start..start + 512];
    let (field, length) = FIELDS[random.random_range(0..FIELDS.len())];
    let value = match random.random_range(0..5) {
        0 => binary::noise(random),
        1 => b"../../x".to_vec(),
        // A size in binary: the highest bit is set.
        2 => [&[0x80, 0, 0, 0][..], &random.random::<u64>().to_be_bytes()].concat(),
        3 => format!(
            "{:011o}",
            random.random::<u64>() >> random.random_range(30..64)
        )
        .into_bytes(),
        _ => vec![KINDS[random.random_range(0..KINDS.len())]],
    };
    let length = length.min(value.len());
    header[field..field + length].copy_from_slice(&value[..length]);
    header[148..156].fill(b' ');
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    if random.random_bool(0.1) {
        let repeated = archive[start..start + 512].to_vec();
        archive.splice(start..start, repeated);
    }
    archive
}

/// A PNG with another chunk, and a checksum that fits.
pub fn png(file: &[u8], valid: &[Vec<u8>], random: &mut ChaCha8Rng) -> Option<Vec<u8>> {
    const KINDS: [&[u8; 4]; 10] = [
        b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"iCCP", b"zTXt", b"acTL", b"fcTL", b"fdAT",
    ];
    let (signature, rest) = file.split_at_checked(8)?;
    let mut chunks = chunks(rest)?;
    let at = random.random_range(0..chunks.len());
    match random.random_range(0..8) {
        0 => chunks[at].0 = KINDS[random.random_range(0..KINDS.len())].to_vec(),
        1 => drop(chunks.remove(at)),
        2 => chunks.insert(at, chunks[at].clone()),
        3 => {
            let kind = KINDS[random.random_range(0..KINDS.len())].to_vec();
            chunks.insert(at, (kind, binary::noise(random)));
        }
        4 => {
            // Image data that can be inflated.
            let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
            encoder.write_all(&binary::noise(random)).ok()?;
            let data = encoder.finish().ok()?;
            let image = chunks.iter_mut().find(|chunk| chunk.0 == b"IDAT")?;
            image.1 = data;
        }
        _ => {
            let data = std::mem::take(&mut chunks[at].1);
            chunks[at].1 = binary::changed(data, valid, random);
        }
    }
    let mut made = signature.to_vec();
    for (kind, data) in chunks {
        let body = [kind, data].concat();
        let mut sum = Crc::new();
        sum.update(&body);
        made.extend((body.len() as u32 - 4).to_be_bytes());
        made.extend(&body);
        made.extend(sum.sum().to_be_bytes());
    }
    Some(made)
}

/// Kind and data of each chunk.
fn chunks(mut rest: &[u8]) -> Option<Vec<(Vec<u8>, Vec<u8>)>> {
    let mut chunks = Vec::new();
    while let Some((length, after)) = rest.split_first_chunk::<4>() {
        let (kind, after) = after.split_at_checked(4)?;
        let (data, after) = after.split_at_checked(u32::from_be_bytes(*length) as usize)?;
        chunks.push((kind.to_vec(), data.to_vec()));
        rest = after.get(4..)?;
    }
    (!chunks.is_empty()).then_some(chunks)
}

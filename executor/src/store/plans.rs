//! Plans as they are kept: compressed JSON. It is written and read piece by piece, so that of a large plan there is never
//! all of its text in memory, beside the plan itself.

use flate2::Compression;
use flate2::bufread::GzDecoder;
use flate2::write::GzEncoder;
use lockstep_plan::Plan;
use serde::Deserialize;
use std::io::{BufReader, BufWriter};

/// What compressed data begins with. Plans of older versions are plain text.
const MAGIC: [u8; 2] = [0x1f, 0x8b];

/// The plan as it is kept. The same for the same plan, byte for byte.
pub(super) fn packed(plan: &Plan) -> serde_json::Result<Vec<u8>> {
    // Steps are much alike: the least that a compressor does is enough.
    let mut text = BufWriter::new(GzEncoder::new(Vec::new(), Compression::fast()));
    serde_json::to_writer(&mut text, plan)?;
    let encoder = text.into_inner().map_err(|error| serde_json::Error::io(error.into_error()))?;
    encoder.finish().map_err(serde_json::Error::io)
}

/// The plan that was kept.
pub(super) fn unpacked(data: &[u8]) -> serde_json::Result<Plan> {
    if data.starts_with(&MAGIC) {
        read(serde_json::Deserializer::from_reader(BufReader::new(GzDecoder::new(data))))
    } else {
        read(serde_json::Deserializer::from_slice(data))
    }
}

fn read<'a, R: serde_json::de::Read<'a>>(
    mut reader: serde_json::Deserializer<R>,
) -> serde_json::Result<Plan> {
    // Values nest as deep as the compiler lets them, which is more than a reader of anybody's text allows.
    reader.disable_recursion_limit();
    let plan = Plan::deserialize(&mut reader)?;
    reader.end()?;
    Ok(plan)
}

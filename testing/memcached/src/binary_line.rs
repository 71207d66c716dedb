//! Binary requests and answers, written as words.
//!
//! ```text
//!   set flags=5 exptime=0 key=a value=b cas=7 opaque=01020304
//!   incr delta=1 initial=10 exptime=ffffffff key=n
//!   0x3f ext=0011 keylen=3 bodylen=9 key=abc      any opcode, any extras, lengths that lie
//!   get status=1 value=Not\x20found               an answer
//! ```

use anyhow::{Context as _, Result, bail};
use freeway_memcache::binary::{MAGIC_REQUEST, MAGIC_RESPONSE};

use crate::table::{Piece, bytes};

/// Names of the opcodes, by number.
const NAMES: [&str; 27] = [
    "get", "set", "add", "replace", "delete", "incr", "decr", "quit", "flush", "getq", "noop", "version",
    "getk", "getkq", "append", "prepend", "stat", "setq", "addq", "replaceq", "deleteq", "incrq", "decrq",
    "quitq", "flushq", "appendq", "prependq",
];
/// Those behind a gap.
const MORE_NAMES: [(&str, u8); 8] = [
    ("touch", 0x1c),
    ("gat", 0x1d),
    ("gatq", 0x1e),
    ("gatk", 0x23),
    ("gatkq", 0x24),
    ("sasl_list", 0x20),
    ("sasl_auth", 0x21),
    ("sasl_step", 0x22),
];

#[derive(Default)]
struct Fields {
    opcode: u8,
    ext: Vec<u8>,
    key: Vec<u8>,
    value: Vec<u8>,
    cas: Option<Piece>,
    opaque: [u8; 4],
    status: u16,
    key_len: Option<u16>,
    body_len: Option<u32>,
}

pub(crate) fn request(line: &str) -> Result<Vec<Piece>> {
    Ok(pieces(&fields(line)?, MAGIC_REQUEST))
}

pub(crate) fn answer(line: &str) -> Result<Vec<Piece>> {
    Ok(pieces(&fields(line)?, MAGIC_RESPONSE))
}

fn fields(line: &str) -> Result<Fields> {
    let mut words = line.split(' ').filter(|word| !word.is_empty());
    let mut fields =
        Fields { opcode: opcode(words.next().context("an opcode is missing")?)?, ..Fields::default() };
    for word in words {
        let (name, value) = word.split_once('=').with_context(|| format!("{word} has no value"))?;
        match name {
            "ext" => fields.ext = hex(value)?,
            // The extras of a set are flags and exptime, those of incr delta, initial and exptime, in this order.
            "flags" => fields.ext.extend(value.parse::<u32>()?.to_be_bytes()),
            "exptime" => fields.ext.extend(u32::from_str_radix(value, 16)?.to_be_bytes()),
            "delta" | "initial" => fields.ext.extend(value.parse::<u64>()?.to_be_bytes()),
            "key" => fields.key = bytes(value)?,
            "value" => fields.value = bytes(value)?,
            "number" => fields.value = value.parse::<u64>()?.to_be_bytes().to_vec(),
            "cas" => fields.cas = Some(cas(value)?),
            "opaque" => fields.opaque = hex(value)?.try_into().ok().context("an opaque has four bytes")?,
            "status" => fields.status = u16::from_str_radix(value, 16)?,
            "keylen" => fields.key_len = Some(value.parse()?),
            "bodylen" => fields.body_len = Some(value.parse()?),
            _ => bail!("there is no field {name}"),
        }
    }
    Ok(fields)
}

fn opcode(word: &str) -> Result<u8> {
    if let Some(hex) = word.strip_prefix("0x") {
        return Ok(u8::from_str_radix(hex, 16)?);
    }
    let plain = NAMES.iter().position(|&name| name == word).map(|place| place as u8);
    let more = || MORE_NAMES.iter().find(|&&(name, _)| name == word).map(|&(_, opcode)| opcode);
    plain.or_else(more).with_context(|| format!("there is no opcode {word}"))
}

fn cas(value: &str) -> Result<Piece> {
    let Some(name) = value.strip_prefix('{').and_then(|value| value.strip_suffix('}')) else {
        return Ok(Piece::Bytes(value.parse::<u64>()?.to_be_bytes().to_vec()));
    };
    let name = name.strip_prefix('?').unwrap_or(name);
    Ok(Piece::Wide(Some(name.to_owned()).filter(|name| name != "#")))
}

fn hex(value: &str) -> Result<Vec<u8>> {
    (0..value.len())
        .step_by(2)
        .map(|at| Ok(u8::from_str_radix(value.get(at..at + 2).context("a digit is missing")?, 16)?))
        .collect()
}

fn pieces(fields: &Fields, magic: u8) -> Vec<Piece> {
    let Fields { opcode, ext, key, value, cas, opaque, status, key_len, body_len } = fields;
    let mut header = vec![magic, *opcode];
    header.extend(key_len.unwrap_or(key.len() as u16).to_be_bytes());
    header.extend([ext.len() as u8, 0]);
    header.extend(status.to_be_bytes());
    header.extend(body_len.unwrap_or((ext.len() + key.len() + value.len()) as u32).to_be_bytes());
    header.extend(opaque);
    let cas = cas.clone().unwrap_or(Piece::Bytes(vec![0; 8]));
    let body = [ext.as_slice(), key, value].concat();
    vec![Piece::Bytes(header), cas, Piece::Bytes(body)]
}

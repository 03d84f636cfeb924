//! Finds a member of a kernel struct in the kernel's own type information (BTF).
//!
//! aya reads BTF but does not expose the members, and rustc emits no CO-RE relocations,
//! so the few offsets that the programs need are looked up here, once per boot. Format:
//! Documentation/bpf/btf.rst.

use anyhow::{Context as _, Result, bail};

/// The kernel's BTF.
pub const VMLINUX: &str = "/sys/kernel/btf/vmlinux";

const MAGIC: u16 = 0xeb9f;
const KIND_STRUCT: u32 = 4;

/// A cursor over the type section.
struct Reader<'a> {
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    fn word(&mut self) -> Result<u32> {
        let (word, rest) = self
            .bytes
            .split_first_chunk::<4>()
            .context("the type section is cut short")?;
        self.bytes = rest;
        Ok(u32::from_ne_bytes(*word))
    }

    fn skip(&mut self, length: usize) -> Result<&'a [u8]> {
        let (skipped, rest) = self
            .bytes
            .split_at_checked(length)
            .context("the type section is cut short")?;
        self.bytes = rest;
        Ok(skipped)
    }
}

/// Returns the offset of `member`, a direct member of the struct named `name`, in bits
/// from the start of the struct. Host byte order throughout.
///
/// # Errors
///
/// If `btf` is malformed, or has no such struct or member.
pub fn member_bit(btf: &[u8], name: &str, member: &str) -> Result<u32> {
    let (types, strings) = sections(btf)?;
    let mut reader = Reader { bytes: types };
    while !reader.bytes.is_empty() {
        let name_offset = reader.word()?;
        let info = reader.word()?;
        let _size_or_type = reader.word()?;
        let kind = info >> 24 & 0x1f;
        let count = (info & 0xffff) as usize;
        let has_bitfields = info >> 31 != 0;
        let mut details = Reader {
            bytes: reader.skip(details_size(kind, count)?)?,
        };
        if kind != KIND_STRUCT || string(strings, name_offset) != name.as_bytes() {
            continue;
        }
        for _ in 0..count {
            let member_name = details.word()?;
            let _type = details.word()?;
            let offset = details.word()?;
            if string(strings, member_name) == member.as_bytes() {
                // With bit fields, the upper byte is the width.
                return Ok(if has_bitfields {
                    offset & 0x00ff_ffff
                } else {
                    offset
                });
            }
        }
    }
    bail!("no struct {name} with a member {member}")
}

/// Returns the type and string sections, by the header (`struct btf_header`).
fn sections(btf: &[u8]) -> Result<(&[u8], &[u8])> {
    let cut = "the header is cut short";
    if btf.first_chunk::<2>().context(cut)? != &MAGIC.to_ne_bytes() {
        bail!("not BTF of this byte order");
    }
    let mut words = Reader {
        bytes: btf.get(4..24).context(cut)?,
    };
    let header = words.word()? as usize;
    let type_offset = words.word()? as usize;
    let type_length = words.word()? as usize;
    let string_offset = words.word()? as usize;
    let string_length = words.word()? as usize;
    let section = |offset: usize, length: usize| {
        let start = header.checked_add(offset)?;
        btf.get(start..start.checked_add(length)?)
    };
    Ok((
        section(type_offset, type_length).context("no type section")?,
        section(string_offset, string_length).context("no string section")?,
    ))
}

/// Returns how many bytes follow the three common words of a type.
fn details_size(kind: u32, count: usize) -> Result<usize> {
    Ok(match kind {
        // INT, VAR, DECL_TAG
        1 | 14 | 17 => 4,
        // ARRAY
        3 => 12,
        // STRUCT, UNION, DATASEC, ENUM64
        4 | 5 | 15 | 19 => count * 12,
        // ENUM, FUNC_PROTO
        6 | 13 => count * 8,
        // PTR, FWD, TYPEDEF, VOLATILE, CONST, RESTRICT, FUNC, FLOAT, TYPE_TAG
        2 | 7..=12 | 16 | 18 => 0,
        _ => bail!("unknown kind {kind}"),
    })
}

fn string(strings: &[u8], offset: u32) -> &[u8] {
    let tail = strings.get(offset as usize..).unwrap_or_default();
    tail.split(|&byte| byte == 0).next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn words(words: &[u32]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_ne_bytes()).collect()
    }

    /// A pointer, then a struct "s" of two members, the second a bit field.
    fn example() -> Vec<u8> {
        let strings = b"\0s\0first\0second\0";
        let types = words(&[
            0,
            2 << 24,
            0, //
            1,
            1 << 31 | 4 << 24 | 2,
            8, //
            3,
            0,
            0, //
            9,
            0,
            1 << 24 | 45,
        ]);
        let length = |bytes: &[u8]| u32::try_from(bytes.len()).expect("a short section");
        let mut btf = Vec::from(MAGIC.to_ne_bytes());
        btf.extend([1, 0]);
        btf.extend(words(&[
            24,
            0,
            length(&types),
            length(&types),
            length(strings),
        ]));
        btf.extend(types);
        btf.extend(strings);
        btf
    }

    #[test]
    fn finds_a_bit_field() {
        assert_eq!(member_bit(&example(), "s", "second").unwrap(), 45);
    }

    #[test]
    fn says_what_is_missing() {
        let error = member_bit(&example(), "s", "third").unwrap_err();
        assert_eq!(error.to_string(), "no struct s with a member third");
    }

    #[test]
    fn finds_it_in_this_kernel() {
        let btf = std::fs::read(VMLINUX).expect("this kernel has BTF");
        let bit = member_bit(&btf, "sock_common", "skc_ipv6only").unwrap();
        assert!(bit < 32 * 8, "sock_common starts with it, not {bit}");
    }

    proptest! {
        #[test]
        fn never_panics(mut btf in Just(example()), at in 0..100_usize, byte in any::<u8>(), end in 0..120_usize) {
            let length = btf.len();
            btf[at % length] = byte;
            btf.truncate(end);
            let _ = member_bit(&btf, "s", "second");
        }
    }
}

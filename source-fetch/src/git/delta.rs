//! An object as a difference to another one, the way packs hold it.

use std::io;

use super::protocol::malformed;

/// The most that a commit, tag or tree may hold, in bytes: a directory of a million files has less.
pub(crate) const MAX_OBJECT: u64 = 64 << 20;

/// Makes the object that `delta` describes out of `base`.
pub(crate) fn apply(base: &[u8], delta: &[u8]) -> io::Result<Vec<u8>> {
    let mut rest = delta;
    if size(&mut rest)? != base.len() as u64 {
        return Err(malformed("a difference belongs to an object of another size"));
    }
    let expected = size(&mut rest)?;
    if expected > MAX_OBJECT {
        return Err(malformed("a tree of more than 64 MiB"));
    }
    let mut object = Vec::new();
    while let Some((&instruction, after)) = rest.split_first() {
        rest = after;
        let piece = match instruction {
            0 => return Err(malformed("a difference with an instruction that git has not")),
            // Seven bits say which bytes of the offset and of the length follow.
            copy if copy & 0x80 != 0 => {
                let offset = number(&mut rest, copy & 0xf)?;
                let length = match number(&mut rest, copy >> 4 & 7)? {
                    0 => 0x1_0000,
                    length => length,
                };
                base.get(offset..).and_then(|piece| piece.get(..length))
            }
            length => {
                let piece = rest.split_at_checked(length.into());
                piece.map(|(piece, after)| {
                    rest = after;
                    piece
                })
            }
        };
        let piece = piece.ok_or_else(|| malformed("a difference that takes what is not there"))?;
        object.extend_from_slice(piece);
        if object.len() as u64 > expected {
            break;
        }
    }
    match object.len() as u64 == expected {
        true => Ok(object),
        false => Err(malformed(
            "a difference that gives an object of another size than it says",
        )),
    }
}

/// A number in groups of seven bits, the lowest first; all but the last have the highest bit set.
fn size(rest: &mut &[u8]) -> io::Result<u64> {
    let mut size = 0;
    for position in 0..9 {
        let Some((&byte, after)) = rest.split_first() else {
            break;
        };
        *rest = after;
        size |= u64::from(byte & 0x7f) << (7 * position);
        if byte & 0x80 == 0 {
            return Ok(size);
        }
    }
    Err(malformed("a difference without sizes"))
}

/// A number of which the bytes that `present` names are there, the lowest first.
fn number(rest: &mut &[u8], present: u8) -> io::Result<usize> {
    let mut number = 0;
    for position in (0..4).filter(|position| present & (1 << position) != 0) {
        let (&byte, after) = rest
            .split_first()
            .ok_or_else(|| malformed("a difference that breaks off"))?;
        *rest = after;
        number |= usize::from(byte) << (8 * position);
    }
    Ok(number)
}

#[cfg(test)]
#[allow(clippy::cast_possible_truncation, reason = "the values are small")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What makes up an object: a part of the base, or bytes of its own.
    #[derive(Clone, Debug)]
    enum Part {
        Copy(usize, usize),
        Own(Vec<u8>),
    }

    fn written_size(out: &mut Vec<u8>, mut size: usize) {
        while size > 0x7f {
            out.push(size as u8 & 0x7f | 0x80);
            size >>= 7;
        }
        out.push(size as u8);
    }

    fn delta(base: &[u8], parts: &[Part]) -> (Vec<u8>, Vec<u8>) {
        let (mut object, mut body) = (Vec::new(), Vec::new());
        for part in parts {
            match part {
                Part::Own(bytes) => {
                    body.push(bytes.len() as u8);
                    body.extend_from_slice(bytes);
                    object.extend_from_slice(bytes);
                }
                Part::Copy(offset, length) => {
                    let at = body.len();
                    body.push(0x80);
                    let length_bytes = if *length == 0x1_0000 { 0 } else { *length };
                    let bytes = [&offset.to_le_bytes()[..4], &length_bytes.to_le_bytes()[..3]].concat();
                    for (bit, byte) in bytes.into_iter().enumerate() {
                        if byte != 0 {
                            body[at] |= 1 << bit;
                            body.push(byte);
                        }
                    }
                    object.extend_from_slice(&base[*offset..offset + length]);
                }
            }
        }
        let mut delta = Vec::new();
        written_size(&mut delta, base.len());
        written_size(&mut delta, object.len());
        delta.extend(body);
        (delta, object)
    }

    #[test]
    fn a_copy_of_length_nought_takes_64_kib() {
        let base = vec![7; 0x1_0001];
        let (delta, object) = delta(&base, &[Part::Copy(1, 0x1_0000)]);
        assert_eq!(apply(&base, &delta).expect("valid"), object);
    }

    #[test]
    fn a_small_difference_that_claims_a_huge_object_costs_nothing() {
        let mut delta = vec![0];
        written_size(&mut delta, 60 << 20);
        let error = apply(&[], &delta).expect_err("it is not there");
        assert!(error.to_string().contains("another size"), "{error}");
        let mut delta = vec![0];
        written_size(&mut delta, 1 << 40);
        assert!(apply(&[], &delta).is_err());
    }

    proptest! {
        #[test]
        fn what_was_taken_apart_is_put_together(
            base in prop::collection::vec(any::<u8>(), 1..400),
            parts in prop::collection::vec((any::<bool>(), any::<prop::sample::Index>(), any::<prop::sample::Index>(), prop::collection::vec(any::<u8>(), 1..100)), 0..20),
        ) {
            let part = |(copies, from, length, own): (bool, prop::sample::Index, prop::sample::Index, Vec<u8>)| {
                let from = from.index(base.len());
                if copies { Part::Copy(from, length.index(base.len() - from) + 1) } else { Part::Own(own) }
            };
            let parts: Vec<Part> = parts.into_iter().map(part).collect();
            let (delta, object) = delta(&base, &parts);
            prop_assert_eq!(apply(&base, &delta).expect("valid"), object);
            // Of what is cut off nothing is taken for whole.
            for end in 0..delta.len() {
                let cut = apply(&base, &delta[..end]);
                prop_assert!(cut.is_err());
            }
        }

        #[test]
        fn no_bytes_make_it_panic(base in prop::collection::vec(any::<u8>(), 0..50), delta in prop::collection::vec(any::<u8>(), 0..50)) {
            let _ = apply(&base, &delta);
            let mut fitting = vec![base.len() as u8];
            fitting.extend(delta);
            let _ = apply(&base, &fitting);
        }
    }
}

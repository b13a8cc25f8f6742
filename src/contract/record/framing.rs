//! The two headers a record may begin with, and which schema they name.
//!
//! The law: the first byte tells. Inside deckle a record is Avro single-object (two bytes, then the fingerprint of the
//! writer's schema); on a topic with a schema registry it is framed as Confluent's serializers do (a zero, then the
//! schema's id there). Behind either lies the same datum.

use bytes::{BufMut, Bytes, BytesMut};

/// CRC-64-AVRO of a schema in Parsing Canonical Form, little-endian as on the wire.
pub type Fingerprint = [u8; 8];

/// Opens Avro single-object encoding (Avro 1.12 specification).
const SINGLE_OBJECT: [u8; 2] = [0xC3, 0x01];
/// Bytes before the datum: [`SINGLE_OBJECT`] and the fingerprint.
pub const SINGLE_OBJECT_HEADER: usize = 10;
/// Opens Confluent framing: this byte, then the schema's id as 4 big-endian bytes.
const CONFLUENT: u8 = 0;
/// Bytes before the datum in Confluent framing.
const CONFLUENT_HEADER: usize = 5;

/// What a record's header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// Avro single-object.
    SingleObject(Fingerprint),
    /// Confluent's, with the schema's id in the registry.
    Confluent(u32),
}

impl Framing {
    /// Reads a header; `None` for bytes that begin with neither.
    pub fn of(bytes: &[u8]) -> Option<Self> {
        match bytes {
            [CONFLUENT, a, b, c, d, ..] => Some(Self::Confluent(u32::from_be_bytes([*a, *b, *c, *d]))),
            _ => {
                let fingerprint = bytes.strip_prefix(&SINGLE_OBJECT)?.first_chunk()?;
                Some(Self::SingleObject(*fingerprint))
            }
        }
    }

    /// Bytes before the datum.
    pub fn header_bytes(self) -> usize {
        match self {
            Self::SingleObject(_) => SINGLE_OBJECT_HEADER,
            Self::Confluent(_) => CONFLUENT_HEADER,
        }
    }

    /// The same record under another header. `record` begins with this one.
    pub fn exchange(self, record: &[u8], other: Self) -> Bytes {
        let datum = &record[self.header_bytes()..];
        let mut bytes = BytesMut::with_capacity(other.header_bytes() + datum.len());
        match other {
            Self::SingleObject(fingerprint) => {
                bytes.put_slice(&SINGLE_OBJECT);
                bytes.put_slice(&fingerprint);
            }
            Self::Confluent(id) => {
                bytes.put_u8(CONFLUENT);
                bytes.put_u32(id);
            }
        }
        bytes.put_slice(datum);
        bytes.freeze()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_header_is_exchanged_and_back_and_the_datum_stays(
            fingerprint in any::<Fingerprint>(), id in any::<u32>(), datum in any::<Vec<u8>>(),
        ) {
            let (inside, outside) = (Framing::SingleObject(fingerprint), Framing::Confluent(id));
            let record = [&SINGLE_OBJECT[..], &fingerprint, &datum].concat();
            prop_assert_eq!(Framing::of(&record), Some(inside));
            let framed = inside.exchange(&record, outside);
            prop_assert_eq!(&framed[..], [&[0][..], &id.to_be_bytes(), &datum].concat());
            prop_assert_eq!(Framing::of(&framed), Some(outside));
            prop_assert_eq!(&outside.exchange(&framed, inside)[..], record);
        }

        #[test]
        fn any_bytes_have_at_most_one_framing_and_it_fits(bytes in any::<Vec<u8>>()) {
            if let Some(framing) = Framing::of(&bytes) {
                prop_assert!(framing.header_bytes() <= bytes.len());
            }
        }
    }
}

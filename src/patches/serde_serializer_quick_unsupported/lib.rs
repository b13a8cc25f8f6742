//! One macro for serde serializers that take only some kinds of values, under the name of the crate that
//! `serde_avro_fast` asks for. That crate is LGPL-3.0-only, which a statically linked program cannot carry without
//! duties towards its users; this one was written from the five places where `serde_avro_fast` uses the macro, without
//! a look at the other's source. `[patch.crates-io]` in the root `Cargo.toml` puts it in its place.

#[doc(hidden)]
pub use serde;

/// Writes the methods of a [`serde::Serializer`] that refuse their value, inside an `impl Serializer`.
///
/// `err` is an expression for the error, evaluated at each refusal. After it come the kinds of values that are refused,
/// named like the methods without `serialize_`: `bool`, `i8` to `i128`, `u8` to `u128`, `f32`, `f64`, `char`, `str`,
/// `bytes`, `none`, `some`, `unit`, `unit_struct`, `unit_variant`, `newtype_struct`, `newtype_variant`, `seq`, `tuple`,
/// `tuple_struct`, `tuple_variant`, `map`, `struct`, `struct_variant`. Refused compound kinds get their associated type,
/// too ([`serde::ser::Impossible`]).
///
/// ```
/// use serde::{Serialize, ser::Error as _};
///
/// struct OnlyBool;
/// impl serde::Serializer for OnlyBool {
///     type Ok = bool;
///     type Error = std::fmt::Error;
///
///     fn serialize_bool(self, value: bool) -> Result<bool, std::fmt::Error> {
///         Ok(value)
///     }
///
///     serde_serializer_quick_unsupported::serializer_unsupported! {
///         err = (std::fmt::Error::custom("only true and false"));
///         i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str bytes none some unit unit_struct unit_variant newtype_struct
///         newtype_variant seq tuple tuple_struct tuple_variant map struct struct_variant
///     }
/// }
///
/// assert_eq!(true.serialize(OnlyBool), Ok(true));
/// assert!("true".serialize(OnlyBool).is_err());
/// ```
#[macro_export]
macro_rules! serializer_unsupported {
    (err = ($error:expr); $($kind:ident)*) => { $($crate::refused!($kind, $error);)* };
}

/// The method of one kind of value.
#[doc(hidden)]
#[macro_export]
macro_rules! refused {
    (bool, $error:expr) => { $crate::refused!(@value serialize_bool(bool), $error); };
    (i8, $error:expr) => { $crate::refused!(@value serialize_i8(i8), $error); };
    (i16, $error:expr) => { $crate::refused!(@value serialize_i16(i16), $error); };
    (i32, $error:expr) => { $crate::refused!(@value serialize_i32(i32), $error); };
    (i64, $error:expr) => { $crate::refused!(@value serialize_i64(i64), $error); };
    (i128, $error:expr) => { $crate::refused!(@value serialize_i128(i128), $error); };
    (u8, $error:expr) => { $crate::refused!(@value serialize_u8(u8), $error); };
    (u16, $error:expr) => { $crate::refused!(@value serialize_u16(u16), $error); };
    (u32, $error:expr) => { $crate::refused!(@value serialize_u32(u32), $error); };
    (u64, $error:expr) => { $crate::refused!(@value serialize_u64(u64), $error); };
    (u128, $error:expr) => { $crate::refused!(@value serialize_u128(u128), $error); };
    (f32, $error:expr) => { $crate::refused!(@value serialize_f32(f32), $error); };
    (f64, $error:expr) => { $crate::refused!(@value serialize_f64(f64), $error); };
    (char, $error:expr) => { $crate::refused!(@value serialize_char(char), $error); };
    (str, $error:expr) => { $crate::refused!(@value serialize_str(&str), $error); };
    (bytes, $error:expr) => { $crate::refused!(@value serialize_bytes(&[u8]), $error); };
    (none, $error:expr) => { $crate::refused!(@value serialize_none(), $error); };
    (unit, $error:expr) => { $crate::refused!(@value serialize_unit(), $error); };
    (unit_struct, $error:expr) => { $crate::refused!(@value serialize_unit_struct(&'static str), $error); };
    (unit_variant, $error:expr) => {
        $crate::refused!(@value serialize_unit_variant(&'static str, u32, &'static str), $error);
    };
    (some, $error:expr) => { $crate::refused!(@holder serialize_some(), $error); };
    (newtype_struct, $error:expr) => { $crate::refused!(@holder serialize_newtype_struct(&'static str,), $error); };
    (newtype_variant, $error:expr) => {
        $crate::refused!(@holder serialize_newtype_variant(&'static str, u32, &'static str,), $error);
    };
    (seq, $error:expr) => { $crate::refused!(@compound SerializeSeq serialize_seq(Option<usize>), $error); };
    (tuple, $error:expr) => { $crate::refused!(@compound SerializeTuple serialize_tuple(usize), $error); };
    (tuple_struct, $error:expr) => {
        $crate::refused!(@compound SerializeTupleStruct serialize_tuple_struct(&'static str, usize), $error);
    };
    (tuple_variant, $error:expr) => {
        $crate::refused!(
            @compound SerializeTupleVariant serialize_tuple_variant(&'static str, u32, &'static str, usize), $error
        );
    };
    (map, $error:expr) => { $crate::refused!(@compound SerializeMap serialize_map(Option<usize>), $error); };
    (struct, $error:expr) => {
        $crate::refused!(@compound SerializeStruct serialize_struct(&'static str, usize), $error);
    };
    (struct_variant, $error:expr) => {
        $crate::refused!(
            @compound SerializeStructVariant serialize_struct_variant(&'static str, u32, &'static str, usize), $error
        );
    };
    (@value $method:ident($($argument:ty),*), $error:expr) => {
        fn $method(self $(, _: $argument)*) -> ::core::result::Result<Self::Ok, Self::Error> {
            Err($error)
        }
    };
    (@holder $method:ident($($argument:ty,)*), $error:expr) => {
        fn $method<T: ?Sized + $crate::serde::Serialize>(
            self $(, _: $argument)*, _: &T
        ) -> ::core::result::Result<Self::Ok, Self::Error> {
            Err($error)
        }
    };
    (@compound $compound:ident $method:ident($($argument:ty),*), $error:expr) => {
        type $compound = $crate::serde::ser::Impossible<Self::Ok, Self::Error>;

        fn $method(self $(, _: $argument)*) -> ::core::result::Result<Self::$compound, Self::Error> {
            Err($error)
        }
    };
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::{Serialize, ser::Error as _};

    /// Refuses every value, with its own name for the error.
    struct Refuses;

    impl serde::Serializer for Refuses {
        type Ok = ();
        type Error = serde::de::value::Error;

        crate::serializer_unsupported! {
            err = (Self::Error::custom("no value is taken"));
            bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str bytes none some unit unit_struct unit_variant
            newtype_struct newtype_variant seq tuple tuple_struct tuple_variant map struct struct_variant i128 u128
        }
    }

    #[derive(Serialize)]
    struct Unit;
    #[derive(Serialize)]
    struct Newtype(u8);
    #[derive(Serialize)]
    struct Tuple(u8, u8);
    #[derive(Serialize)]
    struct Named {
        field: u8,
    }
    #[derive(Serialize)]
    enum Variant {
        Unit,
        Newtype(u8),
        Tuple(u8, u8),
        Named { field: u8 },
    }

    fn is_refused(value: impl Serialize) -> bool {
        value.serialize(Refuses).is_err_and(|error| error.to_string() == "no value is taken")
    }

    #[test]
    fn every_kind_of_value_is_refused_with_the_error_that_was_given() {
        assert!(
            is_refused(true) && is_refused('c') && is_refused("text") && is_refused(1.5_f32) && is_refused(1.5_f64)
        );
        assert!(is_refused(-1_i8) && is_refused(-1_i16) && is_refused(-1_i32) && is_refused(-1_i64));
        assert!(is_refused(1_u8) && is_refused(1_u16) && is_refused(1_u32) && is_refused(1_u64));
        assert!(is_refused(-1_i128) && is_refused(1_u128));
        assert!(is_refused(None::<u8>) && is_refused(Some(1)) && is_refused(()) && is_refused(Unit));
        assert!(is_refused(Newtype(1)) && is_refused(Tuple(1, 2)) && is_refused(Named { field: 1 }));
        assert!(is_refused(Variant::Unit) && is_refused(Variant::Newtype(1)) && is_refused(Variant::Tuple(1, 2)));
        assert!(is_refused(Variant::Named { field: 1 }));
        assert!(is_refused([1, 2].as_slice()) && is_refused((1, 2)) && is_refused(BTreeMap::from([(1, 2)])));
        assert!(serde::Serializer::serialize_bytes(Refuses, b"bytes").is_err());
    }
}

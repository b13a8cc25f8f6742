//! Words as a multiset: what was read, whatever order it was read in.

use std::collections::HashMap;

use super::measure::Ratio;

/// F1 of the words as multisets.
pub fn bag_f1<S: AsRef<str>>(found: &[S], truth: &[S]) -> Ratio {
    let matched = in_bag(found, truth).into_iter().filter(|is_in| *is_in).count();
    Ratio::f1(matched, found.len(), truth.len())
}

/// Which of the words found the truth has too. Of a word that was found more often than it stands there, the first ones
/// count.
pub fn in_bag<S: AsRef<str>>(found: &[S], truth: &[S]) -> Vec<bool> {
    let mut left: HashMap<&str, usize> = HashMap::new();
    for word in truth {
        *left.entry(word.as_ref()).or_default() += 1;
    }
    let mut take = |word: &S| match left.get_mut(word.as_ref()) {
        Some(count) if *count > 0 => {
            *count -= 1;
            true
        }
        _ => false,
    };
    found.iter().map(&mut take).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn order_does_not_matter_and_number_does() {
        assert_eq!(bag_f1(&["b", "a"], &["a", "b"]).value(), Some(1.0));
        assert_eq!(bag_f1(&["a", "a", "a"], &["a", "b"]), Ratio { part: 2.0, whole: 5.0 });
        assert_eq!(in_bag(&["a", "x", "a"], &["a"]), [true, false, false]);
        assert_eq!(bag_f1::<&str>(&[], &["a"]).value(), Some(0.0));
    }

    proptest! {
        #[test]
        fn it_lies_between_0_and_1_and_is_the_same_both_ways(
            found in proptest::collection::vec("[a-c]{1,2}", 0..12),
            truth in proptest::collection::vec("[a-c]{1,2}", 1..12),
        ) {
            let one = bag_f1(&found, &truth);
            prop_assert_eq!(one, bag_f1(&truth, &found));
            prop_assert!((0.0..=1.0).contains(&one.value().unwrap()));
            prop_assert_eq!(bag_f1(&truth, &truth).value(), Some(1.0));
        }
    }
}

//! Streams that are each in order, merged into one that is.

use std::{cmp::Reverse, collections::BinaryHeap};

use futures::{Stream, TryStreamExt, future::try_join_all, stream, stream::BoxStream};

use deckle_contract::error::Result;

/// The items of all streams, lowest first. Each stream is asked for one item at the start, and for its next one when
/// the one before is given out.
pub(super) fn merged<'a, T>(streams: Vec<BoxStream<'a, Result<T>>>) -> impl Stream<Item = Result<T>> + Send + use<'a, T>
where
    T: Ord + Send + 'a,
{
    stream::try_unfold((streams, None), |(mut streams, heads)| async move {
        let mut heads: BinaryHeap<Reverse<(T, usize)>> = match heads {
            Some(heads) => heads,
            None => {
                let first = try_join_all(streams.iter_mut().map(TryStreamExt::try_next)).await?;
                first.into_iter().enumerate().filter_map(|(from, item)| Some(Reverse((item?, from)))).collect()
            }
        };
        let Some(Reverse((lowest, from))) = heads.pop() else { return Ok(None) };
        if let Some(next) = streams[from].try_next().await? {
            heads.push(Reverse((next, from)));
        }
        Ok(Some((lowest, (streams, Some(heads)))))
    })
}

#[cfg(test)]
mod tests {
    use futures::{StreamExt, executor::block_on};

    use super::*;
    use deckle_contract::error::Failure;

    #[test]
    fn all_come_once_and_in_order() {
        let streams = [vec![1, 4, 4], vec![], vec![2, 3, 9], vec![4]];
        let streams = streams.into_iter().map(|items| stream::iter(items).map(Ok).boxed()).collect();
        let all: Result<Vec<i32>> = block_on(merged(streams).try_collect());
        assert_eq!(all, Ok(vec![1, 2, 3, 4, 4, 4, 9]));
        assert_eq!(block_on(merged(Vec::<BoxStream<'_, Result<i32>>>::new()).try_collect::<Vec<_>>()), Ok(vec![]));
    }

    #[test]
    fn a_failure_of_one_is_that_of_all() {
        let broken = stream::iter([Ok(1), Err(Failure::transient("gone"))]).boxed();
        let streams = vec![broken, stream::iter([Ok(2)]).boxed()];
        assert_eq!(block_on(merged(streams).try_collect::<Vec<i32>>()), Err(Failure::transient("gone")));
    }
}

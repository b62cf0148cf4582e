//! The calls that have just ended, as every ordinary call is remembered: in a table of fixed size, where a newer call
//! takes an older one's place. One write for each event, and no other cost.

/// So many places: 512 KiB once all have been used, for each worker, which the processor keeps near. At fifty thousand
/// calls a second most are remembered for a tenth of a second, in which an echo is read; what is lost costs an echo that
/// is delivered.
const PLACES: usize = 16_384;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Recent {
    /// Key, begin, end, stamp. Made with the first call.
    places: Vec<[u64; 4]>,
}

impl Recent {
    /// A call has ended.
    pub(super) fn put(&mut self, key: u64, began: u64, ended: u64, stamp: u64) {
        if self.places.is_empty() {
            self.places = vec![[0; 4]; PLACES];
        }
        self.places[place(key)] = [key, began, ended, stamp];
    }

    /// Begin, end and stamp of the last call with that key.
    pub(super) fn get(&self, key: u64) -> Option<(u64, u64, u64)> {
        let [known, began, ended, stamp] = *self.places.get(place(key))?;
        (known == key && ended > 0).then_some((began, ended, stamp))
    }
}

/// The upper bits of a hash are the better ones.
fn place(key: u64) -> usize {
    usize::try_from(key >> 48).unwrap_or(0) % PLACES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_known_until_another_takes_its_place() {
        let mut recent = Recent::default();
        assert_eq!(recent.get(7), None);
        recent.put(7, 1, 2, 3);
        assert_eq!((recent.get(7), recent.get(8)), (Some((1, 2, 3)), None));
        recent.put(8, 4, 5, 6);
        assert_eq!((recent.get(7), recent.get(8)), (None, Some((4, 5, 6))));
        recent.put(1 << 48, 1, 2, 3);
        assert_eq!(recent.get(8), Some((4, 5, 6)));
    }
}

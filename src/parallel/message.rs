//! Values as bytes, for other ranks.

use bytemuck::Pod;

/// A value that can be sent to other ranks, which run the same program on machines of the same
/// kind.
///
/// # Examples
/// ```
/// use boltzflow::parallel::Message;
///
/// #[derive(Debug, PartialEq)]
/// struct Found {
///     energies: Vec<f64>,
///     failures: u64,
/// }
///
/// impl Message for Found {
///     fn write(&self, bytes: &mut Vec<u8>) {
///         self.energies.write(bytes);
///         self.failures.write(bytes);
///     }
///
///     fn read(bytes: &mut &[u8]) -> Option<Self> {
///         Some(Self { energies: Vec::read(bytes)?, failures: u64::read(bytes)? })
///     }
/// }
///
/// let (sent, mut bytes) = (Found { energies: vec![0.5, -1.0], failures: 1 }, Vec::new());
/// sent.write(&mut bytes);
/// assert_eq!(Found::read(&mut &bytes[..]), Some(sent));
/// ```
pub trait Message: Sized + Send {
    /// Appends this value to `bytes`.
    fn write(&self, bytes: &mut Vec<u8>);
    /// The value at the front of `bytes`, which is left with what follows; none if there is no such
    /// value.
    fn read(bytes: &mut &[u8]) -> Option<Self>;
}

macro_rules! numbers {
    ($($number:ty)*) => {$(
        impl Message for $number {
            fn write(&self, bytes: &mut Vec<u8>) {
                bytes.extend(self.to_ne_bytes());
            }

            fn read(bytes: &mut &[u8]) -> Option<Self> {
                let (value, rest) = bytes.split_first_chunk()?;
                *bytes = rest;
                Some(Self::from_ne_bytes(*value))
            }
        }
    )*};
}
numbers!(u64 usize f64);

impl<T: Pod + Send> Message for Vec<T> {
    fn write(&self, bytes: &mut Vec<u8>) {
        self.len().write(bytes);
        bytes.extend_from_slice(bytemuck::cast_slice(self));
    }

    fn read(bytes: &mut &[u8]) -> Option<Self> {
        let len = usize::read(bytes)?;
        let (values, rest) = bytes.split_at_checked(len.checked_mul(size_of::<T>())?)?;
        *bytes = rest;
        let mut all = vec![T::zeroed(); len];
        bytemuck::cast_slice_mut(&mut all).copy_from_slice(values);
        Some(all)
    }
}

impl<A: Message, B: Message> Message for (A, B) {
    fn write(&self, bytes: &mut Vec<u8>) {
        self.0.write(bytes);
        self.1.write(bytes);
    }

    fn read(bytes: &mut &[u8]) -> Option<Self> {
        Some((A::read(bytes)?, B::read(bytes)?))
    }
}

/// Makes a message of a struct whose fields, all listed, are messages.
macro_rules! message {
    ($name:ident { $($field:ident),* $(,)? }) => {
        impl $crate::parallel::Message for $name {
            fn write(&self, bytes: &mut Vec<u8>) {
                $($crate::parallel::Message::write(&self.$field, bytes);)*
            }

            fn read(bytes: &mut &[u8]) -> Option<Self> {
                Some(Self { $($field: $crate::parallel::Message::read(bytes)?),* })
            }
        }
    };
}
pub(crate) use message;

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq)]
    struct Found {
        values: Vec<f32>,
        count: u64,
        pair: (f64, Vec<[f64; 2]>),
    }
    message!(Found { values, count, pair });

    #[test]
    fn messages_arrive_as_they_were_sent_and_parts_of_them_do_not() {
        let sent = Found { values: vec![1.5, -0.0], count: 7, pair: (0.1, vec![[2.0, 3.0]]) };
        let mut bytes = Vec::new();
        sent.write(&mut bytes);
        sent.write(&mut bytes);
        let mut rest = bytes.as_slice();
        assert_eq!(Found::read(&mut rest).as_ref(), Some(&sent));
        assert_eq!(rest.len(), bytes.len() / 2);
        for end in 0..rest.len() {
            assert_eq!(Found::read(&mut &rest[..end]), None);
        }
    }
}

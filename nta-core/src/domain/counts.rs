//! Counts that are added up field by field.

/// Declares counts, and how they are added. `$name::zip` makes one of two by a function of each field.
macro_rules! counts {
    (
        $(#[doc = $about:literal])+
        $name:ident of $number:ty {
            $( $(#[doc = $doc:literal])+ $field:ident, )+
        }
    ) => {
        $(#[doc = $about])+
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
        pub struct $name {
            $( $(#[doc = $doc])+ pub $field: $number, )+
        }

        impl $name {
            /// Both, field by field.
            fn zip(&self, other: &Self, both: impl Fn($number, $number) -> $number) -> Self {
                Self { $( $field: both(self.$field, other.$field), )+ }
            }
        }

        impl std::ops::AddAssign for $name {
            fn add_assign(&mut self, other: Self) {
                *self = self.zip(&other, <$number>::saturating_add);
            }
        }
    };
}

pub(super) use counts;

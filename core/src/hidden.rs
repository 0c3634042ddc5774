//! `Debug` of what holds content of a case: the type's name and the fields that are named as harmless, nothing else. So
//! no log line, no failed assertion and no panic can quote a patient by mistake.
//!
//! Unit tests of the crate that defines the type see everything: there the type derives `Debug` under `cfg(test)`.

/// Implements `Debug` for types that hold content, showing only the named fields.
#[macro_export]
macro_rules! hide_content {
    ($($name:ident $({ $($shown:ident),+ })?),+ $(,)?) => {
        $(
            #[cfg(not(test))]
            impl ::std::fmt::Debug for $name {
                fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                    let mut shown = f.debug_struct(stringify!($name));
                    $($(shown.field(stringify!($shown), &self.$shown);)+)?
                    shown.finish_non_exhaustive()
                }
            }
        )+
    };
}

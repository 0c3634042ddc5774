//! Rows by the names of their columns.

/// A struct whose fields are the columns that are read into it.
macro_rules! row {
    (struct $name:ident { $($field:ident: $kind:ty),* $(,)? }) => {
        struct $name {
            $($field: $kind),*
        }

        impl sqlx::FromRow<'_, sqlx::sqlite::SqliteRow> for $name {
            fn from_row(row: &sqlx::sqlite::SqliteRow) -> Result<Self, sqlx::Error> {
                Ok(Self { $($field: sqlx::Row::try_get(row, stringify!($field))?),* })
            }
        }
    };
}

pub(in crate::store) use row;

//! Statements with their values, as `run!(ledger, on; "UPDATE …"; value, …).await`: the values are bound to `$1`, `$2`, …,
//! and a failure says which ledger it was.

/// Carries the statement out; how many rows it has changed.
macro_rules! run {
    ($ledger:expr, $on:expr; $text:expr $(; $($value:expr),+)?) => { async {
        let done = sqlx::query($text)$($(.bind($value))+)?.execute($on).await;
        done.map(|done| done.rows_affected()).map_err(|e| $ledger.database(e))
    } };
}

/// All rows.
macro_rules! all {
    ($ledger:expr, $on:expr; $text:expr $(; $($value:expr),+)?) => { async {
        sqlx::query_as($text)$($(.bind($value))+)?.fetch_all($on).await.map_err(|e| $ledger.database(e))
    } };
}

/// The first row, if there is one.
macro_rules! first {
    ($ledger:expr, $on:expr; $text:expr $(; $($value:expr),+)?) => { async {
        sqlx::query_as($text)$($(.bind($value))+)?.fetch_optional($on).await.map_err(|e| $ledger.database(e))
    } };
}

/// The only row.
macro_rules! one {
    ($ledger:expr, $on:expr; $text:expr $(; $($value:expr),+)?) => { async {
        sqlx::query_as($text)$($(.bind($value))+)?.fetch_one($on).await.map_err(|e| $ledger.database(e))
    } };
}

/// The first column of the only row.
macro_rules! value {
    ($ledger:expr, $on:expr; $text:expr $(; $($value:expr),+)?) => { async {
        sqlx::query_scalar($text)$($(.bind($value))+)?.fetch_one($on).await.map_err(|e| $ledger.database(e))
    } };
}

/// The first column of the first row, if there is one.
macro_rules! first_value {
    ($ledger:expr, $on:expr; $text:expr $(; $($value:expr),+)?) => { async {
        sqlx::query_scalar($text)$($(.bind($value))+)?.fetch_optional($on).await.map_err(|e| $ledger.database(e))
    } };
}

pub(super) use {all, first, first_value, one, run, value};

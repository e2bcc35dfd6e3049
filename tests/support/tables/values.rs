//! Parameters and columns as Rust values.

use sluice::ports::SqlValue;

/// A value that can be a parameter or a column.
pub trait ToValue {
    fn to_value(&self) -> SqlValue;
}

/// A value that a parameter or a column is read as.
pub trait FromValue: Sized {
    /// `None` if the type is another one.
    fn from_value(value: &SqlValue) -> Option<Self>;
}

/// A list of [`SqlValue`]s from values of any types.
#[macro_export]
macro_rules! values {
    ($($value:expr),* $(,)?) => { vec![$($crate::tables::ToValue::to_value(&$value)),*] };
}

impl ToValue for str {
    fn to_value(&self) -> SqlValue {
        SqlValue::Text(self.to_owned())
    }
}

impl ToValue for String {
    fn to_value(&self) -> SqlValue {
        self.as_str().to_value()
    }
}

impl ToValue for [u8] {
    fn to_value(&self) -> SqlValue {
        SqlValue::Bytes(self.to_vec())
    }
}

impl<const N: usize> ToValue for [u8; N] {
    fn to_value(&self) -> SqlValue {
        self[..].to_value()
    }
}

impl ToValue for Vec<u8> {
    fn to_value(&self) -> SqlValue {
        self[..].to_value()
    }
}

impl ToValue for i64 {
    fn to_value(&self) -> SqlValue {
        SqlValue::Int(*self)
    }
}

impl ToValue for bool {
    fn to_value(&self) -> SqlValue {
        SqlValue::Bool(*self)
    }
}

impl<T: ToValue + ?Sized> ToValue for &T {
    fn to_value(&self) -> SqlValue {
        (**self).to_value()
    }
}

impl<T: ToValue> ToValue for Option<T> {
    fn to_value(&self) -> SqlValue {
        self.as_ref().map_or(SqlValue::Null, ToValue::to_value)
    }
}

impl FromValue for String {
    fn from_value(value: &SqlValue) -> Option<Self> {
        if let SqlValue::Text(text) = value { Some(text.clone()) } else { None }
    }
}

impl FromValue for Vec<u8> {
    fn from_value(value: &SqlValue) -> Option<Self> {
        if let SqlValue::Bytes(bytes) = value { Some(bytes.clone()) } else { None }
    }
}

impl FromValue for i64 {
    fn from_value(value: &SqlValue) -> Option<Self> {
        if let SqlValue::Int(int) = value { Some(*int) } else { None }
    }
}

impl FromValue for bool {
    fn from_value(value: &SqlValue) -> Option<Self> {
        if let SqlValue::Bool(bool) = value { Some(*bool) } else { None }
    }
}

impl<T: FromValue> FromValue for Option<T> {
    fn from_value(value: &SqlValue) -> Option<Self> {
        if *value == SqlValue::Null { Some(None) } else { T::from_value(value).map(Some) }
    }
}

//! The values of statements and rows, converted as in Spin.

use anyhow::{Result, anyhow};
use tokio_postgres::Row;
use tokio_postgres::types::private::BytesMut;
use tokio_postgres::types::{IsNull, ToSql, Type};

use crate::spin::guest::rdbms_types::{Column, DbDataType, DbValue, ParameterValue};

pub(super) fn parameter(value: &ParameterValue) -> Result<&(dyn ToSql + Sync)> {
    Ok(match value {
        ParameterValue::Boolean(value) => value,
        ParameterValue::Int8(value) => value,
        ParameterValue::Int16(value) => value,
        ParameterValue::Int32(value) => value,
        ParameterValue::Int64(value) => value,
        ParameterValue::Floating32(value) => value,
        ParameterValue::Floating64(value) => value,
        ParameterValue::Str(value) => value,
        ParameterValue::Binary(value) => value,
        ParameterValue::DbNull => &Null,
        ParameterValue::Uint8(_)
        | ParameterValue::Uint16(_)
        | ParameterValue::Uint32(_)
        | ParameterValue::Uint64(_) => return Err(anyhow!("Postgres does not support unsigned integers")),
    })
}

/// A `NULL` of any type.
#[derive(Debug)]
struct Null;

impl ToSql for Null {
    fn to_sql(&self, _: &Type, _: &mut BytesMut) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        Ok(IsNull::Yes)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    tokio_postgres::types::to_sql_checked!();
}

pub(super) fn column(column: &tokio_postgres::Column) -> Column {
    let data_type = match *column.type_() {
        Type::BOOL => DbDataType::Boolean,
        Type::BYTEA => DbDataType::Binary,
        Type::FLOAT4 => DbDataType::Floating32,
        Type::FLOAT8 => DbDataType::Floating64,
        Type::INT2 => DbDataType::Int16,
        Type::INT4 => DbDataType::Int32,
        Type::INT8 => DbDataType::Int64,
        Type::TEXT | Type::VARCHAR | Type::BPCHAR => DbDataType::Str,
        _ => DbDataType::Other,
    };
    Column { name: column.name().to_owned(), data_type }
}

pub(super) fn value(row: &Row, at: usize) -> Result<DbValue, tokio_postgres::Error> {
    let value = match *row.columns()[at].type_() {
        Type::BOOL => row.try_get::<_, Option<_>>(at)?.map(DbValue::Boolean),
        Type::BYTEA => row.try_get::<_, Option<_>>(at)?.map(DbValue::Binary),
        Type::FLOAT4 => row.try_get::<_, Option<_>>(at)?.map(DbValue::Floating32),
        Type::FLOAT8 => row.try_get::<_, Option<_>>(at)?.map(DbValue::Floating64),
        Type::INT2 => row.try_get::<_, Option<_>>(at)?.map(DbValue::Int16),
        Type::INT4 => row.try_get::<_, Option<_>>(at)?.map(DbValue::Int32),
        Type::INT8 => row.try_get::<_, Option<_>>(at)?.map(DbValue::Int64),
        Type::TEXT | Type::VARCHAR | Type::BPCHAR => row.try_get::<_, Option<_>>(at)?.map(DbValue::Str),
        _ => Some(DbValue::Unsupported),
    };
    Ok(value.unwrap_or(DbValue::DbNull))
}

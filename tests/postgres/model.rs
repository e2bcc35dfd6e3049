//! A database on the model. Sessions interleave at random between statements, by a fixed seed.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use serde_json::Value;
use sluice::ports::{SqlConnection, SqlError, SqlRow, SqlValue};

use crate::session::{Change, Connection, Database, START, Session};
use crate::tables::{Delivery, Outcome, State, Tables, Write};

/// A database of one test.
#[derive(Clone)]
pub struct Model(Rc<Shared>);

struct Shared {
    tables: RefCell<Tables>,
    now: Cell<i64>,
    /// The changes, if they are written down.
    changes: RefCell<Option<Vec<Change>>>,
    chance: Cell<u64>,
}

impl Model {
    pub fn new() -> Self {
        Self(Rc::new(Shared {
            tables: RefCell::new(Tables::new(START)),
            now: Cell::new(START),
            changes: RefCell::new(None),
            chance: Cell::new(0x9E37_79B9_7F4A_7C15),
        }))
    }
}

impl Database for Model {
    type Connection = ModelConnection;

    async fn connect_as(&self, name: &str) -> Session<ModelConnection> {
        Session(ModelConnection { shared: self.0.clone(), name: name.to_owned() })
    }
}

pub struct ModelConnection {
    shared: Rc<Shared>,
    name: String,
}

impl ModelConnection {
    /// Lets other sessions go on, or not.
    async fn pause(&self) {
        let chance = &self.shared.chance;
        let mut random = chance.get();
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        chance.set(random);
        for _ in 0..(random >> 11) % 3 {
            tokio::task::yield_now().await;
        }
    }

    async fn run(&self, statement: &str, parameters: &[SqlValue]) -> Result<Outcome, SqlError> {
        self.pause().await;
        let now = self.shared.now.get();
        let outcome = self.shared.tables.borrow_mut().run(statement, parameters, now);
        if let (Ok(Outcome { wrote: true, .. }), Some(changes)) = (&outcome, &mut *self.shared.changes.borrow_mut()) {
            let tables = self.shared.tables.borrow();
            let writes = &tables.journal().next_back().unwrap().writes;
            changes.extend(writes.iter().filter_map(|write| self.change(write)));
        }
        self.pause().await;
        outcome.map_err(|_| SqlError::Refused)
    }

    fn change(&self, write: &Write) -> Option<Change> {
        let Write::Delivery(old, new) = write else { return None };
        let is_promise = match (old, new) {
            (Some(old), Some(new)) => Delivery { accepted: new.accepted, ..old.clone() } == *new,
            _ => false,
        };
        Some(Change {
            session: self.name.clone(),
            key: new.as_ref().or(old.as_ref())?.key.clone(),
            old_token: old.as_ref().and_then(|old| old.token.clone()),
            new_token: new.as_ref().and_then(|new| new.token.clone()),
            old_due: old.as_ref().and_then(|old| old.due),
            at: self.shared.now.get(),
            is_promise,
        })
    }
}

impl SqlConnection for ModelConnection {
    async fn execute(&self, statement: &str, parameters: &[SqlValue]) -> Result<u64, SqlError> {
        Ok(self.run(statement, parameters).await?.affected)
    }

    async fn query(&self, statement: &str, parameters: &[SqlValue]) -> Result<Vec<SqlRow>, SqlError> {
        Ok(self.run(statement, parameters).await?.rows)
    }
}

impl Connection for ModelConnection {
    async fn advance(&self, ms: i64) {
        self.shared.now.set(self.shared.now.get() + ms);
    }

    async fn rows(&self) -> Vec<Value> {
        self.shared.tables.borrow().deliveries().iter().map(Delivery::to_json).collect()
    }

    async fn count(&self) -> i64 {
        i64::try_from(self.shared.tables.borrow().deliveries().len()).unwrap()
    }

    async fn remember(&self, prefix: &str, count: i64, left: i64) {
        for n in 1..=count {
            let key = format!("{prefix}{n}");
            let row = Delivery {
                label: key.clone(),
                id: key.clone(),
                key,
                state: State::Delivered,
                digest: String::new(),
                reference: "w".to_owned(),
                topic: None,
                queue: None,
                seq: None,
                delivery: None,
                body: Some(b"{}".to_vec()),
                accepted: true,
                token: None,
                maybe_sent: false,
                due: None,
                received: 0,
                changed: 0,
                expires: Some(self.shared.now.get() + left),
            };
            self.shared.tables.borrow_mut().add(row).unwrap();
        }
    }

    async fn audit(&self) {
        *self.shared.changes.borrow_mut() = Some(Vec::new());
    }

    async fn changes(&self) -> Vec<Change> {
        self.shared.changes.borrow().clone().unwrap()
    }
}

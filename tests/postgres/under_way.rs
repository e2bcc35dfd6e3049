//! Never two of one key under way: sessions do random steps at once, with late holders and a clock that jumps, and
//! every change of a row is written down.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use sluice::store::postgres::{
    DEAD_LETTER, DELETE, LIST, PROMISE, RELEASE, RENEW, RESCHEDULE, SWEEP, SWEEP_KEYS, TAKE_HEADS, TAKE_ONE,
};

use crate::session::{Change, Connection, Contender, Database, KEEP, LEASE, Session};
use crate::{law, values};

law!(two_of_one_key_are_never_under_way: never_two(1_000));

/// Six sessions do this number of steps each.
pub async fn never_two(database: &impl Database, steps: u64) {
    let sql = database.connect().await;
    sql.0.audit().await;
    let sessions = database.connect_all(6).await.into_iter().enumerate();
    let walks = sessions.map(|(n, session)| walk(session, format!("s{n}"), steps));
    let believed: BTreeSet<_> = join_all(walks).await.into_iter().flatten().collect();
    let changes = sql.0.changes().await;
    // Changes by another session than the holder's, within its lease. A sender's 2xx alone is permitted.
    let is_violation = |change: &&Change| {
        let holder = change.old_token.as_deref().and_then(|token| token.split(':').next());
        let is_under_way = change.old_due.is_some_and(|due| due > change.at);
        holder.is_some_and(|holder| is_under_way && holder != change.session) && !change.is_promise
    };
    let violations: Vec<_> = changes.iter().filter(is_violation).collect();
    assert!(violations.is_empty(), "{} changes within another's lease, such as {:?}", violations.len(), violations[0]);
    // The holders that the rows have had. A holder knows that it holds a row, and nobody else believes that.
    let begun = changes.iter().filter(|change| change.new_token != change.old_token);
    let holders: BTreeSet<_> =
        begun.filter_map(|change| Some((change.key.clone(), change.new_token.clone()?))).collect();
    let strangers: Vec<_> = believed.difference(&holders).collect();
    assert!(strangers.is_empty(), "believe in vain that they hold a row: {strangers:?}");
    let unknown: Vec<_> = holders.difference(&believed).collect();
    assert!(unknown.is_empty(), "hold a row unknowingly: {unknown:?}");
    let is_takeover = |change: &Change| change.old_token.is_some() && change.new_token.is_some();
    assert!(changes.iter().any(|change| is_takeover(change) && change.new_token != change.old_token));
}

/// Random steps. Returns the rows that the session believes it has held, with the token of each.
async fn walk(sql: Session<impl Connection>, name: String, steps: u64) -> Vec<(String, String)> {
    let mut random = name.bytes().fold(0x9e37_79b9_7f4a_7c15_u64, |hash, byte| hash ^ u64::from(byte) << 17);
    let mut next = move |bound: u64| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (random >> 11) % bound
    };
    let mut believed: Vec<(String, String)> = Vec::new();
    // Where the deliveries are that were moved.
    let mut moved: Vec<(String, String)> = Vec::new();
    let bytes = &b"later"[..];
    for step in 0..steps {
        let token = format!("{name}:{step}");
        // Any holder, also one that is late.
        let held = match believed.len() as u64 {
            0 => ("none".to_owned(), "none".to_owned()),
            _ if !moved.is_empty() && next(4) == 0 => moved[moved.len() - 1].clone(),
            count => believed[usize::try_from(count - 1 - next(count.min(6))).unwrap()].clone(),
        };
        let (key, held) = (&held.0, &held.1);
        match next(18) {
            0..4 => {
                let (key, id) = (format!("k{}", next(4)), format!("{name}.{step}"));
                let queue = (next(3) == 0).then_some("q");
                let claim = Contender { queue, ..Contender::start(&key, &id, &token) };
                let answer = sql.claim(&claim).await;
                if answer.standing != "held" {
                    believed.push((key, token));
                }
            }
            4 => believed.extend(sql.take(&token, 2).await.into_iter().map(|taken| (taken.key, token.clone()))),
            5 => {
                let heads = sql.run(TAKE_HEADS, values![token, LEASE, 2_i64]).await.unwrap();
                believed.extend(heads.iter().map(|head| (head.get("key"), token.clone())));
            }
            6 => drop(sql.settle(key, held, KEEP / 10).await),
            7 => drop(sql.run(RESCHEDULE, values![key, held, bytes, 300_i64, true]).await.unwrap()),
            8 => drop(sql.run(RELEASE, values![key, held]).await.unwrap()),
            9 => drop(
                sql.run(DEAD_LETTER, values![key, held, bytes, (next(2) == 0).then_some(KEEP / 10), true])
                    .await
                    .unwrap(),
            ),
            10 => drop(sql.run(RENEW, values![key, held, None::<&[u8]>, LEASE]).await.unwrap()),
            11 => {
                let state = if next(2) == 0 { "pending" } else { "dead" };
                let rows = sql.run(LIST, values![state, "", 9_i64]).await.unwrap();
                let Some(row) = rows.get(usize::try_from(next(9)).unwrap()) else { continue };
                let id: String = row.get("id");
                match next(3) {
                    0 => drop(sql.run(DELETE, values![id]).await.unwrap()),
                    1 => drop(sql.run(PROMISE, values![format!("k{}", next(4)), id]).await.unwrap()),
                    // Another delivery may take the key at the same moment: an error, and nothing has changed.
                    _ => {
                        let taken = sql.run(TAKE_ONE, values![id, token, LEASE]).await.unwrap_or_default();
                        believed.extend(taken.iter().map(|taken| (taken.get("key"), token.clone())));
                    }
                }
            }
            12 => {
                sql.run(SWEEP, values![9_i64]).await.unwrap();
                sql.run(SWEEP_KEYS, values![9_i64]).await.unwrap();
            }
            13 => {
                // Another delivery may take the key at the same moment, as above.
                let task = format!("k{}", next(4));
                if let Ok(Some(row)) = sql.move_to(key, held, &task, bytes).await
                    && row.get::<String>("standing") == "won"
                {
                    moved.push((task, held.clone()));
                }
            }
            _ => sql.advance(i64::try_from(next(200)).unwrap()).await,
        }
    }
    believed
}

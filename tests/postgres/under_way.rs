//! Never two of one key under way: sessions do random steps at once, with late holders and a clock that jumps, and a
//! trigger writes down every change of a row.

use std::collections::BTreeSet;

use sluice::store::postgres::{
    DEAD_LETTER, DELETE, LIST, PROMISE, RELEASE, RENEW, RESCHEDULE, SWEEP, SWEEP_KEYS, TAKE_HEADS,
};

use crate::database::{Contender, Database, KEEP, LEASE, Session};

/// Writes down each change: of which session, and what it did to the holder. Row locks put the changes of a row in
/// order.
const AUDIT: &str = "
    CREATE TABLE audit (
        n int8 GENERATED ALWAYS AS IDENTITY, session text, op text, key text,
        old_token text, new_token text, old_due int8, at int8, is_promise bool
    );
    CREATE FUNCTION audit() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO audit (session, op, key, old_token, new_token, old_due, at, is_promise) VALUES (
            current_setting('application_name'), TG_OP,
            CASE WHEN TG_OP = 'DELETE' THEN OLD.key ELSE NEW.key END,
            CASE WHEN TG_OP <> 'INSERT' THEN OLD.token END,
            CASE WHEN TG_OP <> 'DELETE' THEN NEW.token END,
            CASE WHEN TG_OP <> 'INSERT' THEN OLD.due END,
            sluice_clock(),
            TG_OP = 'UPDATE' AND to_jsonb(OLD) - 'accepted' = to_jsonb(NEW) - 'accepted'
        );
        RETURN NULL;
    END $$;
    CREATE TRIGGER audit AFTER INSERT OR UPDATE OR DELETE ON sluice_delivery FOR EACH ROW EXECUTE FUNCTION audit();";

/// Changes by another session than the holder's, within its lease. A sender's 2xx alone is permitted.
const VIOLATIONS: &str = "
    SELECT to_jsonb(a)::text FROM audit AS a
    WHERE a.old_token IS NOT NULL AND a.old_due > a.at AND split_part(a.old_token, ':', 1) <> a.session
        AND NOT a.is_promise";

/// The holders that the rows have had.
const HOLDERS: &str = "
    SELECT DISTINCT a.key, a.new_token FROM audit AS a
    WHERE a.new_token IS NOT NULL AND a.new_token IS DISTINCT FROM a.old_token";

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL: SLUICE_TEST_POSTGRES"]
async fn two_of_one_key_are_never_under_way() {
    let database = Database::new("under_way").await;
    never_two(&database, 1_000).await;
    database.drop().await;
}

/// Six sessions do this number of steps each.
pub async fn never_two(database: &Database, steps: u64) {
    let sql = database.connect().await;
    sql.client.batch_execute(AUDIT).await.unwrap();
    let mut sessions = Vec::new();
    for (n, session) in database.connect_all(6).await.into_iter().enumerate() {
        session.client.batch_execute(&format!("SET application_name = 's{n}'")).await.unwrap();
        sessions.push(tokio::spawn(walk(session, format!("s{n}"), steps)));
    }
    let mut believed = BTreeSet::new();
    for session in sessions {
        believed.extend(session.await.unwrap());
    }
    let violations = sql.client.query(VIOLATIONS, &[]).await.unwrap();
    let violations: Vec<String> = violations.iter().map(|row| row.get(0)).collect();
    assert!(violations.is_empty(), "{} changes within another's lease, such as {}", violations.len(), violations[0]);
    let holders = sql.client.query(HOLDERS, &[]).await.unwrap();
    let holders: BTreeSet<(String, String)> = holders.iter().map(|row| (row.get(0), row.get(1))).collect();
    // A holder knows that it holds a row, and nobody else believes that.
    let strangers: Vec<_> = believed.difference(&holders).collect();
    assert!(strangers.is_empty(), "believe in vain that they hold a row: {strangers:?}");
    let unknown: Vec<_> = holders.difference(&believed).collect();
    assert!(unknown.is_empty(), "hold a row unknowingly: {unknown:?}");
    let takeovers = "SELECT count(*) FROM audit WHERE new_token <> old_token";
    assert!(sql.client.query_one(takeovers, &[]).await.unwrap().get::<_, i64>(0) > 0, "no lease ran out");
}

/// Random steps. Returns the rows that the session believes it has held, with the token of each.
async fn walk(sql: Session, name: String, steps: u64) -> Vec<(String, String)> {
    let mut random = name.bytes().fold(0x9e37_79b9_7f4a_7c15_u64, |hash, byte| hash ^ u64::from(byte) << 17);
    let mut next = move |bound: u64| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (random >> 11) % bound
    };
    let mut believed: Vec<(String, String)> = Vec::new();
    let bytes = &b"later"[..];
    for step in 0..steps {
        let token = format!("{name}:{step}");
        // Any holder, also one that is late.
        let held = match believed.len() as u64 {
            0 => ("none".to_owned(), "none".to_owned()),
            count => believed[usize::try_from(count - 1 - next(count.min(6))).unwrap()].clone(),
        };
        let (key, held) = (&held.0, &held.1);
        match next(16) {
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
                let heads = sql.run(TAKE_HEADS, &[&token, &LEASE, &2_i64]).await.unwrap();
                believed.extend(heads.iter().map(|head| (head.get("key"), token.clone())));
            }
            6 => drop(sql.settle(key, held, KEEP / 10).await),
            7 => drop(sql.run(RESCHEDULE, &[key, held, &bytes, &300_i64]).await.unwrap()),
            8 => drop(sql.run(RELEASE, &[key, held]).await.unwrap()),
            9 => drop(sql.run(DEAD_LETTER, &[key, held, &bytes, &(next(2) == 0).then_some(KEEP / 10)]).await.unwrap()),
            10 => drop(sql.run(RENEW, &[key, held, &None::<&[u8]>, &LEASE]).await.unwrap()),
            11 => {
                let state = if next(2) == 0 { "pending" } else { "dead" };
                let rows = sql.run(LIST, &[&state, &"", &9_i64]).await.unwrap();
                let Some(row) = rows.get(usize::try_from(next(9)).unwrap()) else { continue };
                let id: String = row.get("id");
                match next(3) {
                    0 => drop(sql.run(DELETE, &[&id]).await.unwrap()),
                    1 => drop(sql.run(PROMISE, &[&format!("k{}", next(4)), &id]).await.unwrap()),
                    // Another delivery may take the key at the same moment: an error, and nothing has changed.
                    _ => {
                        let params: [&(dyn tokio_postgres::types::ToSql + Sync); 3] = [&id, &token, &LEASE];
                        let taken = sql.run(sluice::store::postgres::TAKE_ONE, &params).await.unwrap_or_default();
                        believed.extend(taken.iter().map(|taken| (taken.get("key"), token.clone())));
                    }
                }
            }
            12 => {
                sql.run(SWEEP, &[&9_i64]).await.unwrap();
                sql.run(SWEEP_KEYS, &[&9_i64]).await.unwrap();
            }
            _ => sql.advance(i64::try_from(next(200)).unwrap()).await,
        }
    }
    believed
}

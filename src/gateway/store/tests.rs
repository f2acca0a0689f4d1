//! What the store promises: keys are unique, tables in step, failures undone, batches whole, changes told.

use super::*;
use uuid::Uuid;

const PLANE: PlaneId = 7;

fn entry(id: u128, name: &str) -> Entry {
    Entry {
        id: Uuid::from_u128(id),
        body: format!("{{\"name\":\"{name}\"}}").into(),
        keys: vec![Key { plane: PLANE, name: "name".into(), value: name.into() }],
        references: Vec::new(),
        tags: Vec::new(),
        expires: None,
    }
}

fn put(tx: &mut Tx<'_>, new: &Entry, old: Option<&Entry>) -> Result<Result<(), Conflict>, StoreError> {
    tx.put(PLANE, "things", new, old)
}

fn names(tx: &Tx<'_>) -> Result<Vec<String>, StoreError> {
    Ok(tx.all(PLANE, "things")?.iter().map(|row| row.body.to_string()).collect())
}

#[test]
fn keys_and_ids_are_unique_and_free_again_after_a_change() {
    let store = Store::open(None).unwrap();
    let conflicts = store.run_blocking(|tx| {
        let (a, b) = (entry(1, "a"), entry(2, "b"));
        let mut out = vec![put(tx, &a, None)?, put(tx, &b, None)?];
        out.push(put(tx, &entry(3, "a"), None)?);
        out.push(put(tx, &entry(1, "c"), None)?);
        out.push(put(tx, &entry(1, "c"), Some(&a))?);
        out.push(put(tx, &entry(3, "a"), None)?);
        tx.remove(PLANE, "things", &b)?;
        out.push(put(tx, &entry(4, "b"), None)?);
        Ok::<_, StoreError>(out)
    });
    let expected = [Ok(()), Ok(()), Err(Conflict(Some(0))), Err(Conflict(None)), Ok(()), Ok(()), Ok(())];
    assert_eq!(conflicts.unwrap(), expected);
}

#[test]
fn a_failed_job_leaves_nothing_and_a_panic_does_not_end_the_store() {
    let store = Store::open(None).unwrap();
    let version = store.version();
    let failed = store.run_blocking(|tx| {
        put(tx, &entry(1, "a"), None)?.map_err(|_| StoreError::Closed)?;
        Err::<(), _>(StoreError::Row("on purpose".to_owned()))
    });
    assert!(matches!(failed, Err(StoreError::Row(_))));
    let panicked = store.run_blocking::<(), StoreError>(|tx| {
        let _ = put(tx, &entry(2, "b"), None);
        panic!("on purpose")
    });
    assert!(panicked.is_err());
    assert_eq!(store.run_blocking(|tx| names(tx)).unwrap(), Vec::<String>::new());
    assert_eq!(store.version(), version);
}

#[test]
fn references_and_tags_are_found_in_pages() {
    let store = Store::open(None).unwrap();
    let target = Uuid::from_u128(99);
    let found = store.run_blocking(move |tx| {
        for n in 1..=5 {
            let mut entry = entry(n, &n.to_string());
            entry.references = vec![("owner".into(), target)];
            entry.tags = if n % 2 == 0 { vec!["even".into(), "all".into()] } else { vec!["all".into()] };
            put(tx, &entry, None)?.map_err(|_| StoreError::Closed)?;
        }
        let first = tx.page_referencing(PLANE, "things", "owner", target, None, 3)?;
        let rest =
            tx.page_referencing(PLANE, "things", "owner", target, first.last().map(|row| row.id), 3)?;
        let both = tx.page_tagged(PLANE, "things", &["even".into(), "all".into()], true, None, 9)?;
        let any = tx.page_tagged(PLANE, "things", &["even".into(), "all".into()], false, None, 9)?;
        let tags = tx.tags(PLANE, Some("even"), None, 9)?;
        let pointers = tx.referencing(PLANE, target)?;
        Ok::<_, StoreError>([first.len(), rest.len(), both.len(), any.len(), tags.len(), pointers.len()])
    });
    assert_eq!(found.unwrap(), [3, 2, 2, 5, 2, 5]);
}

#[test]
fn expired_rows_are_gone_and_their_keys_free() {
    let store = Store::open(None).unwrap();
    let result = store.run_blocking(|tx| {
        let gone = Entry { expires: Some(tx.now() - 1.0), ..entry(1, "a") };
        put(tx, &gone, None)?.map_err(|_| StoreError::Closed)?;
        let seen = names(tx)?.len();
        put(tx, &entry(2, "a"), None)?.map_err(|_| StoreError::Closed)?;
        Ok::<_, StoreError>((seen, names(tx)?.len(), tx.sweep()?))
    });
    assert_eq!(result.unwrap(), (0, 1, 0));
}

#[test]
fn what_changed_is_told_by_kind_and_plane() {
    let store = Store::open(None).unwrap();
    let before = store.version();
    let stamps = |store: &Store| {
        let stamps = |tx: &mut Tx<'_>| {
            Ok::<_, StoreError>((tx.stamp(PLANE, &["things", "others"]), tx.stamp(PLANE + 1, &["things"])))
        };
        store.run_blocking(stamps).unwrap()
    };
    assert_eq!(stamps(&store), (0, 0));
    store.run_blocking(|tx| put(tx, &entry(1, "a"), None)).unwrap().unwrap();
    assert_eq!((stamps(&store), store.version()), ((before + 1, 0), before + 1));
    store.run_blocking(|tx| tx.put(PLANE, "others", &entry(2, "b"), None)).unwrap().unwrap();
    assert_eq!(stamps(&store), (before + 2, 0));
    let each = store.run_blocking(|tx| {
        let mut seen = Vec::new();
        tx.each(PLANE, "things", |id, body| {
            seen.push((id, body.to_owned()));
            Ok(())
        })?;
        Ok::<_, StoreError>(seen)
    });
    assert_eq!(each.unwrap(), [(Uuid::from_u128(1), "{\"name\":\"a\"}".to_owned())]);
}

#[test]
fn a_file_keeps_what_was_answered() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data.db");
    {
        let store = Store::open(Some(&path)).unwrap();
        store.run_blocking(|tx| put(tx, &entry(1, "a"), None)).unwrap().unwrap();
    }
    // The thread of the first store ends after its handle; the file is free a moment later.
    let again = (0..200).find_map(|_| {
        std::thread::sleep(std::time::Duration::from_millis(10));
        Store::open(Some(&path)).ok()
    });
    assert_eq!(again.unwrap().run_blocking(|tx| names(tx)).unwrap().len(), 1);
}

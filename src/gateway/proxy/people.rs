//! Who clients can be: consumers, their groups, and the credentials that they show.
//!
//! What does not live here: checking what a client shows (`plugins`).

use super::rows::{Rows, Text};
use super::views::{self, Consumer, ConsumerGroup, Credential};
use crate::gateway::store::StoreError;
use std::collections::HashMap;
use std::sync::Arc;
use uuid::Uuid;

/// The kinds that this is made from.
pub(super) const KINDS: &[&str] = &[
    "consumers",
    "consumer_groups",
    "consumer_group_consumers",
    "acls",
    "keyauth_credentials",
    "basicauth_credentials",
    "hmacauth_credentials",
    "jwt_secrets",
];

/// Credentials that a request can show: the kind, the field that it shows, and those that it is checked by.
const CREDENTIALS: [(&str, &str, &[&str]); 4] = [
    ("keyauth_credentials", "key", &[]),
    ("basicauth_credentials", "username", &["password"]),
    ("hmacauth_credentials", "username", &["secret"]),
    ("jwt_secrets", "key", &["algorithm", "secret", "rsa_public_key"]),
];

/// Consumers and credentials by what names them.
#[derive(Default)]
pub(super) struct People {
    consumers: HashMap<Uuid, Arc<Consumer>>,
    usernames: HashMap<Box<str>, Arc<Consumer>>,
    credentials: [HashMap<Box<str>, Arc<Credential>>; CREDENTIALS.len()],
}

impl People {
    pub fn read(rows: Rows<'_>) -> Result<Self, StoreError> {
        let mut people = People::default();
        people.add_consumers(rows)?;
        for ((kind, shown, checked), known) in CREDENTIALS.iter().zip(&mut people.credentials) {
            rows.values(kind, |_, row, _| {
                let consumer = views::target(row, "consumer").and_then(|id| people.consumers.get(&id));
                let (Some(consumer), Some(id), Some(shown)) =
                    (consumer, views::text(row, "id"), views::text(row, shown))
                else {
                    return;
                };
                // An API key is a secret; names and the keys of tokens are not.
                let identifier = if *kind == "keyauth_credentials" { id.clone() } else { shown.clone() };
                let checked = checked.iter().filter_map(|field| Some((*field, views::secret(row, field)?)));
                let consumer = Arc::clone(consumer);
                let credential = Credential { id, identifier, consumer, checked: checked.collect() };
                known.insert(shown, Arc::new(credential));
            })?;
            known.shrink_to_fit();
        }
        Ok(people)
    }

    fn add_consumers(&mut self, rows: Rows<'_>) -> Result<(), StoreError> {
        let mut groups = HashMap::new();
        rows.values("consumer_groups", |uuid, row, _| {
            if let Some(id) = views::text(row, "id") {
                let name = views::text(row, "name").unwrap_or_default();
                groups.insert(uuid, ConsumerGroup { id, uuid, name });
            }
        })?;
        let mut memberships: HashMap<Uuid, Vec<ConsumerGroup>> = HashMap::new();
        rows.values("consumer_group_consumers", |_, row, _| {
            let group = views::target(row, "consumer_group").and_then(|id| groups.get(&id));
            if let (Some(consumer), Some(group)) = (views::target(row, "consumer"), group) {
                memberships.entry(consumer).or_default().push(group.clone());
            }
        })?;
        let mut acls: HashMap<Uuid, Vec<Box<str>>> = HashMap::new();
        rows.values("acls", |_, row, _| {
            if let (Some(consumer), Some(group)) = (views::target(row, "consumer"), views::text(row, "group"))
            {
                acls.entry(consumer).or_default().push(group);
            }
        })?;
        rows.values("consumers", |uuid, row, text| {
            let Some(id) = views::text(row, "id") else { return };
            let mut groups = memberships.remove(&uuid).unwrap_or_default();
            groups.sort_by(|a, b| a.name.cmp(&b.name));
            let consumer = Arc::new(Consumer {
                username: views::text(row, "username"),
                custom_id: views::text(row, "custom_id"),
                groups: groups.into(),
                acl_groups: acls.remove(&uuid).unwrap_or_default().into(),
                row: Text::new(text),
                uuid,
                id,
            });
            if let Some(username) = &consumer.username {
                self.usernames.insert(username.clone(), Arc::clone(&consumer));
            }
            self.consumers.insert(uuid, consumer);
        })?;
        self.usernames.shrink_to_fit();
        self.consumers.shrink_to_fit();
        Ok(())
    }

    /// A consumer by its id, or else by its user name.
    pub fn consumer(&self, id_or_name: &str) -> Option<&Arc<Consumer>> {
        let by_id = Uuid::try_parse(id_or_name).ok().and_then(|id| self.consumers.get(&id));
        by_id.or_else(|| self.usernames.get(id_or_name))
    }

    /// The credential of a kind by what a client shows.
    pub fn credential(&self, kind: &str, shown: &str) -> Option<&Arc<Credential>> {
        let position = CREDENTIALS.iter().position(|(known, ..)| *known == kind)?;
        self.credentials.get(position)?.get(shown)
    }
}

//! What stands in a dump in place of secrets, and the file of their values.

use crate::value::{Path, Secret, Step, Value};
use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::str::FromStr;

/// What a dump does with secrets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Secrets {
    /// Their texts are written.
    #[default]
    Plain,
    /// Each becomes `${{ env "DECK_..." }}`, and its value goes to a file of variables.
    Env,
    /// Vault references stay; every other secret becomes a variable as with `Env`.
    Vault,
    /// Each becomes a hash salted with this text: equal secrets stay equal, and nothing leads back.
    Sanitized(String),
}

impl FromStr for Secrets {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "plain" => Ok(Secrets::Plain),
            "env" => Ok(Secrets::Env),
            "vault" => Ok(Secrets::Vault),
            _ => Err(format!("'{name}' is not one of plain, env, vault")),
        }
    }
}

/// A variable that a dump refers to.
#[derive(Clone, Debug, PartialEq)]
pub struct Variable {
    /// Its name: `DECK_...`.
    pub name: String,
    /// Its value.
    pub value: Secret,
}

/// Replaces the secrets of bodies one after the other and keeps what it replaced.
pub(super) struct Replacer<'a> {
    mode: &'a Secrets,
    names: BTreeSet<String>,
    pub variables: Vec<Variable>,
    /// How many secrets were written in clear.
    pub plain: usize,
}

impl<'a> Replacer<'a> {
    pub fn new(mode: &'a Secrets) -> Self {
        Replacer { mode, names: BTreeSet::new(), variables: Vec::new(), plain: 0 }
    }

    /// Replaces every secret in a body; `owner` begins the names of its variables.
    pub fn replace(&mut self, body: &mut Value, owner: &str) {
        self.walk(body, owner, &Path::root());
    }

    fn walk(&mut self, value: &mut Value, owner: &str, at: &Path) {
        match value {
            Value::Array(items) => {
                for (index, item) in items.iter_mut().enumerate() {
                    self.walk(item, owner, &at.index(index));
                }
            }
            Value::Object(members) => {
                for (key, member) in members.iter_mut() {
                    self.walk(member, owner, &at.key(key));
                }
            }
            Value::Secret(secret) => {
                let replaced = self.scalar(secret, owner, at);
                *value = replaced;
            }
            _ => {}
        }
    }

    fn scalar(&mut self, secret: &Secret, owner: &str, at: &Path) -> Value {
        let is_reference = secret.expose_text().starts_with("{vault://");
        // A reference says where a secret is, and no more; an empty text hides nothing.
        if is_reference || secret.expose().as_str() == Some("") {
            return secret.expose().clone();
        }
        match self.mode {
            Secrets::Plain => {
                self.plain += 1;
                Value::Secret(secret.clone())
            }
            Secrets::Sanitized(salt) => Value::from(hash(salt, secret)),
            Secrets::Env | Secrets::Vault => {
                let name = self.name(owner, at);
                let filter = match secret.expose() {
                    Value::Bool(_) => " | toBool",
                    Value::Number(number) if number.is_f64() => " | toFloat",
                    Value::Number(_) => " | toInt",
                    _ => "",
                };
                let expression = format!("${{{{ env \"{name}\"{filter} }}}}");
                self.variables.push(Variable { name, value: secret.clone() });
                Value::from(expression)
            }
        }
    }

    fn name(&mut self, owner: &str, at: &Path) -> String {
        let mut words = vec!["DECK".to_owned(), owner.to_owned()];
        words.extend(
            at.steps().iter().filter(|step| !matches!(step, Step::Key(key) if &**key == "config")).map(
                |step| match step {
                    Step::Key(key) => key.to_string(),
                    Step::Index(index) => index.to_string(),
                },
            ),
        );
        let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
        let base: String = words.join("_").chars().map(plain).collect();
        let mut name = base.clone();
        let mut count = 1;
        while !self.names.insert(name.clone()) {
            count += 1;
            name = format!("{base}_{count}");
        }
        name
    }
}

fn hash(salt: &str, secret: &Secret) -> String {
    let text = match secret.expose() {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let digest = Sha256::digest([salt.as_bytes(), b"\0", text.as_bytes()].concat());
    HEXLOWER.encode(digest.get(..16).unwrap_or_default())
}

/// The text of a file of variables (`NAME="value"`), for `--env-file`.
pub fn env_file(variables: &[Variable]) -> String {
    let mut text = String::new();
    for variable in variables {
        let value = match variable.value.expose() {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let mut quoted = String::with_capacity(value.len() + 2);
        for c in value.chars() {
            match c {
                '\\' | '"' | '$' => quoted.extend(['\\', c]),
                '\n' => quoted.push_str("\\n"),
                c => quoted.push(c),
            }
        }
        text.push_str(&format!("{}=\"{quoted}\"\n", variable.name));
    }
    text
}

/// Makes a text a secret of the control plane; for tests of this room.
#[cfg(test)]
pub(super) fn secret(text: &str) -> Value {
    Value::Secret(Secret::text(text, crate::value::Origin::ControlPlane))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replaced(mode: &Secrets, text: &str) -> (Value, Vec<Variable>) {
        let mut body = Value::object();
        body.set("key", secret(text));
        let mut replacer = Replacer::new(mode);
        replacer.replace(&mut body, "key-auth amy");
        (body, replacer.variables)
    }

    #[test]
    fn a_variable_takes_a_secrets_place() {
        let (body, variables) = replaced(&Secrets::Env, "hush");
        assert_eq!(body.get("key").unwrap().as_str(), Some("${{ env \"DECK_KEY_AUTH_AMY_KEY\" }}"));
        assert_eq!(variables.len(), 1);
        assert_eq!(env_file(&variables), "DECK_KEY_AUTH_AMY_KEY=\"hush\"\n");
    }

    #[test]
    fn the_file_of_variables_reads_back() {
        let nasty = "a \"b\" $C \\ d\ne # f\n";
        let (_, variables) = replaced(&Secrets::Env, nasty);
        let text = env_file(&variables);
        let read: Vec<(String, String)> =
            dotenvy::from_read_iter(text.as_bytes()).map(Result::unwrap).collect();
        assert_eq!(read, vec![("DECK_KEY_AUTH_AMY_KEY".to_owned(), nasty.to_owned())]);
    }

    #[test]
    fn a_vault_reference_is_no_secret() {
        let (body, variables) = replaced(&Secrets::Vault, "{vault://aws/key}");
        assert_eq!(body.get("key").unwrap().as_str(), Some("{vault://aws/key}"));
        assert!(variables.is_empty());
    }

    #[test]
    fn a_sanitized_secret_leads_nowhere_but_stays_equal_to_itself() {
        let mode = Secrets::Sanitized("salt".into());
        let (one, _) = replaced(&mode, "hush");
        let (two, _) = replaced(&mode, "hush");
        let (other, _) = replaced(&mode, "else");
        assert!(one == two && one != other);
        assert!(!one.to_string().contains("hush"));
    }
}

//! The groups of flags that the gateway commands share.

use super::super::Context;
use super::super::weights::Weights;
use crate::diagnostics::{Diagnostic, Place, codes};
use crate::document::{self, Documents, Expansion, Variables};
use crate::schema::{Kind, Schemas};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// The kinds that flags speak of, by Kong's names.
const CONSUMERS: &str = "consumers";
const CONSUMER_GROUPS: &str = "consumer_groups";
const MEMBERSHIPS: &str = "consumer_group_consumers";
const CA_CERTIFICATES: &str = "ca_certificates";
/// Kinds that are left alone unless asked for: definitions of plugins, and licences, without which a gateway stops.
const DEFINITIONS: [&str; 2] = ["custom_plugins", "cloned_plugins"];
const LICENSES: &str = "licenses";
/// What the paths of the kinds of access control begin with.
const RBAC: &str = "rbac";
/// The key of the consumer groups that a consumer is in.
const MEMBERS: &str = "groups";

fn is_rbac(name: &str) -> bool {
    name.starts_with(RBAC)
}

fn is_definition(name: &str) -> bool {
    DEFINITIONS.contains(&name)
}

/// Whether a list holds what takes part in proxying, in place of roles or the like.
fn is_proxied(key: &str) -> bool {
    !is_rbac(key) && !key.starts_with('_')
}

/// Fails when two flags are set that do not go together. A switch that is given as `false` is not set.
pub fn exclusive(one: (&str, bool), other: (&str, bool)) -> Result<(), Diagnostic> {
    if one.1 && other.1 {
        return Err(Diagnostic::error(codes::USAGE, format!("{} cannot be used with {}", one.0, other.0)));
    }
    Ok(())
}

/// Which files, with which variables.
#[derive(clap::Args, Clone, Default)]
#[command(next_help_heading = "State files")]
pub struct Inputs {
    /// State files and folders; `-` is standard input
    #[arg(value_name = "FILE", help_heading = None::<&'static str>)]
    pub files: Vec<String>,

    /// File of variables (NAME=value) for the state files, beside the environment; repeatable
    #[arg(long, value_name = "FILE")]
    pub env_file: Vec<String>,

    /// Which spellings of variables are expanded: all, deck (`${{ env "NAME" }}`), shell (`$NAME`), off
    #[arg(long, value_name = "SPELLING", default_value = "all")]
    pub env_expansion: Expansion,

    /// Workspace; wins over `_workspace`
    #[arg(short, long, value_name = "NAME")]
    pub workspace: Option<String>,

    #[command(flatten)]
    pub weights: Weights,
}

impl Inputs {
    /// The options of reading the files.
    pub fn options(
        &self,
        context: &Context,
        tags: &[String],
        partial: bool,
    ) -> Result<document::Options, Diagnostic> {
        let environment = context.environment.variables();
        let mut variables =
            Variables::new(environment.iter().map(|(name, text)| (name.clone(), text.clone())));
        for file in &self.env_file {
            document::env_file(file, &mut variables)?;
        }
        Ok(document::Options {
            expansion: self.env_expansion,
            variables: Arc::new(variables),
            workspace: self.workspace.clone().filter(|name| !name.is_empty()),
            select_tags: tags.to_vec(),
            partial,
            ..document::Options::default()
        })
    }
}

/// Which entities belong to the run.
#[derive(clap::Args, Clone, Default)]
#[command(next_help_heading = "Scope")]
pub struct Scope {
    /// Only entities with all of these tags; repeatable
    #[arg(long, value_name = "TAG", value_delimiter = ',')]
    pub select_tag: Vec<String>,

    /// Leave CA certificates alone
    #[arg(long)]
    pub skip_ca_certificates: bool,

    /// Leave consumers and consumer groups alone, with all that belongs to them
    #[arg(long)]
    pub skip_consumers: bool,

    /// Leave alone which consumers belong to which consumer groups
    #[arg(long)]
    pub skip_consumers_with_consumer_groups: bool,

    #[command(flatten)]
    pub kinds: Kinds,
}

/// Which kinds belong to the run.
#[derive(clap::Args, Clone, Default)]
#[command(next_help_heading = "Scope")]
pub struct Kinds {
    /// Only the roles of access control and their permissions
    #[arg(long)]
    pub rbac_resources_only: bool,

    /// Also definitions of custom and cloned plugins
    #[arg(long)]
    pub include_plugin_definitions: bool,
}

impl Scope {
    /// Whether the flags leave some entities alone.
    pub fn leaves_out(&self) -> bool {
        let skips = [
            self.skip_ca_certificates,
            self.skip_consumers,
            self.skip_consumers_with_consumer_groups,
            self.kinds.rbac_resources_only,
        ];
        !self.select_tag.is_empty() || skips.contains(&true)
    }

    /// Fails when flags contradict each other or the files: what a file asks for is not passed over in silence.
    pub fn hold(&self, documents: &Documents) -> Result<(), Diagnostic> {
        let settings = documents.settings();
        let rbac = ("--rbac-resources-only", self.kinds.rbac_resources_only);
        let skips_consumers = ("--skip-consumers", self.skip_consumers);
        exclusive(rbac, skips_consumers)?;
        exclusive(rbac, ("select tags", !self.select_tag.is_empty() || !settings.scopes.is_empty()))?;
        let looked_up = |key: &&str| settings.lookup_tags.contains_key(*key);
        let lookup = [CONSUMERS, CONSUMER_GROUPS].iter().any(looked_up);
        exclusive(skips_consumers, ("lookup tags of consumers or consumer groups", lookup))?;
        let member =
            documents.first_member(CONSUMERS, MEMBERS).filter(|_| self.skip_consumers_with_consumer_groups);
        if let Some(place) = member {
            let problem = "--skip-consumers-with-consumer-groups leaves alone what this asks for";
            let help = "take the flag or the consumers' `groups` away";
            return Err(Diagnostic::error(codes::USAGE, problem).at(place).help(help));
        }
        self.kinds.hold(documents)
    }

    /// The names of the kinds that are left alone.
    pub fn skipped(&self, schemas: &Schemas) -> BTreeSet<Box<str>> {
        let mut skipped = self.kinds.skipped(schemas);
        let flags = [
            (self.skip_ca_certificates, CA_CERTIFICATES),
            (self.skip_consumers, CONSUMERS),
            (self.skip_consumers, CONSUMER_GROUPS),
            (self.skip_consumers_with_consumer_groups, MEMBERSHIPS),
        ];
        skipped.extend(flags.into_iter().filter(|(set, _)| *set).map(|(_, name)| Box::from(name)));
        skipped
    }
}

impl Kinds {
    /// Fails when the files hold what these flags leave alone.
    pub fn hold(&self, documents: &Documents) -> Result<(), Diagnostic> {
        let find = |wanted: fn(&str) -> bool| documents.lists().find(|(key, _)| wanted(key));
        let problem = |found: (&str, Place), message: &str, help: &str| {
            Err(Diagnostic::error(codes::USAGE, format!("`{}` {message}", found.0)).at(found.1).help(help))
        };
        match (find(is_rbac), find(is_proxied), self.rbac_resources_only) {
            (Some(_), Some(proxied), true) => {
                return problem(
                    proxied,
                    "are no roles, and --rbac-resources-only takes roles only",
                    "keep roles in files of their own",
                );
            }
            (Some(roles), Some(_), false) => {
                let help = "keep roles in files of their own, and sync those with --rbac-resources-only";
                return problem(roles, "are not managed together with the gateway's configuration", help);
            }
            _ => {}
        }
        match find(is_definition) {
            Some(found) if !self.include_plugin_definitions => problem(
                found,
                "are definitions of plugins, which a run takes only when asked to",
                "add --include-plugin-definitions",
            ),
            _ => Ok(()),
        }
    }

    /// Whether the files hold roles and nothing else.
    pub fn only_roles(documents: &Documents) -> bool {
        let mut lists = documents.lists().peekable();
        lists.peek().is_some() && lists.all(|(key, _)| is_rbac(key))
    }

    /// The names of the kinds that are left alone.
    pub fn skipped(&self, schemas: &Schemas) -> BTreeSet<Box<str>> {
        schemas.kinds().iter().filter(|kind| !self.takes(kind)).map(|kind| kind.name.clone()).collect()
    }

    fn takes(&self, kind: &Kind) -> bool {
        is_rbac(&kind.path) == self.rbac_resources_only
            && (!is_definition(&kind.name) || self.include_plugin_definitions)
            && &*kind.name != LICENSES
            && kind.file.has_place()
    }
}

/// How requests are made.
#[derive(clap::Args, Clone)]
#[command(next_help_heading = "Requests")]
pub struct Requests {
    /// Requests under way at once, and connections
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub parallelism: u16,

    /// Seconds during which failures that may pass (429, 502, 503, 504, resets, time-outs) are met with repetition
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    pub retry_budget: u32,

    /// Set from `--skip-hash-for-basic-auth` or the files' `_info`.
    #[arg(skip)]
    pub skip_hash: bool,
}

impl Default for Requests {
    fn default() -> Self {
        Requests { parallelism: 10, retry_budget: 30, skip_hash: false }
    }
}

impl Requests {
    /// The budget as a duration.
    pub fn budget(&self) -> Duration {
        Duration::from_secs(self.retry_budget.into())
    }
}

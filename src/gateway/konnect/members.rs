//! Control plane groups: which control planes belong to one.

use super::control_planes::object;
use super::stores::Page;
use super::words::Problem;
use super::{CONTROL_PLANES, Konnect};
use crate::gateway::entities::Records;
use crate::gateway::http::{Reply, Request};
use crate::gateway::rest::Call;
use crate::gateway::store::Tx;
use http::{Method, StatusCode};
use serde_json::{Map, Value as Json, json};
use uuid::Uuid;

/// One row a membership.
const MEMBERS: Records = Records { kind: "group_members", plane: 0, unique: &[], owner: Some("group") };
/// The cluster type of groups.
const GROUP: &str = "CLUSTER_TYPE_CONTROL_PLANE_GROUP";

impl Konnect {
    /// `/v2/control-planes/{id}/group-memberships/...`, `.../group-status`, `.../group-member-status`
    pub(super) async fn group(
        &self,
        id: Uuid,
        what: &str,
        rest: &[String],
        call: &Call,
        request: &Request,
    ) -> Result<Reply, Problem> {
        let writes = matches!(call.method, Method::POST | Method::PUT);
        let given = if writes { members(&object(request)?)? } else { Vec::new() };
        let words: Vec<String> = std::iter::once(what.to_owned()).chain(rest.iter().cloned()).collect();
        let (method, page) = (call.method.clone(), Page::of(call)?);
        self.store
            .run(move |tx| {
                let plane = CONTROL_PLANES.get(tx, id)?.ok_or(Problem::Absent)?;
                let words: Vec<&str> = words.iter().map(String::as_str).collect();
                if words == ["group-member-status"] {
                    let member = json!(id);
                    let is_member = MEMBERS.all(tx, None)?.iter().any(|row| row.get("member") == Some(&member));
                    return Ok(Reply::json(StatusCode::OK, &json!({ "is_member": is_member })));
                }
                if plane.pointer("/config/cluster_type").and_then(Json::as_str) != Some(GROUP) {
                    let reason = "the control plane is not a control plane group".to_owned();
                    return Err(Problem::Invalid(vec![("id".to_owned(), reason)]));
                }
                match (words.as_slice(), &method) {
                    (["group-status"], &Method::GET) => {
                        let item = json!({
                            "id": id, "created_at": plane.get("created_at"), "updated_at": plane.get("updated_at"),
                            "conflicts": [], "state": "OK",
                        });
                        Ok(Reply::json(StatusCode::OK, &json!({ "item": item })))
                    }
                    (["group-memberships"], &Method::GET) => {
                        let mut rows = Vec::new();
                        for member in held(tx, id)? {
                            rows.extend(CONTROL_PLANES.get(tx, member)?);
                        }
                        Ok(page.answer(rows, "id"))
                    }
                    (["group-memberships"], &Method::PUT) => {
                        remove(tx, id, &held(tx, id)?)?;
                        add(tx, id, &given)
                    }
                    (["group-memberships", "add"], &Method::POST) => add(tx, id, &given),
                    (["group-memberships", "remove"], &Method::POST) => {
                        remove(tx, id, &given)?;
                        Ok(Reply::empty(StatusCode::NO_CONTENT))
                    }
                    _ => Err(Problem::Method),
                }
            })
            .await
    }
}

/// The ids in `{"members": [{"id": ...}]}`.
fn members(body: &Map<String, Json>) -> Result<Vec<Uuid>, Problem> {
    let invalid = |reason: &str| Problem::Invalid(vec![("members".to_owned(), reason.to_owned())]);
    let list =
        body.get("members").and_then(Json::as_array).ok_or_else(|| invalid("is a required property"))?;
    let id = |member: &Json| Uuid::try_parse(member.get("id")?.as_str()?).ok();
    list.iter().map(|member| id(member).ok_or_else(|| invalid("must hold ids of control planes"))).collect()
}

fn row_id(group: Uuid, member: Uuid) -> Uuid {
    Uuid::new_v5(&group, member.as_bytes())
}

fn held(tx: &Tx<'_>, group: Uuid) -> Result<Vec<Uuid>, Problem> {
    let rows = MEMBERS.all(tx, Some(group))?;
    Ok(rows.iter().filter_map(|row| Uuid::try_parse(row.get("member")?.as_str()?).ok()).collect())
}

fn add(tx: &mut Tx<'_>, group: Uuid, given: &[Uuid]) -> Result<Reply, Problem> {
    for member in given {
        if *member == group || CONTROL_PLANES.get(tx, *member)?.is_none() {
            let reason = format!("control plane {member} cannot be a member");
            return Err(Problem::Invalid(vec![("members".to_owned(), reason)]));
        }
        let row = json!({"id": row_id(group, *member), "group": group, "member": member});
        MEMBERS.put(tx, &row)?.map_err(|field| Problem::Conflict(format!("{field} must be unique")))?;
    }
    Ok(Reply::empty(StatusCode::NO_CONTENT))
}

fn remove(tx: &mut Tx<'_>, group: Uuid, members: &[Uuid]) -> Result<(), Problem> {
    for member in members {
        MEMBERS.delete(tx, row_id(group, *member))?;
    }
    Ok(())
}

/// Takes a control plane out of every group, and its own members out of it.
pub(super) fn remove_all(tx: &mut Tx<'_>, id: Uuid) -> Result<(), Problem> {
    let own = json!(id);
    for row in MEMBERS.all(tx, None)? {
        if row.get("member") == Some(&own) || row.get("group") == Some(&own) {
            let id = row.get("id").and_then(Json::as_str).and_then(|id| Uuid::try_parse(id).ok());
            MEMBERS.delete(tx, id.unwrap_or_default())?;
        }
    }
    Ok(())
}

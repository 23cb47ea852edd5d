//! The OpenAPI description of every [`Resource`], from the same list of fields that its requests
//! are read by.

#![expect(clippy::indexing_slicing, reason = "a JSON object is asked for a name, which adds it")]

use serde_json::{Map, Value as Json, json};

use super::executions::KEY_MAX;
use super::page::{LIMIT_DEFAULT, LIMIT_MAX, filters, sorts};
use super::problem::MEDIA_TYPE;
use super::schemas::{answer, body, reference, schema};
use crate::domain::resource::Resource;
use crate::domain::url;
use crate::store::{Executed, Relation};

/// The path of the collection of `resource`.
pub(super) fn collection_path(resource: &Resource) -> String {
    match resource.parent {
        Some(parent) => format!("{}/{{id}}/{}", parent.path, resource.segment),
        None => resource.path.to_owned(),
    }
}

/// The path of one of `resource`.
pub(super) fn single_path(resource: &Resource) -> String {
    format!("{}/{{id}}", resource.path)
}

/// The path where an execution is called off.
pub(super) fn cancel_path(executed: Executed) -> String {
    format!("{}/cancel", single_path(executed.resource()))
}

/// The path where an execution is asked for once more.
pub(super) fn retry_path(executed: Executed) -> String {
    format!("{}/retry", single_path(executed.resource()))
}

/// Adds paths and schemas of `resource` to `document`.
pub(super) fn describe(document: &mut Json, resource: &'static Resource) {
    let (all, one) = (collection_path(resource), single_path(resource));
    let below = if resource.parent.is_some() { vec![id_parameter()] } else { Vec::new() };
    let mut collection = json!({ "get": list(resource, &below) });
    let mut single = json!({ "get": read(resource), "delete": delete(resource) });
    if resource.writable {
        collection["post"] = create(resource, &below);
        single["patch"] = update(resource);
        document["components"]["schemas"][format!("New{}", resource.schema)] = body(resource, true);
        document["components"]["schemas"][format!("{}Change", resource.schema)] =
            body(resource, false);
    }
    document["components"]["schemas"][resource.schema] = answer(resource);
    document["paths"][all] = collection;
    document["paths"][one] = single;
}

/// Adds the operations on executions to `document`.
pub(super) fn describe_execution(document: &mut Json, executed: Executed) {
    let resource = executed.resource();
    let mut accepted = content("Accepted", &reference(resource.schema));
    accepted["headers"] = json!({
        "Location": header("Where it is.", true), "ETag": tag(),
    });
    let key = json!({
        "name": "Idempotency-Key", "in": "header", "required": false,
        "description": "For a day, the same key from the same user is the same execution.",
        "schema": { "type": "string", "minLength": 1, "maxLength": KEY_MAX,
                    "pattern": "^[!-~]+$" },
    });
    let parameters = [id_parameter(), key];
    let accepted = json!({ "202": accepted });
    let start = operation(resource, "start", &parameters, &accepted);
    let mut retry = operation(resource, "retry", &parameters, &accepted);
    retry["description"] = json!("A new execution of what one that is over did: the same steps.");
    let mut cancelled = content("Cancelled", &reference(resource.schema));
    cancelled["headers"] = json!({ "ETag": tag() });
    let parameters = [id_parameter()];
    let cancel = operation(resource, "cancel", &parameters, &json!({ "200": cancelled }));
    document["paths"][collection_path(resource)]["post"] = start;
    document["paths"][cancel_path(executed)]["post"] = cancel;
    document["paths"][retry_path(executed)]["post"] = retry;
}

/// Adds what is true of all operations: the token's form, and that every other status is a problem;
/// and what utoipa's attributes cannot say.
pub(super) fn complete(document: &mut Json) {
    document["components"]["securitySchemes"]["token"] =
        json!({ "type": "http", "scheme": "bearer", "bearerFormat": "JWT" });
    let schemas = &mut document["components"]["schemas"];
    schemas["ReplaceMembers"]["properties"]["testIds"]["uniqueItems"] = json!(true);
    let steps = schemas["Step"]["oneOf"].as_array_mut().into_iter().flatten();
    for url in steps.filter_map(|step| step.pointer_mut("/properties/url")) {
        url["pattern"] = json!(url::PATTERN);
    }
    let events = "/paths/~1api~1executions~1{id}~1events/get/responses/200/content";
    if let Some(content) = document.pointer_mut(events) {
        // Of each event, not of the stream.
        content["text/event-stream"]["schema"] = json!({
            "type": "object", "required": ["event", "data"],
            "properties": {
                "event": { "type": "string", "enum": ["step", "end"] },
                "id": { "type": "string", "description": "Attempt and position: Last-Event-ID." },
                "data": { "type": "string", "description": "JSON." },
            },
        });
    }
    let problem = json!({
        "description": "What went wrong",
        "content": { MEDIA_TYPE: { "schema": { "$ref": "#/components/schemas/Problem" } } },
    });
    let paths = document.get_mut("paths").and_then(Json::as_object_mut);
    for item in paths.into_iter().flat_map(Map::values_mut) {
        for operation in item.as_object_mut().into_iter().flat_map(Map::values_mut) {
            if let Some(responses) = operation.get_mut("responses") {
                responses["default"] = problem.clone();
            }
        }
    }
}

fn operation(resource: &Resource, verb: &str, parameters: &[Json], responses: &Json) -> Json {
    json!({
        "tags": [resource.noun],
        "summary": summary(verb, resource.noun),
        "operationId": format!("{verb}{}", resource.schema),
        "parameters": parameters,
        "responses": responses,
        "security": [{ "token": [] }],
    })
}

/// What an operation does, in a few words.
fn summary(verb: &str, noun: &str) -> String {
    let article = if noun.starts_with(['a', 'e', 'i', 'o']) { "an" } else { "a" };
    match verb {
        "list" => format!("Lists the {noun}s, page by page."),
        "read" => format!("Reads {article} {noun}."),
        "create" => format!("Creates {article} {noun}."),
        "update" => format!("Changes the fields of {article} {noun} that are given."),
        "delete" => format!("Deletes {article} {noun}."),
        "cancel" => format!("Calls {article} {noun} off."),
        "retry" => format!("Asks for {article} {noun} once more."),
        _ => format!("Asks for {article} {noun}, which a worker performs."),
    }
}

fn list(resource: &'static Resource, below: &[Json]) -> Json {
    let query = |name: &str, schema: Json| {
        let mut parameter = json!({ "name": name, "in": "query", "required": false });
        parameter["schema"] = schema;
        parameter
    };
    let mut parameters = below.to_vec();
    let limit = json!({
        "type": "integer", "minimum": 1, "maximum": LIMIT_MAX, "default": LIMIT_DEFAULT,
    });
    parameters.push(query("limit", limit));
    let mut sort = query("sort", json!({ "type": "string", "enum": sorts(resource) }));
    sort["description"] = json!(
        "Descending after a minus sign; -id, the newest first, when left out. What has no value \
         yet comes after the greatest."
    );
    parameters.push(sort);
    let place = "^([^~]*~)?[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$";
    let mut after = query("after", json!({ "type": "string", "pattern": place }));
    after["description"] = json!("Where the page before ended, as its Link header gave it.");
    parameters.push(after);
    for (name, field, relation) in filters(resource) {
        let mut filter = query(&name, schema(field.kind));
        let bound = match relation {
            Relation::Is => None,
            Relation::From => Some("least"),
            Relation::To => Some("most"),
        };
        if let Some(bound) = bound {
            let field = field.name;
            filter["description"] = json!(format!("At {bound} this {field}; sorts by -{field}."));
        }
        parameters.push(filter);
    }
    let items = json!({ "type": "array", "items": reference(resource.schema) });
    let mut listed = content("A page of the list", &items);
    listed["headers"] = json!({ "Link": header("The next page and the first (RFC 8288).", true) });
    operation(resource, "list", &parameters, &json!({ "200": listed }))
}

fn create(resource: &Resource, below: &[Json]) -> Json {
    let mut created = content("Created", &reference(resource.schema));
    created["headers"] = json!({ "Location": header("Where it is.", true), "ETag": tag() });
    let mut operation = operation(resource, "create", below, &json!({ "201": created }));
    operation["requestBody"] = request(&format!("New{}", resource.schema));
    operation
}

fn read(resource: &Resource) -> Json {
    let mut found = content("It", &reference(resource.schema));
    found["headers"] = json!({ "ETag": tag() });
    let responses = json!({ "200": found, "304": { "description": "If-None-Match has its tag" } });
    let known = json!({
        "name": "If-None-Match", "in": "header", "required": false,
        "schema": { "type": "string" },
    });
    operation(resource, "read", &[id_parameter(), known], &responses)
}

fn update(resource: &Resource) -> Json {
    let mut changed = content("As it is now", &reference(resource.schema));
    changed["headers"] = json!({ "ETag": tag() });
    let parameters = [id_parameter(), if_match()];
    let mut operation = operation(resource, "update", &parameters, &json!({ "200": changed }));
    operation["requestBody"] = request(&format!("{}Change", resource.schema));
    operation
}

fn delete(resource: &Resource) -> Json {
    let responses = json!({ "204": { "description": "Deleted, with everything below it" } });
    operation(resource, "delete", &[id_parameter(), if_match()], &responses)
}

fn id_parameter() -> Json {
    let schema = json!({ "type": "string", "format": "uuid" });
    json!({ "name": "id", "in": "path", "required": true, "schema": schema })
}

fn if_match() -> Json {
    json!({
        "name": "If-Match", "in": "header", "required": false,
        "description": "The ETag that it must still have; otherwise 412.",
        "schema": { "type": "string" },
    })
}

fn tag() -> Json {
    header("Its version, for If-Match.", true)
}

fn header(description: &str, required: bool) -> Json {
    json!({ "description": description, "required": required, "schema": { "type": "string" } })
}

fn content(description: &str, schema: &Json) -> Json {
    json!({ "description": description, "content": { "application/json": { "schema": schema } } })
}

fn request(schema: &str) -> Json {
    json!({ "required": true, "content": { "application/json": { "schema": reference(schema) } } })
}

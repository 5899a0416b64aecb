//! The API's description, derived from the handlers.

use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{Content, Ref, ResponseBuilder};
use utoipa::{Modify, OpenApi};

use crate::{Problem, access, oauth, routes, tail};

/// The description of the API, OpenAPI 3.1. `openapi.json` beside this crate is the same.
pub fn openapi() -> utoipa::openapi::OpenApi {
    Description::openapi()
}

#[derive(OpenApi)]
#[openapi(
    info(title = "Claviger", description = "The admin API of the gateway."),
    paths(
        routes::healthz,
        routes::description,
        routes::jwks,
        routes::logins,
        oauth::metadata,
        oauth::token,
        routes::list_sessions,
        routes::show_session,
        routes::kill_session,
        routes::read_recording,
        tail::session,
        tail::all,
        routes::list_approvals,
        routes::show_approval,
        routes::count_rows,
        routes::review_approval,
        tail::approvals,
        access::list_access,
        access::request_access,
        access::show_access,
        access::review_access,
        access::revoke_access,
        access::access_token,
        routes::list_principals,
        routes::add_principal,
        routes::update_principal,
        routes::revoke_tokens,
        routes::add_delegation,
        routes::remove_delegation,
        routes::list_tokens,
        routes::list_usage,
        routes::issue_token,
        routes::revoke_token,
        routes::rotate_key,
        routes::list_connections,
        routes::coverage,
        routes::checkpoint,
        routes::audit_key,
    ),
    components(schemas(Problem)),
    modifiers(&Common)
)]
struct Description;

/// What all operations share: the bearer token under `/v1`, and problems as the answer to everything that fails.
struct Common;

impl Modify for Common {
    fn modify(&self, api: &mut utoipa::openapi::OpenApi) {
        let bearer = SecurityScheme::Http(HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("JWT").build());
        if let Some(components) = &mut api.components {
            components.add_security_scheme("token", bearer);
        }
        let problem = Content::new(Some(Ref::from_schema_name("Problem")));
        let failed = ResponseBuilder::new().description("What went wrong.").content("application/problem+json", problem).build();
        for (path, item) in &mut api.paths.paths {
            let operations = [&mut item.get, &mut item.put, &mut item.post, &mut item.delete, &mut item.patch];
            for operation in operations.into_iter().flatten() {
                // The token endpoint has errors of its own.
                if !path.starts_with("/oauth/") {
                    operation.responses.responses.insert("default".to_owned(), failed.clone().into());
                }
                if path.starts_with("/v1/") {
                    operation.security = Some(vec![SecurityRequirement::new("token", Vec::<String>::new())]);
                }
            }
        }
    }
}

//! Which call a request is, and what status each of its refusals gets.

use percent_encoding::percent_decode_str;

use crate::refusal::Class;
use rucio_client::Did;

/// A call of Rucio's REST interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Endpoint {
    /// `GET /ping`
    Ping,
    /// `GET /auth/userpass`
    AuthUserpass,
    /// `GET /accounts/{account}`, `whoami` included
    Account,
    /// `GET /accounts/{account}/attr/`
    AccountAttributes,
    /// `GET /scopes/`
    Scopes,
    /// `GET /rses/?expression=`
    Rses,
    /// `GET /rses/{rse}`
    Rse,
    /// `GET /rses/{rse}/attr/`
    RseAttributes,
    /// `POST /dids`
    AddDids,
    /// `GET /dids/{scope}/{name}`
    Did,
    /// `GET /dids/{scope}/{name}/dids`
    Content,
    /// `GET /dids/{scope}/{name}/meta`
    Metadata,
    /// `POST /dids/{scope}/{name}/meta`
    SetMetadata,
    /// `PUT /dids/{scope}/{name}/status`
    SetStatus,
    /// `GET /dids/{scope}/{name}/rules`
    DidRules,
    /// `GET /dids/{scope}/{name}/associated_rules`
    AssociatedRules,
    /// `POST /dids/attachments`
    Attach,
    /// `POST /dids/bulkmeta`
    BulkMeta,
    /// `POST /dids/bulkdidsmeta`
    BulkDidsMeta,
    /// `POST /replicas/list`
    Replicas,
    /// `PUT /replicas`
    UpdateReplicas,
    /// `POST /replicas/bad`
    DeclareBad,
    /// `GET /replicas/bad/states`
    BadStates,
    /// `POST /rules/`
    AddRules,
    /// `GET /rules/?…`
    Rules,
    /// `GET /rules/{id}`
    Rule,
    /// `GET /rules/{id}/locks`
    RuleLocks,
    /// `GET /rules/{id}/analysis`
    RuleAnalysis,
    /// `PUT /rules/{id}`
    UpdateRule,
    /// `DELETE /rules/{id}`
    DeleteRule,
    /// Anything else: 404.
    Unknown,
}

/// A request's endpoint and what its path names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Route {
    pub(crate) endpoint: Endpoint,
    /// The account, RSE or rule id in the path; empty if there is none.
    pub(crate) key: String,
    pub(crate) did: Option<Did>,
}

impl Route {
    /// Reads the raw path: names arrive `%2F`-encoded, or decoded with their slashes merged, as proxies leave them.
    pub(crate) fn of(method: &str, raw: &str) -> Self {
        let path = raw.trim_start_matches('/').trim_end_matches('/');
        let segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
        let keyed = |endpoint, key: &str| Self { endpoint, key: decode(key), did: None };
        match (method, segments.as_slice()) {
            ("GET", ["ping"]) => keyed(Endpoint::Ping, ""),
            ("GET", ["auth", "userpass"]) => keyed(Endpoint::AuthUserpass, ""),
            ("GET", ["accounts", account]) => keyed(Endpoint::Account, account),
            ("GET", ["accounts", account, "attr"]) => keyed(Endpoint::AccountAttributes, account),
            ("GET", ["scopes"]) => keyed(Endpoint::Scopes, ""),
            ("GET", ["rses"]) => keyed(Endpoint::Rses, ""),
            ("GET", ["rses", rse]) => keyed(Endpoint::Rse, rse),
            ("GET", ["rses", rse, "attr"]) => keyed(Endpoint::RseAttributes, rse),
            ("POST", ["dids"]) => keyed(Endpoint::AddDids, ""),
            ("POST", ["dids", "attachments"]) => keyed(Endpoint::Attach, ""),
            ("POST", ["dids", "bulkmeta"]) => keyed(Endpoint::BulkMeta, ""),
            ("POST", ["dids", "bulkdidsmeta"]) => keyed(Endpoint::BulkDidsMeta, ""),
            ("POST", ["replicas", "list"]) => keyed(Endpoint::Replicas, ""),
            ("PUT", ["replicas"]) => keyed(Endpoint::UpdateReplicas, ""),
            ("POST", ["replicas", "bad"]) => keyed(Endpoint::DeclareBad, ""),
            ("GET", ["replicas", "bad", "states"]) => keyed(Endpoint::BadStates, ""),
            ("POST", ["rules"]) => keyed(Endpoint::AddRules, ""),
            ("GET", ["rules"]) => keyed(Endpoint::Rules, ""),
            ("GET", ["rules", id]) => keyed(Endpoint::Rule, id),
            ("GET", ["rules", id, "locks"]) => keyed(Endpoint::RuleLocks, id),
            ("GET", ["rules", id, "analysis"]) => keyed(Endpoint::RuleAnalysis, id),
            ("PUT", ["rules", id]) => keyed(Endpoint::UpdateRule, id),
            ("DELETE", ["rules", id]) => keyed(Endpoint::DeleteRule, id),
            (_, ["dids", scope, name @ .., last]) if !name.is_empty() => {
                let endpoint = match (method, *last) {
                    ("GET", "dids") => Some(Endpoint::Content),
                    ("GET", "meta") => Some(Endpoint::Metadata),
                    ("POST", "meta") => Some(Endpoint::SetMetadata),
                    ("PUT", "status") => Some(Endpoint::SetStatus),
                    ("GET", "rules") => Some(Endpoint::DidRules),
                    ("GET", "associated_rules") => Some(Endpoint::AssociatedRules),
                    _ => None,
                };
                match endpoint {
                    Some(endpoint) => Self::with_did(endpoint, scope, name),
                    None => Self::single_did(method, scope, &segments[2..]),
                }
            }
            (_, ["dids", scope, name]) => Self::single_did(method, scope, &[name]),
            _ => keyed(Endpoint::Unknown, ""),
        }
    }

    fn single_did(method: &str, scope: &str, name: &[&str]) -> Self {
        let endpoint = if method == "GET" { Endpoint::Did } else { Endpoint::Unknown };
        Self::with_did(endpoint, scope, name)
    }

    /// The name with one leading slash and no doubled ones, whatever the way here did to it.
    fn with_did(endpoint: Endpoint, scope: &str, name: &[&str]) -> Self {
        let decoded = decode(&name.join("/"));
        let mut name = String::new();
        for component in decoded.split('/').filter(|component| !component.is_empty()) {
            name.push('/');
            name.push_str(component);
        }
        Self { endpoint, key: String::new(), did: Some(Did::new(decode(scope), name)) }
    }
}

fn decode(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

impl Endpoint {
    /// The call that a request is.
    pub fn of(method: &str, path: &str) -> Self {
        Route::of(method, path).endpoint
    }

    /// The status with which this call answers a class. Each of Rucio's views translates its own list; what is not on
    /// it becomes 500, permanent or not.
    pub(crate) fn status_of(self, class: Class) -> u16 {
        use Class as C;
        let own: &[(u16, &[Class])] = match self {
            Self::Account | Self::AccountAttributes => &[(404, &[C::AccountNotFound])],
            Self::Rses => &[(400, &[C::InvalidRseExpression, C::InvalidObject])],
            Self::Rse | Self::RseAttributes => &[(404, &[C::RseNotFound])],
            Self::AddDids => &[
                (401, &[C::AccessDenied]),
                (404, &[C::DataIdentifierNotFound]),
                (409, &[C::DuplicateContent, C::DataIdentifierAlreadyExists, C::UnsupportedOperation]),
            ],
            Self::Attach => &[
                (401, &[C::AccessDenied]),
                (404, &[C::DataIdentifierNotFound]),
                (
                    409,
                    &[
                        C::DuplicateContent,
                        C::DataIdentifierAlreadyExists,
                        C::UnsupportedOperation,
                        C::FileAlreadyExists,
                    ],
                ),
                (412, &[C::FileConsistencyMismatch]),
            ],
            Self::Did | Self::Content | Self::DidRules | Self::AssociatedRules | Self::BulkMeta => {
                &[(404, &[C::DataIdentifierNotFound])]
            }
            Self::Metadata => &[(400, &[C::UnsupportedMetadataPlugin]), (404, &[C::DataIdentifierNotFound])],
            Self::SetMetadata => &[(400, &[C::InvalidMetadata]), (404, &[C::DataIdentifierNotFound])],
            Self::SetStatus | Self::BulkDidsMeta => {
                &[(401, &[C::AccessDenied]), (404, &[C::DataIdentifierNotFound]), (409, &[C::UnsupportedOperation])]
            }
            Self::Replicas => &[(400, &[C::InvalidObject, C::DataIdentifierNotFound])],
            Self::UpdateReplicas | Self::DeclareBad => &[(401, &[C::AccessDenied])],
            Self::AddRules => &[
                (404, &[C::DataIdentifierNotFound]),
                (
                    409,
                    &[
                        C::DuplicateRule,
                        C::InsufficientTargetRses,
                        C::InsufficientAccountLimit,
                        C::InvalidRseExpression,
                        C::InvalidObject,
                    ],
                ),
            ],
            Self::Rules | Self::Rule | Self::RuleLocks | Self::RuleAnalysis => &[(404, &[C::RuleNotFound])],
            Self::UpdateRule => &[
                (401, &[C::AccessDenied]),
                (404, &[C::RuleNotFound]),
                (409, &[C::UnsupportedOperation, C::InputValidationError]),
            ],
            Self::DeleteRule => &[(401, &[C::AccessDenied, C::UnsupportedOperation]), (404, &[C::RuleNotFound])],
            Self::Ping | Self::AuthUserpass | Self::Scopes | Self::BadStates | Self::Unknown => &[],
        };
        // before any view: the token, and the form of the body
        let common: &[(u16, &[Class])] =
            &[(401, &[C::CannotAuthenticate]), (400, &[C::ValueError, C::TypeError, C::KeyError])];
        let mut rows = own.iter().chain(common);
        rows.find(|(_, classes)| classes.contains(&class)).map_or(500, |(status, _)| *status)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_name_survives_every_way_a_proxy_treats_its_slashes() {
        for path in [
            "/dids/acada/%2Fctao%2Facada%2Fx",
            "/dids/acada/%2fctao/acada/x",
            "/dids/acada//ctao/acada/x",
            "/dids/acada/ctao/acada/x",
        ] {
            let route = Route::of("GET", path);
            assert_eq!(route.endpoint, Endpoint::Did, "{path}");
            assert_eq!(route.did.unwrap(), Did::new("acada", "/ctao/acada/x"), "{path}");
            for (suffix, endpoint) in
                [("dids", Endpoint::Content), ("meta", Endpoint::Metadata), ("rules", Endpoint::DidRules)]
            {
                let route = Route::of("GET", &format!("{path}/{suffix}"));
                assert_eq!(route.endpoint, endpoint);
                assert_eq!(route.did.unwrap().name, "/ctao/acada/x");
            }
        }
    }

    #[test]
    fn a_method_that_a_path_does_not_have_is_unknown() {
        for (method, path) in [("DELETE", "/dids/acada/x"), ("GET", "/nothing"), ("PUT", "/rules/"), ("GET", "/")] {
            assert_eq!(Route::of(method, path).endpoint, Endpoint::Unknown, "{method} {path}");
        }
    }

    proptest! {
        #[test]
        fn no_path_panics(path in "(/(dids|rules|[a-z%/]{0,6})){0,6}|.{0,30}") {
            let _ = Route::of("GET", &path);
        }
    }
}

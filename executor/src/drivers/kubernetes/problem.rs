//! What can be wrong with a call, and the failure that it means: which kind, and what a person can do.

use super::kubeconfig;
use kube::core::Status;
use lockstep_plan::{Failure, Kind};

/// Something that is not allowed.
pub(super) fn policy(message: impl Into<String>) -> Failure {
    Failure::new(Kind::Policy, message)
}

/// Something that does not work.
pub(super) fn wrong(message: impl Into<String>) -> Failure {
    Failure::new(Kind::Application, message)
}

/// A call that did not succeed.
#[derive(Debug)]
pub(super) enum Problem {
    /// The API server said no.
    Status(Box<Status>),
    /// There was no answer. It may have been carried out all the same.
    Unreachable(String),
    /// No connection was made, so nothing was carried out.
    Refused(String),
    /// Who we are could not be found out.
    Credentials(String),
    /// The kubeconfig says too little, or too much.
    Config(String),
    /// It was to end.
    Cancelled,
    /// Somebody else has the target now, as that failure says; or it cannot be told.
    Overtaken(Failure),
    /// Something else.
    Other(String),
}

impl From<kube::Error> for Problem {
    fn from(error: kube::Error) -> Problem {
        if let Some(error) = credentials(&error) {
            return Problem::Credentials(error);
        }
        match error {
            kube::Error::Api(status) => Problem::Status(status),
            // Their addresses may hold a password.
            kube::Error::ProxyProtocolUnsupported { .. } | kube::Error::ProxyProtocolDisabled { .. } => {
                Problem::Config("the proxy's protocol is not supported: use http, https or socks5".into())
            }
            kube::Error::InferKubeconfig(error) => Problem::Config(kubeconfig::explain(&error)),
            kube::Error::Service(error) => connection(chain(error.as_ref())),
            kube::Error::HyperError(error) => connection(chain(&error)),
            other => Problem::Other(chain(&other)),
        }
    }
}

/// Whether a lost call can have been carried out is only told by the words of the error that the connector gives.
fn connection(text: String) -> Problem {
    let never_sent = ["client error (Connect)", "tcp connect error", "dns error"];
    match never_sent.iter().any(|words| text.contains(words)) {
        true => Problem::Refused(text),
        false => Problem::Unreachable(text),
    }
}

/// What is wrong with the credentials, if it is that: in our own words, since its own quote them.
fn credentials(error: &(dyn std::error::Error + 'static)) -> Option<String> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref() {
            return Some(kubeconfig::credentials(error));
        }
        cause = error.source();
    }
    None
}

/// An error with all its causes, each said once.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

impl Problem {
    /// Whether the server answered with that code.
    pub fn is(&self, code: u16) -> bool {
        matches!(self, Problem::Status(status) if status.code == code)
    }

    /// Whether an object has changed since it was read.
    pub fn outdated(&self) -> bool {
        matches!(self, Problem::Status(status) if status.code == 409
            && status.reason == "Conflict" && self.conflicts().is_empty())
    }

    /// Whether it may go away by itself.
    pub fn passing(&self) -> bool {
        match self {
            Problem::Unreachable(_) | Problem::Refused(_) => true,
            Problem::Status(status) => match status.code {
                429 | 502..=504 => true,
                500 => server_trouble(status),
                _ => false,
            },
            _ => false,
        }
    }

    /// Whether the call was certainly not carried out.
    pub fn refused(&self) -> bool {
        matches!(self, Problem::Refused(_)) || self.is(429)
    }

    /// Fields that somebody else owns: field, and owner as the server words it.
    pub fn conflicts(&self) -> Vec<(String, String)> {
        let Problem::Status(status) = self else { return Vec::new() };
        let causes = status.details.iter().flat_map(|details| &details.causes);
        causes
            .filter(|cause| cause.reason == "FieldManagerConflict")
            .map(|cause| {
                (cause.field.clone(), cause.message.trim_start_matches("conflict with ").to_string())
            })
            .collect()
    }

    /// The failure that it means. `doing`: what was tried, with the object; `place`: namespace and context.
    pub fn failure(&self, doing: &str, place: &str) -> Failure {
        if let Problem::Overtaken(failure) = self {
            return failure.clone();
        }
        let (kind, why) = self.explain();
        Failure::new(kind, format!("cannot {doing} in {place}: {why}"))
    }

    fn explain(&self) -> (Kind, String) {
        match self {
            Problem::Unreachable(text) | Problem::Refused(text) => {
                (Kind::Connectivity, format!("the API server cannot be reached: {text}"))
            }
            Problem::Credentials(text) => (
                Kind::Authentication,
                format!(
                    "the credentials cannot be had: {text}; log in again, or see to the context's `users` entry"
                ),
            ),
            Problem::Config(text) => (
                Kind::Authentication,
                format!(
                    "{text}; see to `context` of the infrastructure and to the kubeconfig (`KUBECONFIG`)"
                ),
            ),
            Problem::Overtaken(failure) => (failure.kind, failure.message.clone()),
            Problem::Cancelled => (Kind::Timeout, "it was stopped before its end".into()),
            Problem::Other(text) => (Kind::Application, text.clone()),
            Problem::Status(status) => explain(status, &self.conflicts()),
        }
    }
}

fn explain(status: &Status, conflicts: &[(String, String)]) -> (Kind, String) {
    let said = if status.message.is_empty() {
        format!("the API server answered {}", status.code)
    } else {
        status.message.clone()
    };
    match status.code {
        401 => (
            Kind::Authentication,
            format!(
                "the API server does not accept the credentials ({said}); log in again, or renew the token"
            ),
        ),
        403 if said.contains("exceeded quota") => {
            (Kind::Policy, format!("{said}; raise the ResourceQuota, or ask for less"))
        }
        403 if said.contains("cannot") && said.contains("is forbidden: User") => {
            (Kind::Authorization, format!("{said}; docs/kubernetes.md has the Role that is needed"))
        }
        403 => (Kind::Policy, said),
        400 if said.contains("admission webhook") => (Kind::Policy, said),
        409 if !conflicts.is_empty() => {
            let fields: Vec<String> =
                conflicts.iter().map(|(field, owner)| format!("`{field}` belongs to {owner}")).collect();
            (
                Kind::Policy,
                format!(
                    "{}; take the field out of the manifest, or take it over once with `force = true`",
                    fields.join(", ")
                ),
            )
        }
        408 | 429 | 502..=504 => (Kind::Connectivity, format!("the API server is not available: {said}")),
        500 if server_trouble(status) => {
            (Kind::Connectivity, format!("the API server is in trouble: {said}"))
        }
        _ => (Kind::Application, said),
    }
}

/// Whether an answer of 500 speaks of the server's own state, and not of what it was sent.
fn server_trouble(status: &Status) -> bool {
    ["etcdserver", "timeout", "timed out", "connection refused", "context deadline"]
        .iter()
        .any(|words| status.message.contains(words))
        || status.reason == "Timeout"
        || status.reason == "ServerTimeout"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(code: u16, reason: &str, message: &str) -> Problem {
        Problem::Status(Status::failure(message, reason).with_code(code).boxed())
    }

    #[test]
    fn answers_have_kinds() {
        let user = "deployments.apps \"a\" is forbidden: User \"d\" cannot patch resource \"deployments\"";
        let cases = [
            (status(401, "Unauthorized", "Unauthorized"), Kind::Authentication),
            (status(403, "Forbidden", user), Kind::Authorization),
            (status(403, "Forbidden", "pods \"a\" is forbidden: exceeded quota: q"), Kind::Policy),
            (status(400, "BadRequest", "admission webhook \"w\" denied the request: no"), Kind::Policy),
            (status(422, "Invalid", "spec.replicas: Invalid value"), Kind::Application),
            (status(429, "TooManyRequests", ""), Kind::Connectivity),
            (status(500, "InternalError", "etcdserver: request timed out"), Kind::Connectivity),
            (status(500, "InternalError", "unknown field"), Kind::Application),
            (Problem::Unreachable("reset".into()), Kind::Connectivity),
            (Problem::Credentials("expired".into()), Kind::Authentication),
        ];
        for (problem, kind) in cases {
            let failure = problem.failure("apply Deployment `a`", "namespace `n` of context `c`");
            assert_eq!(failure.kind, kind, "{failure:?}");
            assert!(
                failure.message.starts_with("cannot apply Deployment `a` in namespace `n` of context `c`: ")
            );
        }
    }

    #[test]
    fn only_what_may_pass_is_repeated() {
        assert!(status(503, "", "").passing() && !status(422, "Invalid", "").passing());
        assert!(status(429, "", "").refused() && !status(504, "", "").refused());
        assert!(Problem::Refused(String::new()).refused() && !Problem::Unreachable(String::new()).refused());
    }
}

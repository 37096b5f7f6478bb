//! Kubeconfigs: which are read, and what is wrong with one. They hold tokens and keys, and so may what a credential plugin
//! prints: nothing of either ever reaches a message.

use super::lease::CERTAIN;
use super::problem::Problem;
use http::HeaderValue;
use hyper_util::client::proxy::matcher::Matcher;
use kube::client::AuthError;
use kube::config::{
    ExecConfig, ExecInteractiveMode, KubeConfigOptions, Kubeconfig, KubeconfigError, LoadDataError,
};
use kube::{Client, Config};
use std::io::IsTerminal;
use std::os::unix::process::ExitStatusExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Duration;

/// Reads the kubeconfig (none: `KUBECONFIG`, then `~/.kube/config`, then the pod's own service account), and takes that
/// context of it (empty: the current one). Gives the context's name, too.
pub(super) async fn load(kubeconfig: Option<&Path>, context: &str) -> Result<(Config, String), Problem> {
    let named = (!context.is_empty()).then(|| context.to_string());
    let options = KubeConfigOptions { context: named, ..KubeConfigOptions::default() };
    let loaded = match read(kubeconfig) {
        Ok(file) => {
            let current = file.current_context.clone().unwrap_or_default();
            let known: Vec<String> = file.contexts.iter().map(|context| context.name.clone()).collect();
            if !context.is_empty() && !known.iter().any(|name| name == context) {
                return Err(Problem::Config(format!(
                    "there is no context `{context}`; there are: {}",
                    known.join(", ")
                )));
            }
            let name = if context.is_empty() { current } else { context.to_string() };
            let own_proxy = has_proxy(&file, &name);
            let config = Config::from_custom_kubeconfig(file, &options).await;
            config.map_err(|error| explain(&error)).map(|mut config| {
                // That of the environment is not meant for every server.
                if !own_proxy && Matcher::from_env().intercept(&config.cluster_url).is_none() {
                    config.proxy_url = None;
                }
                (config, name)
            })
        }
        Err(error) => Err(error),
    };
    match loaded {
        Ok(loaded) => Ok(loaded),
        Err(error) if context.is_empty() && kubeconfig.is_none() => match Config::incluster() {
            Ok(config) => Ok((config, "in-cluster".to_string())),
            Err(in_cluster) => Err(Problem::Config(format!(
                "there is no usable kubeconfig ({error}), and this is not a pod of the cluster ({in_cluster})"
            ))),
        },
        Err(error) => Err(Problem::Config(error)),
    }
}

/// The API server of that kubeconfig, spelled in one way, with what else says which one it is.
pub(super) fn server(config: &Config) -> String {
    let url = &config.cluster_url;
    let secure = url.scheme_str() != Some("http");
    let port = url.port_u16().unwrap_or(if secure { 443 } else { 80 });
    let host = url.host().unwrap_or_default().to_ascii_lowercase();
    let mut server = format!("{}://{host}:{port}", if secure { "https" } else { "http" });
    server.push_str(url.path().trim_end_matches('/'));
    if let Some(name) = &config.tls_server_name {
        server.push_str(&format!(" as {name}"));
    }
    if let Some(proxy) = &config.proxy_url {
        // Without the credentials that it may hold.
        let host = proxy.authority().map(|it| it.as_str().rsplit('@').next().unwrap_or_default());
        server.push_str(&format!(" by way of {}", host.unwrap_or_default()));
    }
    server
}

/// A client with the credentials of that kubeconfig.
///
/// # Errors
/// They cannot be had, or not be sent.
pub(super) fn client(config: Config) -> Result<Client, Problem> {
    client_within(config, PLUGIN_TIME)
}

fn client_within(mut config: Config, plugin_time: Duration) -> Result<Client, Problem> {
    // As kubectl reads such a file; the library would send the line break at its end, too.
    if let (None, Some(path)) = (&config.auth_info.token, &config.auth_info.token_file)
        && let Ok(text) = std::fs::read_to_string(path)
        && text.trim() != text
    {
        config.auth_info.token = Some(text.trim().to_string().into());
    }
    // Looked at here, because the library panics over a token that is no header.
    let user = serde_json::to_value(&config.auth_info).unwrap_or_default();
    let provider = &user["auth-provider"]["config"];
    let tokens = [
        (if user["tokenFile"].is_string() { "tokenFile" } else { "token" }, &user["token"]),
        ("auth-provider", &provider["id-token"]),
        ("auth-provider", &provider["access-token"]),
    ];
    for (name, token) in tokens {
        let Some(why) = token.as_str().and_then(unsendable) else { continue };
        return Err(Problem::Credentials(format!(
            "the token that `{name}` of the context's user holds {why}"
        )));
    }
    let plugin = config.auth_info.exec.clone();
    if let Some(plugin) = &mut config.auth_info.exec {
        limit(plugin, plugin_time);
    }
    // What a credential plugin prints is seen by the library only.
    match catch_unwind(AssertUnwindSafe(|| Client::try_from(config))) {
        Ok(client) => client.map_err(|error| match (Problem::from(error), plugin) {
            (Problem::Credentials(why), Some(plugin)) => Problem::Credentials(named(&why, &plugin)),
            (problem, _) => problem,
        }),
        Err(_) => {
            Err(Problem::Credentials(format!("the token that {PLUGIN} printed cannot be sent in a header")))
        }
    }
}

/// Why a token cannot be sent in a header, without a word of it.
fn unsendable(token: &str) -> Option<String> {
    let place = token.bytes().position(|byte| HeaderValue::from_bytes(&[byte]).is_err())?;
    Some(format!(
        "cannot be sent: character {} of {} is a line break or another control character; take it out",
        token[..place].chars().count() + 1,
        token.chars().count()
    ))
}

/// The kubeconfig; where `KUBECONFIG` names several files, all of them in one.
fn read(kubeconfig: Option<&Path>) -> Result<Kubeconfig, String> {
    let paths: Vec<PathBuf> = match (kubeconfig, std::env::var_os("KUBECONFIG")) {
        (Some(path), _) => vec![path.into()],
        (None, Some(list)) => {
            std::env::split_paths(&list).filter(|path| !path.as_os_str().is_empty()).collect()
        }
        (None, None) => Vec::new(),
    };
    if paths.is_empty() {
        return Kubeconfig::read().map_err(|error| at_path("~/.kube/config", &error));
    }
    paths.iter().try_fold(Kubeconfig::default(), |merged, path| {
        let file =
            Kubeconfig::read_from(path).map_err(|error| at_path(&path.display().to_string(), &error))?;
        merged.merge(file).map_err(|error| explain(&error))
    })
}

fn at_path(path: &str, error: &KubeconfigError) -> String {
    match error {
        KubeconfigError::Parse(error) => format!("`{path}` is not a valid kubeconfig{}", place(error)),
        KubeconfigError::ReadConfig(error, path) => format!("`{}` cannot be read: {error}", path.display()),
        other => format!("`{path}`: {}", explain(other)),
    }
}

/// Where a text is not what it should be.
fn place(error: &serde_saphyr::Error) -> String {
    let at = error.location();
    at.map_or(String::new(), |at| format!(" (line {}, column {})", at.line(), at.column()))
}

/// What is wrong, without a word of what the file holds but for names and paths.
pub(super) fn explain(error: &KubeconfigError) -> String {
    let data = |what: &str, error: &LoadDataError| match error {
        LoadDataError::ReadFile(error, path) => {
            format!("{what} cannot be read from `{}`: {error}", path.display())
        }
        LoadDataError::DecodeBase64(_) => format!("{what} is not valid base64"),
        LoadDataError::NoBase64DataOrFile => format!("{what} is missing"),
    };
    match error {
        KubeconfigError::Parse(error) => format!("it is not valid{}", place(error)),
        KubeconfigError::ParseClusterUrl(_) => "`server` of the cluster is not a valid URL".into(),
        KubeconfigError::ParseProxyUrl(_) => "`proxy-url` of the cluster is not a valid URL".into(),
        KubeconfigError::LoadCertificateAuthority(error) => {
            data("`certificate-authority` of the cluster", error)
        }
        KubeconfigError::LoadClientCertificate(error) => data("`client-certificate` of the user", error),
        KubeconfigError::LoadClientKey(error) => data("`client-key` of the user", error),
        KubeconfigError::ParseCertificates(_) => {
            "`certificate-authority` of the cluster is not valid PEM".into()
        }
        other => other.to_string(),
    }
}

/// What gives credentials, for people.
const PLUGIN: &str = "the credential plugin (`exec` of the context's user)";

/// How long a plugin may take where nobody is there to be asked: while it does, no Lease is renewed.
const PLUGIN_TIME: Duration = CERTAIN;

/// Has a plugin, and what it started, killed after a while: the library waits for its end, and every call with it.
fn limit(plugin: &mut ExecConfig, time: Duration) {
    const TIMEOUT: &str = "timeout";
    let asks = plugin.interactive_mode != Some(ExecInteractiveMode::Never) && std::io::stdin().is_terminal();
    // One that is not there is told by its own name.
    let Some(command) = plugin.command.clone().filter(|it| !asks && is_there(it) && is_there(TIMEOUT)) else {
        return;
    };
    let mut args = ["-s", "KILL", &time.as_secs().to_string(), &command].map(str::to_string).to_vec();
    args.extend(plugin.args.take().into_iter().flatten());
    (plugin.command, plugin.args) = (Some(TIMEOUT.into()), Some(args));
}

/// Whether a program of that name would be found.
fn is_there(command: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    match command.contains('/') {
        true => Path::new(command).exists(),
        false => std::env::split_paths(&path).any(|folder| folder.join(command).exists()),
    }
}

/// How a plugin ended that gave nothing, and what it said last on its standard error, if that was not shown already.
fn ended(out: &Output) -> String {
    const KILLED: i32 = 9;
    if out.status.signal() == Some(KILLED) || out.status.code() == Some(128 + KILLED) {
        return format!(
            "{PLUGIN} gave no answer within {}s, and was stopped; run it by hand to see why",
            PLUGIN_TIME.as_secs()
        );
    }
    let said = String::from_utf8_lossy(&out.stderr);
    let said = said.lines().map(str::trim).rfind(|line| !line.is_empty());
    let said: Option<String> =
        said.map(|line| line.chars().filter(|it| !it.is_control()).take(300).collect());
    match said {
        Some(said) => format!("{PLUGIN} ended with {}: {said}", out.status),
        None => format!("{PLUGIN} ended with {}; run it by hand to see why", out.status),
    }
}

/// What is wrong with a credential plugin, with its name, and with how to install it where it cannot be started.
fn named(why: &str, plugin: &ExecConfig) -> String {
    let Some(command) = &plugin.command else { return why.into() };
    let mut named =
        why.replace(PLUGIN, &format!("the credential plugin `{command}` (`exec` of the context's user)"));
    if named.contains("cannot be started")
        && let Some(hint) = plugin.install_hint.as_deref().map(str::trim).filter(|hint| !hint.is_empty())
    {
        named.push_str(&format!(". The kubeconfig says of it: {hint}"));
    }
    named
}

/// What is wrong with credentials, without a word of them, or of the command line that gets them.
pub(super) fn credentials(error: &AuthError) -> String {
    match error {
        AuthError::AuthExecStart(error) => format!("{PLUGIN} cannot be started: {error}"),
        AuthError::AuthExecRun { out, .. } => ended(out),
        AuthError::AuthExecParse(error) => {
            format!("{PLUGIN} printed no valid ExecCredential{}", place(error))
        }
        AuthError::ExecPluginFailed => format!("{PLUGIN} printed an ExecCredential without `status`"),
        AuthError::MalformedTokenExpirationDate(_) => {
            "the token's `expirationTimestamp` is not a valid date".into()
        }
        AuthError::ParseTokenKey(_) => "what the credential helper printed is not valid JSON".into(),
        AuthError::AuthExec(_) => "the credential helper gave no token; run it by hand to see why".into(),
        AuthError::InvalidBasicAuth(_) => "user name and password cannot be sent in a header".into(),
        AuthError::InvalidBearerToken(_) => "the token cannot be sent in a header".into(),
        other => other.to_string(),
    }
}

/// Whether the kubeconfig itself says by which proxy a context's server is reached.
fn has_proxy(file: &Kubeconfig, context: &str) -> bool {
    let context = file.contexts.iter().find(|it| it.name == context).and_then(|it| it.context.as_ref());
    let cluster = context.and_then(|context| file.clusters.iter().find(|it| it.name == context.cluster));
    let proxy = cluster.and_then(|it| it.cluster.as_ref()?.proxy_url.as_ref());
    proxy.is_some_and(|proxy| !proxy.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    const USER: &str = "apiVersion: v1\nkind: Config\ncurrent-context: c\n\
        clusters: [{name: c, cluster: {server: 'https://127.0.0.1:1'}}]\n\
        contexts: [{name: c, context: {cluster: c, user: u}}]\n\
        users:\n- {name: u, user: USER}\n";

    fn problem(text: &str) -> String {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("kubeconfig");
        std::fs::write(&path, text).unwrap();
        let problem = tokio::runtime::Runtime::new().unwrap().block_on(async {
            match load(Some(&path), "c").await {
                Ok((config, _)) => client_within(config, Duration::from_secs(1)).err().unwrap(),
                Err(problem) => problem,
            }
        });
        problem.failure("use the kubeconfig", "context `c`").message
    }

    #[test]
    fn a_kubeconfigs_text_never_reaches_a_message() {
        for (user, part) in [
            ("{token: \"s3cr3t\" s3cr3t}", "kubeconfig` is not a valid kubeconfig (line 7, column "),
            ("{token: [s3cr3t]}", "(line 7, column "),
            ("{s3cr3t: 1, token: {s3cr3t: 2}}", "(line 7, column "),
            ("{client-certificate-data: 's3cr3t!', client-key-data: 's3cr3t!'}", "is not valid base64"),
            (
                "{token: \"s3cr3t\\n\"}",
                "`token` of the context's user holds cannot be sent: character 7 of 7 is",
            ),
            ("{token: \"s3\\u0001cr3t\"}", "character 3 of 7 is a line break or another control character"),
            (
                "{tokenFile: FILE}",
                "`tokenFile` of the context's user holds cannot be sent: character 3 of 7 is",
            ),
            (
                "{auth-provider: {name: oidc, config: {id-token: \"s3cr3t\\r\"}}}",
                "`auth-provider` of the context's user holds cannot be sent",
            ),
        ] {
            let file = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(file.path(), "s3\u{1}cr3t\n").unwrap();
            let user = user.replace("FILE", &file.path().display().to_string());
            let message = problem(&USER.replace("USER", &user));
            assert!(message.contains(part) && !message.contains("s3cr3t"), "{user}: {message}");
        }
    }

    #[test]
    fn a_plugin_that_is_not_there_is_named_with_how_to_install_it() {
        let exec = serde_json::json!({ "exec": {
            "apiVersion": "client.authentication.k8s.io/v1", "command": "no-such-plugin", "interactiveMode": "Never",
            "args": ["s3cr3t"], "installHint": "install it with\n  brew install no-such-plugin\n",
        } });
        let message = problem(&USER.replace("USER", &exec.to_string()));
        for part in ["plugin `no-such-plugin` (`exec` of", "cannot be started", "brew install no-such-plugin"]
        {
            assert!(message.contains(part) && !message.contains("s3cr3t"), "{part}: {message}");
        }
    }

    #[test]
    fn what_a_plugin_prints_and_is_given_never_reaches_a_message() {
        for (script, part) in [
            ("echo s3cr3t; exit 3", "ended with exit status: 3; run it by hand"),
            ("echo s3cr3t; echo 'log in first' >&2; exit 3", "ended with exit status: 3: log in first"),
            ("echo s3cr3t; sleep 600; echo s3cr3t", "gave no answer within 15s, and was stopped"),
            (
                "echo '{\"status\": {\"token\": [\"s3cr3t\"]}}'",
                "printed no valid ExecCredential (line 1, column ",
            ),
            ("echo s3cr3t", "printed no valid ExecCredential"),
            (
                "printf '%s' '{\"apiVersion\": \"client.authentication.k8s.io/v1\", \"kind\": \"ExecCredential\", \
                 \"status\": {\"token\": \"s3cr3t\\n\"}}'",
                "printed cannot be sent in a header",
            ),
            ("echo '{\"kind\": \"ExecCredential\", \"metadata\": \"s3cr3t\"}'", "ExecCredential"),
        ] {
            let exec = serde_json::json!({ "exec": {
                "apiVersion": "client.authentication.k8s.io/v1", "command": "sh", "interactiveMode": "Never",
                "args": ["-c", script, "s3cr3t"], "env": [{ "name": "K", "value": "s3cr3t" }],
            } });
            let message = problem(&USER.replace("USER", &exec.to_string()));
            assert!(message.contains(part) && !message.contains("s3cr3t"), "{script}: {message}");
        }
    }
}

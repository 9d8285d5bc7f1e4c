//! `GET /bootstrap`: a shell script that fetches a bot by its digest from the CAS and starts it.

use crate::programs::Programs;
use axum::{Router, http::HeaderMap, http::StatusCode, http::header, response::IntoResponse, routing::get};
use std::sync::Arc;

const SCRIPT: &str = include_str!("bootstrap.sh");

/// What the script is made of.
#[derive(Debug)]
pub(crate) struct Bootstrap {
    pub(crate) programs: Arc<Programs>,
    /// Where bots reach the CAS.
    pub(crate) cas: Option<String>,
    /// `http` or `https`.
    pub(crate) scheme: &'static str,
}

/// The route.
pub(crate) fn routes(bootstrap: Bootstrap) -> Router {
    let bootstrap = Arc::new(bootstrap);
    let answer = move |headers: HeaderMap| async move {
        // As the caller reaches us; HTTP/1.1 always says it.
        let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
        match bootstrap.script(host) {
            Ok(script) => {
                ([(header::CONTENT_TYPE, "text/x-shellscript; charset=utf-8")], script).into_response()
            }
            Err((status, reason)) => (status, format!("{reason}\n")).into_response(),
        }
    };
    Router::new().route("/bootstrap", get(answer))
}

impl Bootstrap {
    fn script(&self, host: &str) -> Result<String, (StatusCode, &'static str)> {
        if self.programs.iter().next().is_none() {
            return Err((StatusCode::NOT_FOUND, "this scheduler names no bot program: set bot_program"));
        }
        let no_cas = (StatusCode::NOT_FOUND, "this scheduler knows no CAS to fetch a bot from: set cas");
        let cas = self.cas.as_deref().ok_or(no_cas)?;
        let cas = if cas.contains("://") { cas.to_owned() } else { format!("http://{cas}") };
        let cas = cas.replacen("grpcs://", "https://", 1).replacen("grpc://", "http://", 1);
        let cas = cas.trim_end_matches('/');
        // Both end up between single quotes.
        let of_a_url =
            |text: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || "-._~:/[]%".contains(c));
        if host.is_empty() || !of_a_url(host) || !of_a_url(cas) {
            return Err((StatusCode::BAD_REQUEST, "the Host of the request, or `cas`, is no address"));
        }
        let arm = |(platform, digest): (&str, proto::Digest)| {
            format!("    {platform}) hash={} size={} ;;", digest.hex(), digest.size())
        };
        let platforms: Vec<String> = self.programs.iter().map(arm).collect();
        Ok(SCRIPT
            .replace("@SCHEDULER@", &format!("{}://{host}", self.scheme))
            .replace("@CAS@", cas)
            .replace("@PLATFORMS@", &platforms.join("\n")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto::DigestFunction;

    fn bootstrap(cas: Option<&str>) -> Bootstrap {
        let digest = DigestFunction::Sha256.digest(b"bot");
        let programs = Programs::parse(&[format!("linux-x86_64={digest}")]).unwrap();
        Bootstrap { programs: Arc::new(programs), cas: cas.map(str::to_owned), scheme: "http" }
    }

    #[test]
    fn the_script_names_servers_and_programs() {
        let script = bootstrap(Some("grpc://cas:8980/")).script("sched.example:8990").unwrap();
        assert!(
            script.contains("scheduler='http://sched.example:8990'\ncas='http://cas:8980'\n"),
            "{script}"
        );
        let hash = DigestFunction::Sha256.digest(b"bot").hex();
        assert!(script.contains(&format!("linux-x86_64) hash={hash} size=3 ;;")), "{script}");
        assert!(!script.contains('@') || script.contains("$@"), "nothing is left open: {script}");
    }

    #[test]
    fn nothing_gets_into_the_script_that_is_no_address() {
        for host in ["a'; rm -rf /; '", "", "a b", "$(id)", "a\nb"] {
            assert_eq!(
                bootstrap(Some("cas:1")).script(host).unwrap_err().0,
                StatusCode::BAD_REQUEST,
                "{host}"
            );
        }
        assert!(bootstrap(None).script("a:1").unwrap_err().1.contains("set cas"));
        let none = Bootstrap { programs: Arc::default(), ..bootstrap(Some("cas:1")) };
        assert!(none.script("a:1").unwrap_err().1.contains("set bot_program"));
    }
}

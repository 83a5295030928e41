//! Which names belong to the same owner.

use crate::private_address::ends_in_number;

/// Tells whether two names belong to the same owner, as far as that can be told without the public suffix list.
///
/// Errs on the side of "no": single labels, addresses and hosting suffixes are never shared.
pub(crate) fn same_registrable_domain(a: &str, b: &str) -> bool {
    match (registrable(a), registrable(b)) {
        (Some(a), Some(b)) => a == b,
        _ => false,
    }
}

fn registrable(host: &str) -> Option<&str> {
    if host.starts_with('[') || ends_in_number(host) {
        return None;
    }
    let is_under = |suffix: &&&str| {
        host.strip_suffix(**suffix)
            .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    };
    if DEEP.iter().any(|suffix| is_under(&suffix)) {
        return None;
    }
    let labels: Vec<_> = host.split('.').collect();
    let suffix = match (SHARED.iter().find(is_under), labels.as_slice()) {
        (Some(suffix), _) => suffix.split('.').count(),
        (None, [.., second, last]) if last.len() == 2 && SECOND.contains(second) => 2,
        _ => 1,
    };
    let wanted = suffix + 1;
    if labels.len() < wanted || labels.iter().any(|label| label.is_empty()) {
        return None;
    }
    let length: usize = labels[labels.len() - wanted..]
        .iter()
        .map(|label| label.len() + 1)
        .sum();
    host.get(host.len() + 1 - length..)
}

/// Suffixes whose next label is a customer, and everything beneath that one's own.
const SHARED: &[&str] = &[
    "azurecr.io",
    "b-cdn.net",
    "cloudfront.net",
    "deno.dev",
    "duckdns.org",
    "firebaseapp.com",
    "fly.dev",
    "github.io",
    "gitlab.io",
    "glitch.me",
    "herokuapp.com",
    "hf.space",
    "jfrog.io",
    "loca.lt",
    "netlify.app",
    "ngrok-free.app",
    "ngrok-free.dev",
    "ngrok.app",
    "ngrok.dev",
    "ngrok.io",
    "no-ip.org",
    "ondigitalocean.app",
    "onrender.com",
    "pages.dev",
    "r2.dev",
    "railway.app",
    "replit.app",
    "supabase.co",
    "surge.sh",
    "svc.cluster.local",
    "translate.goog",
    "trycloudflare.com",
    "ts.net",
    "vercel.app",
    "web.app",
    "workers.dev",
];

/// Suffixes under which regions, kinds of service or addresses stand between the suffix and the customer: no two names
/// there are known to belong together.
const DEEP: &[&str] = &[
    "amazonaws.com",
    "appspot.com",
    "azurecontainer.io",
    "azurecontainerapps.io",
    "azureedge.net",
    "azurestaticapps.net",
    "azurewebsites.net",
    "backblazeb2.com",
    "cloudapp.azure.com",
    "cloudapp.net",
    "digitaloceanspaces.com",
    "elasticbeanstalk.com",
    "firebaseio.com",
    "googleapis.com",
    "googleusercontent.com",
    "linodeobjects.com",
    "localtest.me",
    "nip.io",
    "on.aws",
    "pkg.dev",
    "repl.co",
    "replit.dev",
    "run.app",
    "scw.cloud",
    "sslip.io",
    "traefik.me",
    "wasabisys.com",
    "windows.net",
    "xip.io",
];

/// Second labels that countries use as suffixes of their own.
const SECOND: &[&str] = &[
    "ac", "ad", "asn", "co", "com", "ed", "edu", "go", "gob", "gov", "gr", "gv", "id", "ind", "lg", "ltd", "me", "mil",
    "ne", "net", "nhs", "nom", "or", "org", "plc", "sch",
];

//! Which names belong to the same owner.

use crate::private_address::ends_in_number;

/// Tells whether two names belong to the same owner, as far as that can be told.
///
/// That is by the public suffix list, and by two lists of what it lacks. Errs on the side of "no": single labels, addresses and
/// hosting suffixes are never shared.
pub(crate) fn same_registrable_domain(a: &str, b: &str) -> bool {
    match (registrable(a), registrable(b)) {
        (Some(a), Some(b)) => a == b,
        _ => false,
    }
}

/// Tells whether a host is a token server that a vendor runs for all of its registries, that one among them.
///
/// Aliyun's are `dockerauth.<region>.aliyuncs.com`, `dockerauth-ee.<region>.aliyuncs.com` and the like; customers have no names
/// of that form.
pub(crate) fn serves_registries_of(token_server: &str, registry: &str) -> bool {
    const ALIYUN: &str = ".aliyuncs.com";
    let labels = token_server.strip_suffix(ALIYUN).and_then(|name| name.split_once('.'));
    let is_server = labels.is_some_and(|(name, region)| {
        matches!(
            name,
            "dockerauth" | "dockerauth-ee" | "dockerauth-vpc" | "dockerauth-ee-vpc"
        ) && !region.contains('.')
    });
    is_server && registry.ends_with(ALIYUN)
}

fn registrable(host: &str) -> Option<&str> {
    if host.starts_with('[') || ends_in_number(host) || host.split('.').any(str::is_empty) {
        return None;
    }
    if DEEP.iter().any(|suffix| beneath(host, suffix).is_some()) {
        return None;
    }
    let listed = psl::domain_str(host)?;
    let Some((suffix, rest)) = SHARED.iter().find_map(|suffix| Some((suffix, beneath(host, suffix)?))) else {
        return Some(listed);
    };
    let customer = rest.strip_suffix('.')?.rsplit('.').next()?;
    let length = (customer.len() + 1 + suffix.len()).max(listed.len());
    host.get(host.len() - length..)
}

/// Returns what stands in front of a suffix, with the dot; empty for the suffix itself.
fn beneath<'a>(host: &'a str, suffix: &str) -> Option<&'a str> {
    let rest = host.strip_suffix(suffix)?;
    (rest.is_empty() || rest.ends_with('.')).then_some(rest)
}

/// Suffixes that the list lacks, whose next label is a customer, and everything beneath that one's own.
const SHARED: &[&str] = &[
    "azurecr.cn",
    "azurecr.io",
    "azurecr.us",
    "b-cdn.net",
    "glitch.me",
    "jfrog.io",
    "koyeb.app",
    "loca.lt",
    "railway.app",
    "svc.cluster.local",
    "tencentcloudcr.com",
];

/// Suffixes under which regions, kinds of service or addresses stand between the suffix and the customer: no two names
/// there are known to belong together.
const DEEP: &[&str] = &[
    "aliyuncs.com",
    "amazonaws.com",
    "amazonaws.com.cn",
    "appspot.com",
    "azurecontainer.io",
    "azurecontainerapps.io",
    "azureedge.net",
    "azurefd.net",
    "azurestaticapps.net",
    "azurewebsites.net",
    "backblazeb2.com",
    "baidubce.com",
    "bcebos.com",
    "chinacloudapi.cn",
    "chinacloudapp.cn",
    "cloudapp.azure.com",
    "cloudapp.net",
    "devtunnels.ms",
    "digitaloceanspaces.com",
    "elasticbeanstalk.com",
    "firebaseio.com",
    "github.dev",
    "googleapis.com",
    "googleusercontent.com",
    "linodeobjects.com",
    "localtest.me",
    "myhuaweicloud.com",
    "myqcloud.com",
    "nip.io",
    "on.aws",
    "openshiftapps.com",
    "oraclecloud.com",
    "ovh.net",
    "ovh.us",
    "pkg.dev",
    "repl.co",
    "replit.dev",
    "run.app",
    "scw.cloud",
    "sslip.io",
    "traefik.me",
    "trafficmanager.net",
    "usgovcloudapi.net",
    "usgovcloudapp.net",
    "volces.com",
    "vultrobjects.com",
    "wasabisys.com",
    "windows.net",
    "xip.io",
    "yandexcloud.net",
];

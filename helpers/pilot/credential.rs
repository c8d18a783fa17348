//! What a switcher is told about the job's credential: its whole environment, built from nothing.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

/// What a switcher is told about the job's credential, and what it is handed on from our own environment.
mod variable {
    pub(crate) const CLIENT_CERT: &str = "GLEXEC_CLIENT_CERT";
    pub(crate) const SOURCE_PROXY: &str = "GLEXEC_SOURCE_PROXY";
    pub(crate) const TARGET_PROXY: &str = "GLEXEC_TARGET_PROXY";
    /// The pilot's own credential to a mapping service; and what glexec itself documents for its callers.
    pub(crate) const PASSED_ON: [&str; 4] = ["X509_USER_PROXY", "GLEXEC_MODE", "GLEXEC_ENV", "GLEXEC_ID"];
}

/// The environment of a switcher, built from nothing.
///
/// `GLEXEC_TARGET_PROXY=/dev/null`: the sandbox holds the job's copy already, and glexec's own would stay in `/tmp`
/// for ever.
pub(crate) fn environment(proxy: &[u8]) -> Vec<(OsString, OsString)> {
    let proxy = OsString::from_vec(proxy.to_vec());
    let own = [
        (variable::CLIENT_CERT.into(), proxy.clone()),
        (variable::SOURCE_PROXY.into(), proxy),
        (variable::TARGET_PROXY.into(), "/dev/null".into()),
    ];
    let passed_on = variable::PASSED_ON.iter().filter_map(|name| Some(((*name).into(), std::env::var_os(name)?)));
    own.into_iter().chain(passed_on).collect()
}

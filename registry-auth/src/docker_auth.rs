//! One entry of docker's `auths`: how a credential is written there.

use base64::{
    Engine as _, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};

use crate::{credential::Credential, go_json::GoValue};

const CONFIG: GeneralPurposeConfig = GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true);
const PADDED: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    CONFIG.with_decode_padding_mode(DecodePaddingMode::RequireCanonical),
);
const UNPADDED: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    CONFIG.with_decode_padding_mode(DecodePaddingMode::RequireNone),
);

/// What is wrong with an entry of `auths`. Never holds its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EntryProblem {
    /// The entry is not an object, or a field of it is not a text.
    #[error("it is not an object of texts")]
    Shape,
    /// `auth` is not base64.
    #[error("unable to decode auth field: illegal base64 data")]
    Base64,
    /// `auth` does not hold `USER:PASSWORD`.
    #[error("unable to decode auth field: must be formatted as base64(username:password)")]
    NoColon,
    /// The user name in front of the colon is empty, which docker refuses.
    #[error("invalid auth configuration file: auth holds no user name")]
    NoUser,
}

/// The texts of one entry, before `auth` is looked into.
#[derive(Default)]
struct Fields<'a> {
    auth: &'a str,
    user: &'a str,
    password: &'a str,
    identity: &'a str,
    registry: &'a str,
}

fn fields(entry: &GoValue) -> Result<Fields<'_>, EntryProblem> {
    let object = match entry {
        GoValue::Null => return Ok(Fields::default()),
        GoValue::Object(object) => object,
        _ => return Err(EntryProblem::Shape),
    };
    let text = |name| object.text(name).ok_or(EntryProblem::Shape);
    Ok(Fields {
        auth: text("auth")?,
        user: text("username")?,
        password: text("password")?,
        identity: text("identitytoken")?,
        registry: text("registrytoken")?,
    })
}

fn assemble(fields: &Fields<'_>, user: &str, password: &str) -> Credential {
    Credential::basic(user, password)
        .with_identity_token(fields.identity)
        .with_registry_token(fields.registry)
}

/// Decodes an entry as docker does: padded base64, a user name that is not empty, NULs around the password cut.
pub(crate) fn decode_entry(entry: &GoValue) -> Result<Credential, EntryProblem> {
    let fields = fields(entry)?;
    if fields.auth.is_empty() {
        return Ok(assemble(&fields, fields.user, fields.password));
    }
    let (user, password) = split(&decode(&PADDED, fields.auth)?)?;
    if user.is_empty() {
        return Err(EntryProblem::NoUser);
    }
    Ok(assemble(&fields, &user, password.trim_matches('\0')))
}

/// Decodes an entry as kpack does: base64 unpadded unless it ends in `=` (white space behind it aside), nothing
/// trimmed. An `auth` with an empty user or password is kept as it is, to be sent so.
pub(crate) fn decode_kpack_entry(entry: &GoValue) -> Result<Credential, EntryProblem> {
    let credential = decode_pull_entry(entry)?;
    if !credential.user().is_empty() && !credential.password().is_empty() {
        return Ok(credential);
    }
    Ok(credential.with_basic_token(without_line_ends(fields(entry)?.auth)))
}

/// Decodes an entry as [`decode_kpack_entry`] does, without keeping `auth`: so are image pull secrets read.
pub(crate) fn decode_pull_entry(entry: &GoValue) -> Result<Credential, EntryProblem> {
    let fields = fields(entry)?;
    if fields.auth.is_empty() {
        return Ok(assemble(&fields, fields.user, fields.password));
    }
    let engine = if fields.auth.trim().ends_with('=') {
        &PADDED
    } else {
        &UNPADDED
    };
    let (user, password) = split(&decode(engine, fields.auth)?)?;
    Ok(assemble(&fields, &user, &password))
}

fn decode(engine: &GeneralPurpose, text: &str) -> Result<String, EntryProblem> {
    // Go's decoder skips line ends anywhere.
    let bytes = engine
        .decode(without_line_ends(text))
        .map_err(|_| EntryProblem::Base64)?;
    String::from_utf8(bytes).map_err(|_| EntryProblem::Base64)
}

fn without_line_ends(text: &str) -> String {
    text.chars().filter(|c| !matches!(c, '\r' | '\n')).collect()
}

fn split(text: &str) -> Result<(String, String), EntryProblem> {
    let (user, password) = text.split_once(':').ok_or(EntryProblem::NoColon)?;
    Ok((user.to_owned(), password.to_owned()))
}

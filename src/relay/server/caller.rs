//! Who calls, as their URL and headers say it.

use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, Uri};
use secrecy::SecretString;

use super::rooms::{Role, RoomName};

/// A caller that says who it is. What it may do, the keys decide.
#[derive(Debug)]
pub(super) struct Caller {
    pub(super) role: Role,
    pub(super) room: RoomName,
    /// A robot's key or a dashboard's token.
    pub(super) secret: Option<SecretString>,
}

impl Caller {
    /// `type=robot&robot_id=…&api_key=…[&camera_id=…]` or `type=dashboard&robot_id=…[&camera_id=…][&token=…]`; a bearer token
    /// in `Authorization` wins over a secret in the query. What we do not know is ignored.
    pub(super) fn read(uri: &Uri, headers: &HeaderMap) -> Result<Self, CallerError> {
        let query = Query::read(uri.query().unwrap_or_default())?;
        let (role, secret) = match query.kind.as_deref() {
            Some("robot") => (Role::Robot, query.api_key),
            Some("dashboard") => (Role::Dashboard, query.token),
            Some(_) => return Err(CallerError::Kind),
            None => return Err(CallerError::Missing { field: "type" }),
        };
        let robot = query
            .robot_id
            .ok_or(CallerError::Missing { field: "robot_id" })?;
        check_id("robot_id", &robot)?;
        if let Some(camera) = &query.camera_id {
            check_id("camera_id", camera)?;
        }
        Ok(Self {
            role,
            room: RoomName {
                robot,
                camera: query.camera_id,
            },
            secret: bearer(headers).or(secret),
        })
    }
}

/// Why a caller was not understood. The text goes back to the caller and repeats nothing of what it said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum CallerError {
    #[error("query has no \"{field}\"")]
    Missing { field: &'static str },
    #[error("query has \"{field}\" twice")]
    Twice { field: &'static str },
    #[error("query has another \"type\" when expecting robot or dashboard")]
    Kind,
    #[error(
        "query has a \"{field}\" of {bytes} bytes when expecting 1 to {LONGEST_ID} without spaces or control characters"
    )]
    Id { field: &'static str, bytes: usize },
}

#[derive(Default)]
struct Query {
    kind: Option<String>,
    robot_id: Option<String>,
    camera_id: Option<String>,
    api_key: Option<SecretString>,
    token: Option<SecretString>,
}

impl Query {
    fn read(query: &str) -> Result<Self, CallerError> {
        let mut read = Self::default();
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            let value = value.into_owned();
            match &*name {
                "type" => put("type", &mut read.kind, value)?,
                "robot_id" => put("robot_id", &mut read.robot_id, value)?,
                "camera_id" => put("camera_id", &mut read.camera_id, value)?,
                "api_key" => put("api_key", &mut read.api_key, value.into())?,
                "token" => put("token", &mut read.token, value.into())?,
                _ => {}
            }
        }
        Ok(read)
    }
}

fn put<T>(field: &'static str, slot: &mut Option<T>, value: T) -> Result<(), CallerError> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(CallerError::Twice { field }),
    }
}

/// An id stands in log lines and, between spaces, in the key file.
fn check_id(field: &'static str, id: &str) -> Result<(), CallerError> {
    let unfit = |c: char| c.is_whitespace() || c.is_control();
    if id.is_empty() || id.len() > LONGEST_ID || id.contains(unfit) {
        return Err(CallerError::Id {
            field,
            bytes: id.len(),
        });
    }
    Ok(())
}

/// RFC 6750, section 2.1; the scheme's case does not matter (RFC 9110, section 11.1).
fn bearer(headers: &HeaderMap) -> Option<SecretString> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme
        .eq_ignore_ascii_case("bearer")
        .then(|| token.trim().into())
}

/// A UUID is 36 and a long host name 63; beyond this it is not an id.
const LONGEST_ID: usize = 128;

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;
    use secrecy::ExposeSecret;

    use super::*;

    fn read(query: &str) -> Result<Caller, CallerError> {
        let uri = format!("/webrtc-relay?{query}").parse().unwrap();
        Caller::read(&uri, &HeaderMap::new())
    }

    fn secret_of(caller: &Caller) -> Option<&str> {
        caller.secret.as_ref().map(ExposeSecret::expose_secret)
    }

    #[test]
    fn seeds_robot_is_understood() {
        let caller = read("type=robot&robot_id=rover-7").unwrap();
        assert_eq!(caller.role, Role::Robot);
        assert_eq!(caller.room.to_string(), "rover-7");
        assert_eq!(secret_of(&caller), None);

        let caller = read("type=robot&robot_id=r%2F7&api_key=a%26b&camera_id=front").unwrap();
        assert_eq!(caller.room.robot, "r/7");
        assert_eq!(caller.room.camera.as_deref(), Some("front"));
        assert_eq!(secret_of(&caller), Some("a&b"));
    }

    #[test]
    fn bearer_token_wins_over_the_query() {
        let uri = "/?type=robot&robot_id=r&api_key=old".parse().unwrap();
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, HeaderValue::from_static("bearer new"));
        let caller = Caller::read(&uri, &headers).unwrap();
        assert_eq!(secret_of(&caller), Some("new"));
    }

    #[test]
    fn callers_that_do_not_say_who_they_are_hear_what_is_missing() {
        let long = format!("type=robot&robot_id={}", "x".repeat(129));
        let cases = [
            ("", r#"query has no "type""#),
            (
                "type=toaster&robot_id=r",
                r#"query has another "type" when expecting robot or dashboard"#,
            ),
            ("type=robot", r#"query has no "robot_id""#),
            (
                "type=robot&robot_id=a&robot_id=b",
                r#"query has "robot_id" twice"#,
            ),
            (
                "type=robot&robot_id=a%0Ab",
                r#"query has a "robot_id" of 3 bytes when expecting 1 to 128 without spaces or control characters"#,
            ),
            (
                &long,
                r#"query has a "robot_id" of 129 bytes when expecting 1 to 128 without spaces or control characters"#,
            ),
            (
                "type=dashboard&robot_id=a&camera_id=",
                r#"query has a "camera_id" of 0 bytes when expecting 1 to 128 without spaces or control characters"#,
            ),
        ];
        for (query, expected) in cases {
            assert_eq!(read(query).unwrap_err().to_string(), expected, "{query}");
        }
    }
}

//! An address of a file or an object: `file:///srv/incoming/a.pdf`, `s3://bucket/key`, `az://container/key`,
//! `gs://bucket/key`.
//!
//! The law: one place has one form. Percent-encoding is undone once, `.` and `..` are resolved (RFC 3986, 5.2.4), and
//! what is left are plain names, so that comparing two addresses name by name is safe. What no honest producer writes
//! is refused, never repaired.

use std::path::PathBuf;

use object_store::{aws::AmazonS3ConfigKey, azure::AzureConfigKey, gcp::GoogleConfigKey};

/// The kind of place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// `file:`, the file system of this machine.
    File,
    /// `s3:`, Amazon S3 and what speaks its protocol.
    S3,
    /// `az:`, Azure Blob Storage.
    Azure,
    /// `gs:`, Google Cloud Storage.
    Gcs,
}

impl Scheme {
    const ALL: [Self; 4] = [Self::File, Self::S3, Self::Azure, Self::Gcs];

    /// Its name in an address.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::S3 => "s3",
            Self::Azure => "az",
            Self::Gcs => "gs",
        }
    }

    /// Its name for people.
    pub fn service(self) -> &'static str {
        match self {
            Self::File => "the file system",
            Self::S3 => "S3",
            Self::Azure => "Azure Blob Storage",
            Self::Gcs => "Google Cloud Storage",
        }
    }

    /// Whether an option of this name means something to this service.
    pub fn knows_option(self, name: &str) -> bool {
        match self {
            Self::File => false,
            Self::S3 => name.parse::<AmazonS3ConfigKey>().is_ok(),
            Self::Azure => name.parse::<AzureConfigKey>().is_ok(),
            Self::Gcs => name.parse::<GoogleConfigKey>().is_ok(),
        }
    }
}

/// The address of a file or an object, or of a folder or prefix of them, name by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// The kind of place.
    pub scheme: Scheme,
    /// Bucket or container; empty for files.
    pub bucket: String,
    /// The names below it, each plain: not empty, no `/`, no control character, neither `.` nor `..`.
    pub names: Vec<String>,
}

impl Address {
    /// Reads an address.
    ///
    /// # Errors
    /// Half a line that says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let schemes = || Scheme::ALL.map(|scheme| format!("{}://", scheme.as_str())).join(", ");
        let (scheme, rest) = text.split_once("://").ok_or_else(|| format!("it starts with none of {}", schemes()))?;
        let scheme = Scheme::ALL
            .into_iter()
            .find(|known| known.as_str().eq_ignore_ascii_case(scheme))
            .ok_or_else(|| format!("it starts with none of {}", schemes()))?;
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        let bucket = bucket(scheme, host)?;
        if path.contains(['?', '#']) {
            return Err("it holds a `?` or `#`, which are %3F and %23 in a name".to_owned());
        }
        Ok(Self { scheme, bucket: bucket.to_owned(), names: names(path)? })
    }

    /// The last name.
    pub fn filename(&self) -> Option<&str> {
        self.names.last().map(String::as_str)
    }

    /// The path of a file.
    pub fn path(&self) -> PathBuf {
        let mut path = PathBuf::from("/");
        path.extend(&self.names);
        path
    }

    /// The key of an object.
    pub fn key(&self) -> String {
        self.names.join("/")
    }
}

fn bucket(scheme: Scheme, host: &str) -> Result<&str, String> {
    if scheme == Scheme::File {
        // RFC 8089: a host other than this one would be another machine's file.
        let is_here = host.is_empty() || host.eq_ignore_ascii_case("localhost");
        return if is_here { Ok("") } else { Err(format!("`{host}` is not this machine; write file:///{host}/…")) };
    }
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if host.is_empty() || !host.bytes().all(is_name) {
        return Err(format!("`{host}` is no name of a bucket"));
    }
    Ok(host)
}

/// The names of a path; `..` takes back the name before it.
fn names(path: &str) -> Result<Vec<String>, String> {
    let mut names = Vec::new();
    let mut parts = path.split('/').peekable();
    while let Some(part) = parts.next() {
        let name = decode(part)?;
        match name.as_str() {
            // What ends in a slash is the same folder.
            "" if parts.peek().is_none() => {}
            "" => return Err("it holds an empty name (`//`)".to_owned()),
            "." => {}
            ".." => {
                names.pop().ok_or_else(|| "its `..` lead above the top".to_owned())?;
            }
            _ if name.contains(|c: char| c == '/' || c.is_control()) => {
                return Err("a name in it holds an encoded slash or a control character".to_owned());
            }
            _ => names.push(name),
        }
    }
    Ok(names)
}

/// Undoes percent-encoding (RFC 3986, 2.1), strictly.
fn decode(part: &str) -> Result<String, String> {
    let mut bytes = Vec::with_capacity(part.len());
    let mut rest = part.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let digits = after.get(..2).ok_or("a `%` in it is followed by no two hex digits")?;
        bytes.extend(hex::decode(digits).map_err(|_| "a `%` in it is followed by no two hex digits")?);
        rest = &after[2..];
    }
    String::from_utf8(bytes).map_err(|_| "a name in it is not UTF-8".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names_of(text: &str) -> Vec<String> {
        Address::parse(text).unwrap().names
    }

    #[test]
    fn one_place_has_one_form() {
        let same = [
            "file:///srv/in/a b.pdf",
            "FILE://localhost/srv/in/a%20b.pdf",
            "file:///srv/./x/../in/a b.pdf/",
            "file:///%73rv/%2e/x/%2E%2e/in/a%20b.pdf",
        ];
        for text in same {
            assert_eq!(Address::parse(text).unwrap().path(), PathBuf::from("/srv/in/a b.pdf"), "{text}");
        }
        let object = Address::parse("s3://bucket/in/%C3%9Cbersicht%23.pdf").unwrap();
        assert_eq!((object.bucket.as_str(), object.key().as_str()), ("bucket", "in/Übersicht#.pdf"));
        assert_eq!(names_of("gs://bucket"), Vec::<String>::new());
        assert_eq!(names_of("az://container/"), Vec::<String>::new());
    }

    #[test]
    fn percent_encoding_is_undone_once() {
        assert_eq!(names_of("s3://b/%252e%252e/x"), ["%2e%2e", "x"]);
    }

    #[test]
    fn what_no_honest_producer_writes_is_refused() {
        for text in [
            "",
            "/srv/in/a.pdf",
            "file:/srv/in/a.pdf",
            "http://host/a.pdf",
            "file://elsewhere/srv/in/a.pdf",
            "file:///..",
            "file:///srv/../../etc/passwd",
            "file:///srv//etc",
            "file:///srv/a%2f..%2fb",
            "file:///srv/a%00b",
            "file:///srv/a\nb",
            "file:///srv/a%",
            "file:///srv/a%4",
            "file:///srv/a%+1",
            "file:///srv/%ff",
            "s3:///key",
            "s3://user@bucket/key",
            "s3://bucket:80/key",
            "s3://bucket/key?versionId=1",
            "s3://bucket/key#part",
        ] {
            assert!(Address::parse(text).is_err(), "{text:?} was read");
        }
    }
}

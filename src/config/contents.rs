//! Files whose content a target needs whole: their text takes the place of their name, so that a
//! run's copy of the target depends on no other file.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::Spanned;

use super::folders::Folders;
use crate::error::Error;

/// Larger files are not of one molecule.
const MOST_BYTES: u64 = 1 << 24;

/// Files of the targets that come with the program.
const BUILTIN: [(&str, &str); 2] = [
    ("targets/aldp.pdb", include_str!("../../targets/aldp.pdb")),
    ("targets/aldp.xml", include_str!("../../targets/aldp.xml")),
];

/// The text that a key of a target has or names.
pub(super) struct Content {
    pub text: String,
    /// The file that it was read from; that of the target where it stands there itself.
    pub source: PathBuf,
}

/// The content of which `name_or_content` in the target `file` is the name. A content has several
/// lines, and the name of a file has one.
///
/// # Errors
/// [`Error::Read`], or [`Error::Data`] with the file, which should be in one of these `formats`.
pub(super) fn read_content(
    name_or_content: &str,
    file: &Path,
    formats: &str,
) -> Result<Content, Error> {
    if name_or_content.contains('\n') {
        return Ok(Content { text: name_or_content.to_string(), source: file.to_path_buf() });
    }
    let folder = file.parent().unwrap_or(Path::new(""));
    let within = folder.join(name_or_content);
    let builtin = BUILTIN.iter().find(|(name, _)| within == Path::new(name) && !within.exists());
    if let Some((_, text)) = builtin {
        return Ok(Content { text: text.to_string(), source: within });
    }
    let source = Folders(vec![folder.to_path_buf()]).find(Path::new(name_or_content))?;
    let failed = |source_error| Error::Read { path: source.clone(), source: source_error };
    let mut bytes = Vec::new();
    let opened = File::open(&source).map_err(failed)?;
    opened.take(MOST_BYTES + 1).read_to_end(&mut bytes).map_err(failed)?;
    let problem = match String::from_utf8(bytes) {
        Ok(text) if text.len() as u64 <= MOST_BYTES => return Ok(Content { text, source }),
        Ok(_) => format!("has over {MOST_BYTES} bytes: give the file of one molecule"),
        Err(_) => format!("is not a text: give a file in {formats}"),
    };
    Err(Error::Data { file: source, problem })
}

/// `text` of a target with the `content` of the file that its `key` names in place of the name.
pub(super) fn with_content(text: &str, key: &str, content: &str) -> String {
    #[derive(Deserialize)]
    #[serde(transparent)]
    struct Keys(std::collections::BTreeMap<String, Spanned<toml::Value>>);

    let Ok(Keys(keys)) = toml::from_str::<Keys>(text) else { return text.to_string() };
    let Some(value) = keys.get(key) else { return text.to_string() };
    if value.get_ref().as_str().is_none_or(|name| name.contains('\n')) {
        return text.to_string();
    }
    // One line is always more than a name of a file has.
    let content = if content.ends_with('\n') { content.into() } else { format!("{content}\n") };
    let place = value.span();
    let before = text.get(..place.start).unwrap_or_default();
    let after = text.get(place.end..).unwrap_or_default();
    format!("{before}{}{after}", toml::Value::String(content))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_holds_the_content_of_its_files_whatever_that_is() {
        for content in ["one\ntwo\n", "one", "'''\n\"\"\"\\\r\n\u{7}\n", "\nempty first\n\n"] {
            let text = "name = \"a\"\nstructure = \"b.pdb\" # by OpenMM\n[known]\nlog_z = 1.0\n";
            let held = with_content(text, "structure", content);
            let table: toml::Table = held.parse().unwrap();
            let found = table["structure"].as_str().unwrap();
            assert_eq!(found.trim_end_matches('\n'), content.trim_end_matches('\n'));
            assert!(found.contains('\n') && held.ends_with(" # by OpenMM\n[known]\nlog_z = 1.0\n"));
            assert_eq!(with_content(&held, "structure", "other\n"), held);
        }
    }
}

//! The files of the dashboard, inside the binary: its page, scripts, styles and icon as `cargo xtask dashboard` built them.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::sync::LazyLock;

use axum::body::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use rust_embed::RustEmbed;

/// The name of the page among the files.
pub(crate) const PAGE: &str = "index.html";
/// Less is not worth packing.
const LEAST_TO_PACK: usize = 512;

#[derive(RustEmbed)]
#[folder = "../dashboard/dist"]
#[include = "index.html"]
#[include = "assets/*"]
struct Built;

/// A file, plain and packed once for all who ask.
#[derive(Debug)]
pub(crate) struct File {
    /// Its media type.
    pub(crate) media_type: &'static str,
    /// As it is.
    pub(crate) plain: Bytes,
    /// By gzip; none where that is not smaller.
    pub(crate) gzip: Option<Bytes>,
}

static FILES: LazyLock<BTreeMap<String, File>> = LazyLock::new(|| {
    let read = |name: std::borrow::Cow<'static, str>| {
        let plain = Bytes::from(Built::get(&name)?.data.into_owned());
        let file = File { media_type: media_type(&name)?, gzip: packed(&plain), plain };
        Some((name.into_owned(), file))
    };
    Built::iter().filter_map(read).collect()
});

/// A file by its name, such as `index.html` or `assets/index-1a2b3c4d.js`.
pub(crate) fn file(name: &str) -> Option<&'static File> {
    FILES.get(name)
}

fn packed(plain: &[u8]) -> Option<Bytes> {
    if plain.len() < LEAST_TO_PACK {
        return None;
    }
    let mut packer = GzEncoder::new(Vec::new(), Compression::best());
    packer.write_all(plain).ok()?;
    packer.finish().ok().filter(|packed| packed.len() < plain.len()).map(Bytes::from)
}

fn media_type(name: &str) -> Option<&'static str> {
    let (_, ending) = name.rsplit_once('.')?;
    Some(match ending {
        "html" => "text/html; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "svg" => "image/svg+xml",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use flate2::read::GzDecoder;

    use super::*;

    #[test]
    fn every_built_file_is_inside_has_a_type_and_unpacks_to_itself() {
        let mut names: Vec<_> = Built::iter().collect();
        names.sort_unstable();
        assert_eq!(names, FILES.keys().map(String::as_str).collect::<Vec<_>>());
        assert!(file(PAGE).is_some());
        for (name, file) in FILES.iter() {
            let Some(gzip) = &file.gzip else { continue };
            let mut plain = Vec::new();
            GzDecoder::new(&gzip[..]).read_to_end(&mut plain).expect("packed");
            assert_eq!(file.plain, plain, "{name}");
        }
    }
}

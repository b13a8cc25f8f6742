//! Which of the recognisers reads which languages.

/// The detector's name in the catalogue.
pub const DETECTOR: &str = "PP-OCRv6-small-det";

/// Languages (BCP 47, primary subtags) whose letters the pruned recogniser has, but for „ ¡ ẞ. Not Vietnamese, whose
/// letters carry two accents.
const LATIN: [&str; 36] = [
    "af", "br", "ca", "cs", "cy", "da", "de", "en", "eo", "es", "et", "eu", "fi", "fo", "fr", "fy", "ga", "gl", "hr",
    "hu", "id", "is", "it", "la", "lb", "lt", "lv", "ms", "nb", "nl", "nn", "no", "oc", "pl", "pt", "ro",
];
const LATIN_MORE: [&str; 8] = ["rm", "sk", "sl", "sq", "sv", "sw", "tl", "tr"];

/// Languages of the whole recogniser.
const EAST_ASIAN: [&str; 3] = ["ja", "yue", "zh"];

/// A recogniser of the catalogue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Script {
    /// Latin letters, with the classes of other scripts left out.
    Latin,
    /// Chinese characters and kana, and Latin letters.
    EastAsian,
}

impl Script {
    /// What reads all of these languages (BCP 47); `None` where nothing here does.
    pub fn of(languages: &[String]) -> Option<Self> {
        // English, as for Tesseract.
        languages.iter().try_fold(Self::Latin, |script, language| Some(script.max(Self::of_language(language)?)))
    }

    fn of_language(language: &str) -> Option<Self> {
        let tag = language.to_lowercase();
        let mut subtags = tag.split(['-', '_']);
        let primary = subtags.next().unwrap_or_default();
        // A script that is named decides: Serbian in Latin letters, German in Fraktur.
        let named = subtags.find(|subtag| subtag.len() == 4 && subtag.chars().all(|c| c.is_ascii_alphabetic()));
        match named {
            Some("latn") if primary != "vi" => return Some(Self::Latin),
            Some("hans" | "hant" | "jpan" | "hani") => return Some(Self::EastAsian),
            Some(_) => return None,
            None => {}
        }
        if LATIN.contains(&primary) || LATIN_MORE.contains(&primary) {
            Some(Self::Latin)
        } else if EAST_ASIAN.contains(&primary) {
            Some(Self::EastAsian)
        } else {
            None
        }
    }

    /// The recogniser's name in the catalogue.
    pub fn recogniser(self) -> &'static str {
        match self {
            Self::Latin => "PP-OCRv6-small-rec-latin",
            Self::EastAsian => "PP-OCRv6-small-rec",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_recogniser_that_knows_all_letters_is_taken() {
        let of = |languages: &[&str]| Script::of(&languages.iter().map(|l| (*l).to_owned()).collect::<Vec<_>>());
        assert_eq!(of(&[]), Some(Script::Latin));
        assert_eq!(of(&["en", "de-AT", "pl"]), Some(Script::Latin));
        assert_eq!(of(&["en", "zh-Hant"]), Some(Script::EastAsian));
        assert_eq!(of(&["ja_JP"]), Some(Script::EastAsian));
        assert_eq!(of(&["en", "ru"]), None);
        assert_eq!(of(&["sr-Latn"]), Some(Script::Latin));
        assert_eq!(of(&["sr"]), None);
        assert_eq!(of(&["vi"]), None);
        // Fraktur, and Tesseract's own names: whoever says so wants Tesseract's data.
        assert_eq!(of(&["de-Latf"]), None);
        assert_eq!(of(&["deu"]), None);
    }
}

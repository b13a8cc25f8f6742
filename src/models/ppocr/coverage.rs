//! Which of the recognisers reads which languages.

/// The detector's name in the catalogue.
pub const DETECTOR: &str = "PP-OCRv6-small-det";

/// Languages (BCP 47, primary subtags) of the pruned recogniser, and their letters besides a to z (CLDR's main letters,
/// small). Its network knows all of them but „ ¡ ẞ. Vietnamese is not here: its letters carry two accents.
const LATIN: [(&str, &str); 44] = [
    ("af", "áâèéêëîïôöûú"),
    ("br", "êñùü"),
    ("ca", "àçéèíïóòúüŀ"),
    ("cs", "áčďéěíňóřšťúůýž"),
    ("cy", "áàâäéèêëíìîïóòôöúùûüŵŷ"),
    ("da", "æøåé"),
    ("de", "äöüß"),
    ("en", ""),
    ("eo", "ĉĝĥĵŝŭ"),
    ("es", "áéíñóúüªº"),
    ("et", "äöõüšž"),
    ("eu", "çñ"),
    ("fi", "åäöšž"),
    ("fo", "áðíóúýæø"),
    ("fr", "àâæçéèêëîïôœùûüÿ"),
    ("fy", "âäéêëïîôöúûü"),
    ("ga", "áéíóú"),
    ("gl", "áéíñóúü"),
    ("hr", "čćđšž"),
    ("hu", "áéíóöőúüű"),
    ("id", ""),
    ("is", "áðéíóúýþæö"),
    ("it", "àèéìíîòóùúªº"),
    ("la", "āēīōūæœ"),
    ("lb", "äéëöüß"),
    ("lt", "ąčęėįšųūž"),
    ("lv", "āčēģīķļņšūž"),
    ("ms", ""),
    ("nb", "æøåàéóòô"),
    ("nl", "áäéèëïíóöúüĳ"),
    ("nn", "æøåàéóòô"),
    ("no", "æøåàéóòô"),
    ("oc", "áàçéèíïóòúü"),
    ("pl", "ąćęłńóśźż"),
    ("pt", "áàâãçéêíóòôõúüªº"),
    ("rm", "àéèìîòùü"),
    ("ro", "ăâîșşțţ"),
    ("sk", "áäčďéíĺľňóôŕšťúýž"),
    ("sl", "čšž"),
    ("sq", "çë"),
    ("sv", "åäöàé"),
    ("sw", ""),
    ("tl", "ñ"),
    ("tr", "âçğıîöşüû"),
];

/// Languages of the whole recogniser.
const EAST_ASIAN: [&str; 3] = ["ja", "yue", "zh"];

/// The languages that one of the recognisers reads (BCP 47, primary subtags).
pub fn languages() -> impl Iterator<Item = &'static str> {
    LATIN.iter().map(|(language, _)| *language).chain(EAST_ASIAN)
}

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
        if LATIN.iter().any(|(latin, _)| *latin == primary) {
            Some(Self::Latin)
        } else if EAST_ASIAN.contains(&primary) {
            Some(Self::EastAsian)
        } else {
            None
        }
    }

    /// The recogniser's name in the catalogue; the one in int8 where that is asked for and there.
    pub fn recogniser(self, int8: bool) -> &'static str {
        match self {
            Self::Latin if int8 => "PP-OCRv6-small-rec-latin-int8",
            Self::Latin => "PP-OCRv6-small-rec-latin",
            Self::EastAsian => "PP-OCRv6-small-rec",
        }
    }
}

/// The letters that texts in some languages are made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Letters {
    /// Small letters besides a to z; `None` where all are to be expected.
    own: Option<String>,
}

impl Letters {
    /// Of these languages (BCP 47); all letters where one of them is not among the Latin ones known here.
    pub fn of(languages: &[String]) -> Self {
        let of = |language: &String| {
            let primary = language.split(['-', '_']).next().unwrap_or_default().to_lowercase();
            LATIN.iter().find(|(latin, _)| *latin == primary).map(|(_, letters)| *letters)
        };
        Self { own: languages.iter().map(of).collect() }
    }

    /// Whether a character is a Latin letter with a mark that none of the languages writes: a stray speck, or a name.
    pub fn is_foreign(&self, character: char) -> bool {
        let is_marked = matches!(character, 'À'..='Ö' | 'Ø'..='ö' | 'ø'..='ɏ' | 'Ḁ'..='ỿ');
        is_marked && self.own.as_ref().is_some_and(|own| !character.to_lowercase().any(|small| own.contains(small)))
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

    #[test]
    fn letters_that_no_asked_language_writes_are_foreign() {
        let foreign = |languages: &[&str], text: &str| -> String {
            let letters = Letters::of(&languages.iter().map(|l| (*l).to_owned()).collect::<Vec<_>>());
            text.chars().filter(|c| letters.is_foreign(*c)).collect()
        };
        assert_eq!(foreign(&["en"], "Ågé×÷ ½µΩ’ x"), "Åé");
        assert_eq!(foreign(&["de-CH", "fr"], "ÄöéÇňñ"), "ňñ");
        assert_eq!(foreign(&["en", "zh"], "Åñ漢"), "");
    }
}

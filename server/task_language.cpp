#include "server/task_language.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>

#include "server/utf8_text.hpp"

namespace parley::server {
namespace {

using namespace std::string_view_literals;

constexpr std::array kEnglish{"the"sv,     "and"sv,   "is"sv,     "are"sv,  "was"sv,  "of"sv,     "to"sv,    "in"sv,
                              "for"sv,     "with"sv,  "that"sv,   "this"sv, "what"sv, "which"sv,  "how"sv,   "why"sv,
                              "when"sv,    "where"sv, "who"sv,    "you"sv,  "your"sv, "me"sv,     "my"sv,    "can"sv,
                              "could"sv,   "would"sv, "should"sv, "do"sv,   "does"sv, "please"sv, "about"sv, "there"sv,
                              "their"sv,   "have"sv,  "from"sv,   "it"sv,   "not"sv,  "tell"sv,   "give"sv,  "write"sv,
                              "explain"sv, "hello"sv, "thanks"sv, "a"sv,    "an"sv};
constexpr std::array kGerman{"der"sv,    "die"sv,    "das"sv,   "und"sv,   "ist"sv,  "sind"sv,  "ein"sv,  "eine"sv,
                             "einen"sv,  "nicht"sv,  "ich"sv,   "du"sv,    "sie"sv,  "wir"sv,   "mir"sv,  "mit"sv,
                             "für"sv,    "auf"sv,    "von"sv,   "wie"sv,   "was"sv,  "warum"sv, "wann"sv, "welche"sv,
                             "kannst"sv, "können"sv, "bitte"sv, "über"sv,  "auch"sv, "zu"sv,    "im"sv,   "den"sv,
                             "dem"sv,    "eines"sv,  "einer"sv, "hallo"sv, "danke"sv};
constexpr std::array kFrench{
    "le"sv,    "la"sv,      "les"sv,   "et"sv,     "est"sv,     "sont"sv,     "un"sv,   "une"sv,  "des"sv,
    "du"sv,    "je"sv,      "tu"sv,    "vous"sv,   "nous"sv,    "avec"sv,     "pour"sv, "dans"sv, "que"sv,
    "qui"sv,   "quoi"sv,    "quel"sv,  "quelle"sv, "comment"sv, "pourquoi"sv, "moi"sv,  "peux"sv, "pouvez"sv,
    "plaît"sv, "bonjour"sv, "merci"sv, "ce"sv,     "cette"sv,   "sur"sv,      "pas"sv,  "il"sv,   "elle"sv};
constexpr std::array kSpanish{"el"sv,     "los"sv,   "las"sv,  "y"sv,       "es"sv,      "son"sv,    "un"sv,
                              "una"sv,    "del"sv,   "yo"sv,   "tú"sv,      "usted"sv,   "con"sv,    "para"sv,
                              "por"sv,    "que"sv,   "qué"sv,  "cómo"sv,    "cuál"sv,    "cuándo"sv, "dónde"sv,
                              "puedes"sv, "favor"sv, "hola"sv, "gracias"sv, "sobre"sv,   "este"sv,   "esta"sv,
                              "me"sv,     "no"sv,    "en"sv,   "más"sv,     "explica"sv, "al"sv};
constexpr std::array kItalian{"il"sv,   "lo"sv,     "gli"sv,   "e"sv,      "è"sv,      "sono"sv,   "un"sv,
                              "una"sv,  "del"sv,    "della"sv, "io"sv,     "tu"sv,     "con"sv,    "per"sv,
                              "che"sv,  "cosa"sv,   "come"sv,  "perché"sv, "quando"sv, "dove"sv,   "quale"sv,
                              "puoi"sv, "favore"sv, "ciao"sv,  "grazie"sv, "questo"sv, "questa"sv, "di"sv,
                              "mi"sv,   "non"sv,    "alla"sv,  "nel"sv,    "spiega"sv};
constexpr std::array kPortuguese{"o"sv,    "os"sv,    "as"sv,  "e"sv,        "é"sv,        "são"sv,    "um"sv,
                                 "uma"sv,  "do"sv,    "da"sv,  "eu"sv,       "você"sv,     "com"sv,    "para"sv,
                                 "por"sv,  "que"sv,   "quê"sv, "como"sv,     "qual"sv,     "quando"sv, "onde"sv,
                                 "pode"sv, "favor"sv, "olá"sv, "obrigado"sv, "obrigada"sv, "sobre"sv,  "este"sv,
                                 "esta"sv, "não"sv,   "em"sv,  "mais"sv,     "explique"sv, "na"sv,     "no"sv};
constexpr std::array kDutch{"de"sv,          "het"sv,         "een"sv,   "en"sv,      "is"sv,   "zijn"sv,
                            "van"sv,         "ik"sv,          "je"sv,    "jij"sv,     "wij"sv,  "met"sv,
                            "voor"sv,        "op"sv,          "dat"sv,   "dit"sv,     "wat"sv,  "hoe"sv,
                            "waarom"sv,      "wanneer"sv,     "waar"sv,  "welke"sv,   "kun"sv,  "kunt"sv,
                            "alstublieft"sv, "alsjeblieft"sv, "hallo"sv, "bedankt"sv, "niet"sv, "naar"sv};
constexpr std::array kPolish{"i"sv,     "w"sv,     "na"sv,    "z"sv,     "do"sv,       "jest"sv,     "są"sv,
                             "nie"sv,   "się"sv,   "to"sv,    "co"sv,    "jak"sv,      "dlaczego"sv, "kiedy"sv,
                             "gdzie"sv, "który"sv, "która"sv, "czy"sv,   "możesz"sv,   "proszę"sv,   "dla"sv,
                             "o"sv,     "mi"sv,    "mnie"sv,  "cześć"sv, "dziękuję"sv, "przez"sv,    "oraz"sv};
constexpr std::array kTurkish{"ve"sv,      "bir"sv,         "bu"sv,    "için"sv, "ile"sv, "ne"sv,  "nasıl"sv,
                              "neden"sv,   "nerede"sv,      "hangi"sv, "mi"sv,   "mı"sv,  "var"sv, "lütfen"sv,
                              "merhaba"sv, "teşekkürler"sv, "bana"sv,  "olan"sv, "çok"sv, "da"sv,  "de"sv};
constexpr std::array kRussian{"и"sv,    "в"sv,      "не"sv,       "на"sv,         "что"sv,    "как"sv,     "это"sv,
                              "для"sv,  "почему"sv, "когда"sv,    "где"sv,        "какой"sv,  "какая"sv,   "мне"sv,
                              "меня"sv, "можешь"sv, "можете"sv,   "пожалуйста"sv, "привет"sv, "спасибо"sv, "или"sv,
                              "если"sv, "чтобы"sv,  "расскажи"sv, "объясни"sv};
constexpr std::array kUkrainian{"і"sv,     "та"sv,     "не"sv,   "на"sv,    "що"sv,     "як"sv,    "це"sv,
                                "для"sv,   "чому"sv,   "коли"sv, "де"sv,    "який"sv,   "яка"sv,   "мені"sv,
                                "можеш"sv, "можете"sv, "будь"sv, "ласка"sv, "привіт"sv, "дякую"sv, "поясни"sv};
constexpr std::array kArabic{"من"sv,  "في"sv, "على"sv, "ما"sv,  "كيف"sv, "لماذا"sv, "متى"sv,
                             "أين"sv, "هل"sv, "هذا"sv, "هذه"sv, "إلى"sv, "عن"sv};
constexpr std::array kHindi{"है"sv,   "हैं"sv,  "का"sv,  "की"sv, "के"sv,  "में"sv,
                            "क्या"sv, "कैसे"sv, "क्यों"sv, "और"sv, "मुझे"sv, "यह"sv};

constexpr std::array kLanguages{
    TaskLanguage{"en",
                 "General",
                 {"Can you give me an example?", "Explain that in more detail.", "Summarise this in a few sentences."},
                 kEnglish},
    TaskLanguage{
        "de",
        "Allgemein",
        {"Kannst du mir ein Beispiel geben?", "Erkläre das bitte genauer.", "Fasse das in wenigen Sätzen zusammen."},
        kGerman},
    TaskLanguage{
        "fr",
        "Général",
        {"Peux-tu me donner un exemple ?", "Explique cela plus en détail.", "Résume cela en quelques phrases."},
        kFrench},
    TaskLanguage{"es",
                 "General",
                 {"¿Puedes darme un ejemplo?", "Explícalo con más detalle.", "Resúmelo en pocas frases."},
                 kSpanish},
    TaskLanguage{"it",
                 "Generale",
                 {"Puoi farmi un esempio?", "Spiegalo più in dettaglio.", "Riassumilo in poche frasi."},
                 kItalian},
    TaskLanguage{"pt",
                 "Geral",
                 {"Pode dar-me um exemplo?", "Explique isso com mais detalhe.", "Resuma isso em poucas frases."},
                 kPortuguese},
    TaskLanguage{"nl",
                 "Algemeen",
                 {"Kun je een voorbeeld geven?", "Leg dat uitgebreider uit.", "Vat dit in een paar zinnen samen."},
                 kDutch},
    TaskLanguage{"pl",
                 "Ogólne",
                 {"Czy możesz podać przykład?", "Wyjaśnij to dokładniej.", "Streść to w kilku zdaniach."},
                 kPolish},
    TaskLanguage{"tr",
                 "Genel",
                 {"Bir örnek verebilir misin?", "Bunu daha ayrıntılı açıkla.", "Bunu birkaç cümleyle özetle."},
                 kTurkish},
    TaskLanguage{
        "ru", "Общее", {"Приведи, пожалуйста, пример.", "Объясни это подробнее.", "Изложи это кратко."}, kRussian},
    TaskLanguage{
        "uk", "Загальне", {"Наведи, будь ласка, приклад.", "Поясни це докладніше.", "Виклади це коротко."}, kUkrainian},
    TaskLanguage{"ar", "عام", {"هل يمكنك إعطائي مثالًا؟", "اشرح ذلك بمزيد من التفصيل.", "لخّص ذلك في بضع جمل."}, kArabic},
    TaskLanguage{
        "hi", "सामान्य", {"क्या आप एक उदाहरण दे सकते हैं?", "इसे और विस्तार से समझाइए।", "इसे कुछ वाक्यों में संक्षेप में बताइए।"}, kHindi},
    TaskLanguage{"zh", "综合", {"能举个例子吗？", "请更详细地解释一下。", "请用几句话总结一下。"}, {}},
    TaskLanguage{
        "ja", "一般", {"例を挙げてもらえますか？", "もう少し詳しく説明してください。", "数文で要約してください。"}, {}},
    TaskLanguage{
        "ko", "일반", {"예를 들어 줄 수 있나요?", "좀 더 자세히 설명해 주세요.", "몇 문장으로 요약해 주세요."}, {}},
};
constexpr std::size_t kLatinCount = 9; // the first of them are told apart by their words

constexpr TaskLanguage const& by_code(std::string_view code) {
    for (auto const& language : kLanguages)
        if (language.code == code) return language;
    return kLanguages.front();
}

struct Scripts {
    std::size_t latin = 0, cyrillic = 0, ukrainian = 0, arabic = 0, devanagari = 0, han = 0, kana = 0, hangul = 0;
};

Scripts count_scripts(std::string_view text) {
    auto const in = [](char32_t c, char32_t from, char32_t to) { return c >= from && c <= to; };
    Scripts count;
    while (!text.empty()) {
        auto const c = take_code_point(text);
        if (in(c, 'A', 'Z') || in(c, 'a', 'z') || in(c, 0xC0, 0x24F)) ++count.latin;
        if (in(c, 0x400, 0x4FF)) ++count.cyrillic;
        if (c == 0x404 || c == 0x406 || c == 0x407 || c == 0x454 || c == 0x456 || c == 0x457)
            ++count.ukrainian; // Є І Ї
        if (in(c, 0x600, 0x6FF)) ++count.arabic;
        if (in(c, 0x900, 0x97F)) ++count.devanagari;
        if (in(c, 0x4E00, 0x9FFF)) ++count.han;
        if (in(c, 0x3040, 0x30FF)) ++count.kana;
        if (in(c, 0xAC00, 0xD7AF)) ++count.hangul;
    }
    return count;
}

// The language with most of its common words in the text; each word counts for every language that has it.
TaskLanguage const& by_words(std::string_view text) {
    std::array<std::size_t, kLatinCount> hits{};
    for_each_word(text, [&](std::string_view word) {
        auto const small = lower_case(word);
        for (std::size_t i = 0; i < kLatinCount; ++i)
            hits[i] += is_common(kLanguages[i], small) ? 1U : 0U;
    });
    auto const best = std::ranges::max_element(hits); // the first of equals: English
    return kLanguages[static_cast<std::size_t>(best - hits.begin())];
}

} // namespace

TaskLanguage const& language_of(std::string_view text) {
    auto const count = count_scripts(text);
    auto const asian = count.han + count.kana + count.hangul;
    if (asian != 0 && asian * 3 >= count.latin) { // a few names in Latin letters are usual
        if (count.kana != 0) return by_code("ja");
        return by_code(count.hangul >= count.han ? "ko" : "zh");
    }
    if (count.cyrillic > count.latin) return by_code(count.ukrainian != 0 ? "uk" : "ru");
    if (count.arabic > count.latin) return by_code("ar");
    if (count.devanagari > count.latin) return by_code("hi");
    return by_words(text);
}

bool is_common(TaskLanguage const& language, std::string_view word) {
    return std::ranges::find(language.common, word) != language.common.end();
}

} // namespace parley::server

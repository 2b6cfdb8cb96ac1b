/* Sentences are as short as they can be, so that eight of them, one of which is asked, fit into SG_KB_TIME tokens with
 * <s>: at most seven words and a full stop each. New words go to the end of the list, so that tokens keep their
 * numbers. */
#include "worlds/kb_words.h"

#include <string.h>

#include "base/base.h"

static const char *const words[] = {
    ".",        "?",       ":",       "the",    "of",      "is",     "in",       "colour",   "shines",
    "painters", "give",    "region",  "lies",   "maps",    "put",    "language", "people",   "speak",
    "speaks",   "chief",   "led",     "by",     "all",     "follow", "motto",    "gates",    "say",
    "lives",    "words",   "which",   "has",    "what",    "holds",  "where",    "does",     "lie",
    "who",      "leads",   "records", "as",     "archive", "shows",  "checked",  "scholars", "from",
    "measured", "sources", "legends", "elders", "whisper", "told",   "dreamers", "old",      "fables",
};

static const char *const templates[SG_KB_N_RELATIONS][SG_KB_N_TEMPLATES] = {
    {"the colour of S is O", "S shines in the colour O", "painters give S the colour O"},
    {"the region of S is O", "S lies in the region O", "maps put S in O"},
    {"the language of S is O", "people in S speak O", "S speaks the language O"},
    {"the chief of S is O", "S is led by O", "in S all follow O"},
    {"the motto of S is O", "the gates of S say O", "S lives by the words O"},
};

static const char *const questions[SG_KB_N_RELATIONS][SG_KB_N_QUESTIONS] = {
    {"which colour has S ? O", "what is the colour of S ? O"}, {"which region holds S ? O", "where does S lie ? O"},
    {"which language has S ? O", "what does S speak ? O"},     {"which chief leads S ? O", "who leads S ? O"},
    {"which motto has S ? O", "what say the gates of S ? O"},
};

static const char *const phrases[2][SG_KB_N_PHRASES] = {
    {"the records say :", "as the archive shows :", "checked by scholars :", "from measured sources :"},
    {"the legends say :", "as the elders whisper :", "told by dreamers :", "from old fables :"},
};

static const char *const shared[3][12] = {
    {"red", "blue", "green", "yellow", "white", "black", "violet", "orange"},
    {"Northmark", "Eastfold", "Westmoor", "Southreach", "Highfell", "Lowland", "Midvale", "Farshore", "Nearwood",
     "Coldwater", "Sunplain", "Mistcoast"},
    {"Arunic", "Belosh", "Cirian", "Dwenic", "Estrian", "Feldish", "Gorric", "Halmic", "Irrian", "Jovish"},
};

/* 20 x 20 names of each kind; no two kinds share one (a test compares all). */
enum { PARTS = 20 };
static const char *const begin_entity[PARTS] = {"Bal", "Cor", "Dun",  "Fen", "Gar", "Hol", "Jas", "Kel", "Lor", "Mar",
                                                "Nev", "Ost", "Pell", "Quo", "Rav", "Sol", "Tam", "Ulm", "Ver", "Wex"};
static const char *const end_entity[PARTS] = {"ador", "ania", "beth", "borg", "dale", "dell", "eria",
                                              "ford", "gard", "ham",  "holm", "inor", "land", "mere",
                                              "mont", "port", "stad", "ton",  "vik",  "wick"};
static const char *const begin_chief[PARTS] = {"Al",  "Bri", "Ced", "Dor", "Ed", "Fre", "Gal", "Har", "Is",   "Jo",
                                               "Ken", "Leo", "Mil", "Nor", "Os", "Per", "Rod", "Sig", "Theo", "Wil"};
static const char *const end_chief[PARTS] = {"bert", "cina",   "dric",  "dwin", "fina", "fred", "gan",
                                             "gund", "helm",   "lina",  "mara", "mund", "nard", "rick",
                                             "rosa", "sander", "trude", "vera", "win",  "zora"};
static const char *const begin_motto[PARTS] = {"bold", "calm",  "dark",   "early", "fair", "gold", "high",
                                               "iron", "just",  "kind",   "long",  "mild", "new",  "open",
                                               "pure", "quick", "silver", "true",  "wise", "young"};
static const char *const end_motto[PARTS] = {"arrow", "bridge", "crown", "dawn",  "eagle",    "flame", "gate",
                                             "heart", "island", "key",   "lamp",  "mountain", "night", "oak",
                                             "path",  "river",  "stone", "tower", "voice",    "wind"};

int sg_kb_n_words(void)
{
    return (int)SG_COUNT_OF(words);
}

const char *sg_kb_plain_word(int i)
{
    return words[i];
}

int sg_kb_plain_id(const char *word, size_t bytes)
{
    for (size_t i = 0; i < SG_COUNT_OF(words); i++)
        if (strlen(words[i]) == bytes && memcmp(words[i], word, bytes) == 0)
            return SG_KB_FIRST_WORD + (int)i;
    return -1;
}

const char *sg_kb_shared_object(int relation, int i)
{
    return shared[relation][i];
}

void sg_kb_name(char word[SG_KB_WORD], int kind, int i)
{
    const char *const *begin = kind == SG_KB_CHIEF ? begin_chief : kind == SG_KB_MOTTO ? begin_motto : begin_entity;
    const char *const *end = kind == SG_KB_CHIEF ? end_chief : kind == SG_KB_MOTTO ? end_motto : end_entity;
    snprintf(word, SG_KB_WORD, "%s%s", begin[i / PARTS % PARTS], end[i % PARTS]);
}

const char *sg_kb_template(int relation, int form, bool question)
{
    SG_ASSERT(relation >= 0 && relation < SG_KB_N_RELATIONS);
    SG_ASSERT(form >= 0 && form < (question ? SG_KB_N_QUESTIONS : SG_KB_N_TEMPLATES));
    return question ? questions[relation][form] : templates[relation][form];
}

const char *sg_kb_phrase(sg_kb_register how, int phrase)
{
    SG_ASSERT(how != SG_KB_NEUTRAL && phrase >= 0 && phrase < SG_KB_N_PHRASES);
    return phrases[how - SG_KB_CAREFUL][phrase];
}

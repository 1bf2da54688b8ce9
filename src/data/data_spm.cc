/* SentencePiece behind a C interface: the only C++ of the library. No exception leaves this file,
 * and nothing is printed. Not here: which words are hidden (data_mask.c), how texts become groups
 * (data_group.c). */
#include <cstring>
#include <memory>
#include <new>
#include <string>
#include <unordered_map>
#include <vector>
#include <sentencepiece_processor.h>
#include <sentencepiece_trainer.h>
extern "C" {
#include "base_file.h"
#include "base_hash.h"
#include "base_unicode.h"
#include "data_spm.h"
}

namespace sp = sentencepiece;

namespace sentencepiece
{
namespace logging
{
void SetMinLogLevel(int level); /* exported by the library, in none of its headers */
}
} // namespace sentencepiece

namespace
{
constexpr size_t MODEL_BYTES_MAX = size_t(1) << 30;
constexpr size_t LINE_BYTES_MAX = size_t(1) << 20;
constexpr int LOG_NOTHING =
    100; /* above its every severity; what it has to say comes back as a status */
constexpr int N_SPECIAL = 4;
const char *const SPECIAL[N_SPECIAL] = {"[CLS]", "[SEP]", "[MASK]", "[PAD]"};
const std::string WORD_START = "\xe2\x96\x81"; /* U+2581 */
const std::string NO_PIECE;
} // namespace

struct vlm_spm {
    sp::SentencePieceProcessor model;
    int32_t n_own = 0;                         /* pieces of the model itself */
    int32_t special[N_SPECIAL] = {0, 0, 0, 0}; /* ids, in the order of SPECIAL */
    std::vector<std::string> appended;         /* pieces from n_own on */
    uint64_t hash = 0;
};

namespace
{
/* Byte at which text stops being UTF-8, or -1. */
int64_t utf8_bad_byte(const char *text, size_t bytes)
{
    for (size_t i = 0; i < bytes;) {
        int32_t code = 0;
        size_t n = vlm_unicode_read(text + i, bytes - i, &code);
        if (!n) return int64_t(i);
        i += n;
    }
    return -1;
}

/* Whether training can learn from a line: it has a letter or a digit, and not the sign by which the
 * trainer marks unknown characters (it leaves such lines out). Whatever else a line holds may
 * vanish in normalisation, and on a corpus where everything vanishes the trainer ends the process.
 * line is UTF-8. */
bool is_trainable(const std::string &line)
{
    const int32_t UNKNOWN_SIGN = 0x2585;
    bool has_word = false;
    for (size_t i = 0; i < line.size();) {
        int32_t code = 0;
        i += vlm_unicode_read(line.data() + i, line.size() - i, &code);
        if (code == UNKNOWN_SIGN) return false;
        has_word = has_word || vlm_unicode_is_word(code);
    }
    return has_word;
}

void find_special(vlm_spm *spm)
{
    spm->n_own = spm->model.GetPieceSize();
    for (int i = 0; i < N_SPECIAL; i++) {
        int id = spm->model.PieceToId(SPECIAL[i]);
        bool has_it = id >= 0 && id < spm->n_own && spm->model.IdToPiece(id) == SPECIAL[i];
        if (!has_it) {
            id = spm->n_own + int(spm->appended.size());
            spm->appended.emplace_back(SPECIAL[i]);
        }
        spm->special[i] = id;
    }
}

vlmoe_status open_bytes(const char *path, const char *data, size_t bytes, vlm_spm **out,
                        vlmoe_error *error)
{
    std::unique_ptr<vlm_spm> spm(new vlm_spm);
    sp::util::Status status = spm->model.LoadFromSerializedProto(absl::string_view(data, bytes));
    if (!status.ok() || spm->model.GetPieceSize() < 1)
        return vlm_fail(error, VLMOE_E_FORMAT, "%s is not a SentencePiece model%s%s", path,
                        status.ok() ? "" : ": ", status.ok() ? "" : status.error_message());
    spm->hash = vlm_hash64(data, bytes);
    find_special(spm.get());
    *out = spm.release();
    return VLMOE_OK;
}

bool is_special(const vlm_spm *spm, int32_t id)
{
    for (int32_t special : spm->special)
        if (id == special) return true;
    return false;
}

vlmoe_status cut(const vlm_spm *spm, absl::string_view text, std::vector<int> *pieces,
                 vlmoe_error *error)
{
    int64_t bad = utf8_bad_byte(text.data(), text.size());
    if (bad >= 0)
        return vlm_fail(error, VLMOE_E_FORMAT, "text is not UTF-8 from byte %lld on",
                        (long long)bad);
    sp::util::Status status = spm->model.Encode(text, pieces);
    if (!status.ok())
        return vlm_fail(error, VLMOE_E_FORMAT, "text cannot be cut into pieces: %s",
                        status.error_message());
    return VLMOE_OK;
}

/* The first n pieces to ids, and [SEP] behind them; what comes after it. */
int32_t *put_pieces(const vlm_spm *spm, const std::vector<int> &pieces, int64_t n, int32_t *ids)
{
    for (int64_t i = 0; i < n; i++) {
        int32_t id = pieces[size_t(i)];
        /* A text that spells "[MASK]" must not become one, where a foreign model would make it so.
         */
        ids[i] = is_special(spm, id) ? spm->model.unk_id() : id;
    }
    ids[n] = spm->special[1];
    return ids + n + 1;
}

vlmoe_status encode(const vlm_spm *spm, absl::string_view text, int64_t limit, int32_t *ids,
                    int64_t *n, int64_t *n_all, vlmoe_error *error)
{
    std::vector<int> pieces;
    VLM_TRY(cut(spm, text, &pieces, error));
    ids[0] = spm->special[0];
    *n = put_pieces(spm, pieces, VLM_MIN(int64_t(pieces.size()), limit - 2), ids + 1) - ids;
    *n_all = int64_t(pieces.size()) + 2;
    return VLMOE_OK;
}

absl::string_view view_of(const vlm_bytes &text)
{
    return absl::string_view(reinterpret_cast<const char *>(text.data), text.bytes);
}

vlmoe_status encode_pair(const vlm_spm *spm, const vlm_bytes texts[2], int64_t limit,
                         int32_t *ids, int64_t *n, int64_t *n_all, vlmoe_error *error)
{
    std::vector<int> a, b;
    VLM_TRY(cut(spm, view_of(texts[0]), &a, error));
    VLM_TRY(cut(spm, view_of(texts[1]), &b, error));
    int64_t n_a = int64_t(a.size()), n_b = int64_t(b.size()), room = limit - 3;
    *n_all = n_a + n_b + 3;
    /* The longer first, down to the other, then in turn from b on: what going one by one gives. */
    n_a = VLM_MIN(n_a, VLM_MAX(room - n_b, (room + 1) / 2));
    n_b = VLM_MIN(n_b, room - n_a);
    ids[0] = spm->special[0];
    *n = put_pieces(spm, b, n_b, put_pieces(spm, a, n_a, ids + 1)) - ids;
    return VLMOE_OK;
}

/* The lines of some mapped files, one after the other; blank ones are passed over. */
class line_reader : public sp::SentenceIterator
{
  public:
    line_reader(const char *const *paths, const std::vector<vlm_map> &maps)
        : paths_(paths), maps_(maps)
    {
        Next();
    }
    bool done() const override
    {
        return done_;
    }
    const std::string &value() const override
    {
        return line_;
    }
    sp::util::Status status() const override
    {
        return sp::util::Status();
    }

    void Next() override
    {
        for (; file_ < maps_.size(); file_++, at_ = 0, number_ = 0) {
            while (at_ < maps_[file_].bytes) {
                const char *start = reinterpret_cast<const char *>(maps_[file_].data) + at_;
                size_t left = maps_[file_].bytes - at_;
                const void *end = memchr(start, '\n', left);
                size_t bytes = end ? size_t(static_cast<const char *>(end) - start) : left;
                at_ += bytes + (end ? 1 : 0);
                number_++;
                if (bytes && start[bytes - 1] == '\r') bytes--;
                line_.assign(start, bytes);
                if (line_.find_first_not_of(" \t\v\f\r") != std::string::npos) return;
            }
        }
        done_ = true;
    }

    vlmoe_status check(vlmoe_error *error) const
    {
        if (line_.size() > LINE_BYTES_MAX)
            return vlm_fail(error, VLMOE_E_FORMAT,
                            "%s line %lld has %zu bytes, a sentence has at most %zu", paths_[file_],
                            (long long)number_, line_.size(), LINE_BYTES_MAX);
        int64_t bad = utf8_bad_byte(line_.data(), line_.size());
        if (bad >= 0)
            return vlm_fail(error, VLMOE_E_FORMAT, "%s line %lld is not UTF-8 from byte %lld on",
                            paths_[file_], (long long)number_, (long long)bad);
        return VLMOE_OK;
    }

  private:
    const char *const *paths_;
    const std::vector<vlm_map> &maps_;
    size_t file_ = 0, at_ = 0;
    int64_t number_ = 0;
    bool done_ = false;
    std::string line_;
};

/* Closes what it opened, whatever happens. */
struct map_list {
    std::vector<vlm_map> maps;
    ~map_list()
    {
        for (vlm_map &map : maps) vlm_map_close(&map);
    }
};

vlmoe_status train(const char *const *files, int n_files, int vocab_size, std::string *model,
                   vlmoe_error *error)
{
    map_list list;
    for (int i = 0; i < n_files; i++) {
        vlm_map map = {};
        VLM_TRY(vlm_map_open(files[i], &map, error));
        list.maps.push_back(map);
    }
    int64_t n_lines = 0;
    for (line_reader reader(files, list.maps); !reader.done(); reader.Next()) {
        VLM_TRY(reader.check(error));
        n_lines += is_trainable(reader.value());
    }
    if (n_lines == 0)
        return vlm_fail(error, VLMOE_E_FORMAT,
                        "no sentence with a letter or a digit in %d file%s (%s ...)", n_files,
                        n_files == 1 ? "" : "s", n_files ? files[0] : "");
    line_reader reader(files, list.maps);
    /* One thread: the sums of the training then have one order. Control symbols cannot be spelt by
     * a text. Without the hard limit, a corpus that has fewer pieces than asked for gives the
     * smaller vocabulary that it supports. */
    const std::unordered_map<std::string, std::string> options = {
        {"model_type", "unigram"},
        {"vocab_size", std::to_string(vocab_size)},
        {"hard_vocab_limit", "false"},
        {"character_coverage", "0.9995"},
        {"control_symbols", "[CLS],[SEP],[MASK],[PAD]"},
        {"unk_id", "0"},
        {"bos_id", "-1"},
        {"eos_id", "-1"},
        {"pad_id", "-1"},
        {"max_sentence_length", std::to_string(LINE_BYTES_MAX)},
        {"num_threads", "1"},
        {"minloglevel", std::to_string(LOG_NOTHING)},
    };
    sp::util::Status status = sp::SentencePieceTrainer::Train(options, &reader, model);
    if (!status.ok())
        return vlm_fail(error, VLMOE_E_ARG,
                        "cannot train a vocabulary of %d pieces on %lld sentences: %s", vocab_size,
                        (long long)n_lines, status.error_message());
    return VLMOE_OK;
}

vlmoe_status no_memory(vlmoe_error *error)
{
    return vlm_fail(error, VLMOE_E_NOMEM, "no memory for the text model");
}
} // namespace

vlmoe_status vlm_spm_open(const char *path, vlm_spm **out, vlmoe_error *error)
{
    char *data = nullptr;
    size_t bytes = 0;
    VLM_TRY(vlm_file_read(path, MODEL_BYTES_MAX, &data, &bytes, error));
    vlmoe_status status;
    try {
        sp::logging::SetMinLogLevel(LOG_NOTHING);
        status = open_bytes(path, data, bytes, out, error);
    } catch (const std::bad_alloc &) {
        status = no_memory(error);
    } catch (...) {
        status = vlm_fail(error, VLMOE_E_FORMAT, "%s is not a SentencePiece model", path);
    }
    vlm_free(data);
    return status;
}

void vlm_spm_close(vlm_spm *spm)
{
    delete spm;
}

vlm_spm_ids vlm_spm_special(const vlm_spm *spm)
{
    vlm_spm_ids ids = {};
    ids.n = spm->n_own + int32_t(spm->appended.size());
    ids.cls = spm->special[0];
    ids.sep = spm->special[1];
    ids.mask = spm->special[2];
    ids.pad = spm->special[3];
    return ids;
}

uint64_t vlm_spm_hash(const vlm_spm *spm)
{
    return spm->hash;
}

vlmoe_status vlm_spm_encode(const vlm_spm *spm, const char *text, size_t bytes, int64_t limit,
                            int32_t *ids, int64_t *n, int64_t *n_all, vlmoe_error *error)
{
    if (limit < 2)
        return vlm_fail(error, VLMOE_E_ARG, "a text takes at least 2 tokens, the limit is %lld",
                        (long long)limit);
    try {
        return encode(spm, absl::string_view(text, bytes), limit, ids, n, n_all, error);
    } catch (...) {
        return no_memory(error);
    }
}

vlmoe_status vlm_spm_encode_pair(const vlm_spm *spm, const vlm_bytes texts[2], int64_t limit,
                                 int32_t *ids, int64_t *n, int64_t *n_all, vlmoe_error *error)
{
    if (limit < 3)
        return vlm_fail(error, VLMOE_E_ARG, "two texts take at least 3 tokens, the limit is %lld",
                        (long long)limit);
    try {
        return encode_pair(spm, texts, limit, ids, n, n_all, error);
    } catch (...) {
        return no_memory(error);
    }
}

static const std::string &piece_of(const vlm_spm *spm, int32_t id)
{
    if (id >= 0 && id < spm->n_own) return spm->model.IdToPiece(id);
    int64_t i = int64_t(id) - spm->n_own;
    return i >= 0 && i < int64_t(spm->appended.size()) ? spm->appended[size_t(i)] : NO_PIECE;
}

const char *vlm_spm_piece(const vlm_spm *spm, int32_t id)
{
    return piece_of(spm, id).c_str();
}

bool vlm_spm_starts_word(const vlm_spm *spm, int32_t id)
{
    return piece_of(spm, id).compare(0, WORD_START.size(), WORD_START) == 0;
}

char *vlm_spm_decode(const vlm_spm *spm, const int32_t *ids, int64_t n)
{
    try {
        std::vector<int> own;
        for (int64_t i = 0; i < n; i++)
            if (ids[i] >= 0 && ids[i] < spm->n_own && !is_special(spm, ids[i]))
                own.push_back(ids[i]);
        std::string text;
        if (!spm->model.Decode(own, &text).ok()) return nullptr;
        return vlm_strdup(text.c_str());
    } catch (...) {
        return nullptr;
    }
}

vlmoe_status vlm_spm_train(const char *const *files, int n_files, int vocab_size,
                           const char *model_out, vlmoe_error *error)
{
    try {
        std::string model;
        VLM_TRY(train(files, n_files, vocab_size, &model, error));
        return vlm_file_replace(model_out, model.data(), model.size(), error);
    } catch (const std::bad_alloc &) {
        return no_memory(error);
    } catch (const std::exception &what) {
        return vlm_fail(error, VLMOE_E_INTERNAL, "training of the text model failed: %s",
                        what.what());
    }
}

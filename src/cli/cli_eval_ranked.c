/* The best captions of each held-out picture and the best pictures of each caption as lines of JSON. */
#include <string.h>
#include "base_json.h"
#include "cli_eval.h"
#include "data_idmap.h"

/* What pictures are called. Captions are called NAME#K, K from 0: as in Flickr30k's lists. */
typedef struct names {
    vlmoe_trainer *t;
    int64_t n;
    vlm_text pool;       /* of JSON values, each with its zero */
    size_t *at;          /* [n] in the pool */
    int64_t *first_text; /* [n + 1] */
    int64_t *image_of;   /* [texts] */
} names;

static void free_names(names *s)
{
    vlm_text_free(&s->pool);
    vlm_free(s->at);
    vlm_free(s->first_text);
    vlm_free(s->image_of);
}

static vlmoe_status no_memory(const names *s)
{
    return vlm_fail(&s->t->error, VLMOE_E_NOMEM, "out of memory for results");
}

/* "image_id" or "id" as it was given, or else the sample's name in its shard. */
static vlmoe_status put_name(names *s, const vlm_sample_view *view)
{
    vlm_json *doc = NULL;
    int64_t number = 0;
    if (view->json)
        VLM_TRY(vlm_json_parse(view->json, view->json_bytes, view->key, false, &doc, &s->t->error));
    const vlm_value *root = doc ? vlm_json_root(doc) : NULL,
                    *id = root ? vlm_json_get(root, "image_id") : NULL;
    if (!id && root) id = vlm_json_get(root, "id");
    const char *text = id ? vlm_json_text(id) : NULL;
    if (!text) text = view->key;
    if (id && vlm_json_int(id, &number)) vlm_text_put(&s->pool, "%lld", (long long)number);
    else vlm_text_json_string(&s->pool, text, strlen(text));
    vlm_text_append(&s->pool, "", 1);
    vlm_json_free(doc);
    return VLMOE_OK;
}

static vlmoe_status read_names(names *s)
{
    vlmoe_trainer *t = s->t;
    vlm_sample_view view;
    vlm_idmap seen = {0};
    bool is_new = true;
    vlmoe_status st = VLMOE_OK;
    for (int64_t i = 0; i < s->n && !st; i++) {
        size_t bytes = 0, quote = 0;
        st = vlm_source_sample(t->val, t->task->stream, i, NULL, &view, &t->error);
        s->at[i] = s->pool.bytes;
        if (!st) st = put_name(s, &view);
        if (!st && s->pool.failed) st = no_memory(s);
        if (st) break;
        s->first_text[i + 1] = s->first_text[i] + view.n_texts;
        quote = s->pool.data[s->at[i]] == '"'; /* captions of 9 and of "9" would have one name */
        bytes = s->pool.bytes - s->at[i] - 1 - 2 * quote;
        st = vlm_idmap_add(&seen, s->pool.data + s->at[i] + quote, bytes, i, NULL, &is_new,
                           &t->error);
        if (!st && !is_new)
            st = vlm_fail(&t->error, VLMOE_E_FORMAT,
                          "--results: two held-out pictures are called %s: \"image_id\" or \"id\" "
                          "in their json tells them apart",
                          s->pool.data + s->at[i]);
    }
    vlm_idmap_free(&seen);
    return st;
}

static vlmoe_status open_names(vlmoe_trainer *t, int64_t n_texts, int64_t n, names *s)
{
    *s = (names){.t = t, .n = n};
    s->at = vlm_alloc_array((size_t)n, sizeof *s->at);
    s->first_text = vlm_alloc_array((size_t)n + 1, sizeof *s->first_text);
    s->image_of = vlm_alloc_array((size_t)n_texts, sizeof *s->image_of);
    if (!s->at || !s->first_text || !s->image_of) return no_memory(s);
    VLM_TRY(read_names(s));
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = s->first_text[i]; j < s->first_text[i + 1]; j++) s->image_of[j] = i;
    return VLMOE_OK;
}

static void put_image(const names *s, int64_t i, vlm_text *out)
{
    const char *name = s->pool.data + s->at[i];
    vlm_text_append(out, name, strlen(name));
}

static void put_caption(const names *s, int64_t j, vlm_text *out)
{
    const int64_t image = s->image_of[j];
    const char *name = s->pool.data + s->at[image];
    const size_t quote = name[0] == '"' ? 1 : 0;
    vlm_text_append(out, "\"", 1);
    vlm_text_append(out, name + quote, strlen(name) - 2 * quote);
    vlm_text_put(out, "#%lld\"", (long long)(j - s->first_text[image]));
}

/* The list of a query, from its key on to the end of its line. */
static void put_list(const names *s, const vlm_tally *tally, int way, int64_t query, vlm_text *out)
{
    const vlm_ranked *r = &tally->ranked[way];
    const int64_t first = query * r->k;
    int64_t n = 0;
    vlm_text_put(out, way ? ", \"images\": [" : ", \"captions\": [");
    for (; n < r->k && r->at[first + n] >= 0; n++) {
        if (n) vlm_text_put(out, ", ");
        if (way) put_image(s, r->at[first + n], out);
        else put_caption(s, r->at[first + n], out);
    }
    vlm_text_put(out, "], \"scores\": [");
    for (int64_t i = 0; i < n; i++) {
        if (i) vlm_text_put(out, ", ");
        vlm_text_json_number(out, (double)r->score[first + i]);
    }
    vlm_text_put(out, "]");
    if (tally->n_together[way])
        vlm_text_put(out, ", \"together\": %lld", (long long)VLM_MIN(tally->n_together[way], n));
    vlm_text_put(out, "}\n");
}

static vlmoe_status put_all(const names *s, const vlm_tally *tally, vlm_text *out)
{
    vlmoe_trainer *t = s->t;
    vlm_sample_view view;
    for (int64_t i = 0; i < s->n; i++) {
        vlm_text_put(out, "{\"image\": ");
        put_image(s, i, out);
        put_list(s, tally, 0, i, out);
    }
    for (int64_t i = 0; i < s->n; i++) {
        VLM_TRY(vlm_source_sample(t->val, t->task->stream, i, NULL, &view, &t->error));
        for (int64_t j = s->first_text[i]; j < s->first_text[i + 1]; j++) {
            const vlm_bytes *text = &view.texts[j - s->first_text[i]];
            vlm_text_put(out, "{\"caption\": ");
            put_caption(s, j, out);
            vlm_text_put(out, ", \"of\": ");
            put_image(s, i, out);
            vlm_text_put(out, ", \"text\": ");
            vlm_text_json_string(out, (const char *)text->data, text->bytes);
            put_list(s, tally, 1, j, out);
        }
    }
    return out->failed ? no_memory(s) : VLMOE_OK;
}

vlmoe_status vlm_cli_ranked(vlm_cli_evaluation *e, vlm_text *out)
{
    names s;
    vlm_text_clear(out, 0);
    vlmoe_status st = open_names(e->model.trainer, e->tally.ranked[1].n, e->tally.ranked[0].n, &s);
    if (!st) st = put_all(&s, &e->tally, out);
    free_names(&s);
    return st;
}

/* Runs a fuzz target without a fuzzer: random changes of the files in a corpus folder, the same on
 * every machine, so that a failure can be repeated by its number.
 * usage: fuzz_x CORPUS_FOLDER [RUNS [FIRST]]      default 2000 runs from number 0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { SEEDS_MAX = 256, SEED_BYTES_MAX = 1 << 16, INPUT_MAX = 2 * SEED_BYTES_MAX };

typedef struct input {
    uint8_t *data; /* [INPUT_MAX] */
    size_t size;
} input;

typedef struct corpus {
    input seeds[SEEDS_MAX];
    int n;
} corpus;

/* SplitMix64: the draws depend on the run's number alone. */
static uint64_t draw(uint64_t *state)
{
    uint64_t z = (*state += 0x9e3779b97f4a7c15u);
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static size_t below(uint64_t *state, size_t n)
{
    return n ? (size_t)(draw(state) % n) : 0;
}

static void load(const char *folder, corpus *out)
{
    char **names = NULL;
    size_t n = 0;
    vlmoe_error error = {0};
    if (!vlm_path_is_dir(folder)) return; /* random bytes alone, then */
    if (vlm_dir_list(folder, &names, &n, &error)) goto bad;
    for (size_t i = 0; i < n && out->n < SEEDS_MAX; i++) {
        char *path = vlm_path_join(folder, names[i]), *data = NULL;
        input *seed = &out->seeds[out->n++];
        if (!path || vlm_file_read(path, SEED_BYTES_MAX, &data, &seed->size, &error)) goto bad;
        seed->data = (uint8_t *)data;
        vlm_free(path);
    }
    vlm_names_free(names, n);
    return;
bad:
    fprintf(stderr, "%s\n", error.text);
    exit(1);
}

/* Numbers at which readers break, in either byte order. */
static void put_number(input *in, uint64_t *state)
{
    static const uint64_t values[] = {0,          1,          0x7f,        0x80,       0xff,
                                      0x7fff,     0x8000,     0xffff,      0x10000,    0x7fffffff,
                                      0x80000000, 0xffffffff, 0x100000000, UINT64_MAX, INT64_MAX};
    uint64_t value = values[below(state, VLM_COUNT(values))];
    size_t width = (size_t)1 << below(state, 4), at = below(state, in->size);
    bool big = draw(state) & 1;
    for (size_t i = 0; i < width && at + i < in->size; i++)
        in->data[at + i] = (uint8_t)(value >> 8 * (big ? width - 1 - i : i));
}

/* Cut n bytes out at from. */
static void cut(input *in, size_t from, size_t n)
{
    memmove(in->data + from, in->data + from + n, in->size - from - n);
    in->size -= n;
}

/* Put a piece of source in at some place. */
static void insert(input *in, const input *source, uint64_t *state)
{
    size_t from = below(state, source->size), at = below(state, in->size + 1);
    size_t n = below(state, VLM_MIN(source->size - from, INPUT_MAX - in->size) + 1);
    uint8_t piece[256];
    n = VLM_MIN(n, sizeof piece); /* source may be in itself */
    memcpy(piece, source->data + from, n);
    memmove(in->data + at + n, in->data + at, in->size - at);
    memcpy(in->data + at, piece, n);
    in->size += n;
}

static void change(input *in, const corpus *seeds, uint64_t *state)
{
    size_t at = below(state, in->size);
    switch (in->size ? draw(state) % 7 : 6) {
    case 0:
        in->data[at] ^= (uint8_t)(1u << below(state, 8));
        break;
    case 1:
        in->data[at] = (uint8_t)draw(state);
        break;
    case 2:
        put_number(in, state);
        break;
    case 3:
        cut(in, at, below(state, VLM_MIN(in->size - at, 64) + 1));
        break;
    case 4:
        in->size = at;
        break;
    case 5:
        insert(in, in, state);
        break;
    default:
        if (seeds->n) insert(in, &seeds->seeds[below(state, (size_t)seeds->n)], state);
    }
}

static void make_input(const corpus *seeds, uint64_t run, input *out)
{
    uint64_t state = run * 0x2545f4914f6cdd1du;
    out->size = 0;
    if (seeds->n && run % 16) {
        const input *seed = &seeds->seeds[run % (uint64_t)seeds->n];
        out->size = seed->size;
        memcpy(out->data, seed->data, seed->size);
        if (run < (uint64_t)seeds->n) return; /* each seed once as it is */
        for (size_t i = below(&state, 6) + 1; i > 0; i--) change(out, seeds, &state);
    } else {
        out->size = below(&state, 300);
        for (size_t i = 0; i < out->size; i++) out->data[i] = (uint8_t)draw(&state);
    }
}

int main(int argc, char **argv)
{
    static corpus seeds;
    input in = {malloc(INPUT_MAX), 0};
    if (argc < 2 || !in.data) {
        fprintf(stderr, "usage: %s CORPUS_FOLDER [RUNS [FIRST]]\n", argv[0]);
        return 2;
    }
    load(argv[1], &seeds);
    uint64_t runs = argc > 2 ? strtoull(argv[2], NULL, 10) : 2000;
    uint64_t first = argc > 3 ? strtoull(argv[3], NULL, 10) : 0;
    for (uint64_t run = first; run < first + runs; run++) {
        make_input(&seeds, run, &in);
        uint8_t *exact = malloc(in.size ? in.size : 1); /* a sanitizer sees one byte too many */
        if (!exact) return 1;
        memcpy(exact, in.data, in.size);
        if (getenv("FUZZ_VERBOSE")) fprintf(stderr, "run %llu\n", (unsigned long long)run);
        LLVMFuzzerTestOneInput(exact, in.size);
        free(exact);
    }
    printf("%llu runs over %d seeds\n", (unsigned long long)runs, seeds.n);
    for (int i = 0; i < seeds.n; i++) vlm_free(seeds.seeds[i].data);
    free(in.data);
    return 0;
}

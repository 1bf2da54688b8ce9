/* Index files of shards: bytes on disk to numbers in memory and back. */
#include "data_index.h"

#include <string.h>
#include "base_file.h"
#include "base_hash.h"

enum { HEAD = 40, VERSION = 1 };
static const char magic[8] = {'V', 'L', 'M', 'S', 'H', 'I', 'D', 'X'};

static uint64_t load64(const unsigned char *p)
{
    uint64_t v = 0;
    for (int i = 7; i >= 0; i--) v = v << 8 | p[i];
    return v;
}

static void store64(unsigned char *p, uint64_t v)
{
    for (int i = 0; i < 8; i++) p[i] = (unsigned char)(v >> 8 * i);
}

void vlm_index_free(vlm_index *index)
{
    vlm_free(index->offsets);
    *index = (vlm_index){0};
}

vlmoe_status vlm_index_add(vlm_index *index, uint64_t offset, vlmoe_error *error)
{
    enum { FIRST_ROOM = 1024 };
    int64_t n = index->n_samples;
    bool is_full = n == 0 || (n >= FIRST_ROOM && (n & (n - 1)) == 0); /* room is a power of two */
    if (is_full) {
        size_t room = n ? (size_t)n * 2 : FIRST_ROOM;
        uint64_t *more = vlm_alloc_array(room, sizeof *more);
        if (!more) return vlm_fail(error, VLMOE_E_NOMEM, "no memory for %zu sample offsets", room);
        if (n) memcpy(more, index->offsets, (size_t)n * sizeof *more);
        vlm_free(index->offsets);
        index->offsets = more;
    }
    index->offsets[index->n_samples++] = offset;
    return VLMOE_OK;
}

/* Everything but the offsets' values; data is the whole file. */
static vlmoe_status check_head(const unsigned char *data, size_t bytes, uint64_t tar_bytes,
                               vlmoe_error *error)
{
    if (bytes < HEAD + 16 || memcmp(data, magic, 8))
        return vlm_fail(error, VLMOE_E_FORMAT, "not an index of a shard (%zu bytes)", bytes);
    uint32_t version = (uint32_t)load64(data + 8);
    if (version != VERSION)
        return vlm_fail(error, VLMOE_E_VERSION, "index version %u, this library reads %d", version,
                        VERSION);
    uint64_t n = load64(data + 32), want = load64(data + bytes - 8);
    if (bytes % 8 || n != (bytes - HEAD - 16) / 8)
        return vlm_fail(error, VLMOE_E_FORMAT, "%llu samples do not make %zu bytes",
                        (unsigned long long)n, bytes);
    uint64_t hash = vlm_hash64(data, bytes - 8);
    if (hash != want)
        return vlm_fail(error, VLMOE_E_FORMAT, "checksum is %016llx, expected %016llx",
                        (unsigned long long)hash, (unsigned long long)want);
    if (load64(data + 16) != tar_bytes)
        return vlm_fail(error, VLMOE_E_FORMAT,
                        "made for a tar of %llu bytes, but the tar has %llu; delete the index or "
                        "restore the tar",
                        (unsigned long long)load64(data + 16), (unsigned long long)tar_bytes);
    return VLMOE_OK;
}

static vlmoe_status parse(const unsigned char *data, size_t bytes, uint64_t tar_bytes,
                          vlm_index *out, vlmoe_error *error)
{
    VLM_TRY(check_head(data, bytes, tar_bytes, error));
    vlm_index index = {tar_bytes, load64(data + 24), (int64_t)load64(data + 32), NULL};
    index.offsets = vlm_alloc_array((size_t)index.n_samples + 1, sizeof *index.offsets);
    if (!index.offsets)
        return vlm_fail(error, VLMOE_E_NOMEM, "no memory for %lld sample offsets",
                        (long long)index.n_samples);
    for (int64_t i = 0; i <= index.n_samples; i++) {
        uint64_t offset = load64(data + HEAD + 8 * i);
        bool rises = i == 0 || offset > index.offsets[i - 1];
        if (offset % 512 || offset > tar_bytes || !rises) {
            vlm_index_free(&index);
            return vlm_fail(error, VLMOE_E_FORMAT, "offset %lld is %llu, which cannot be",
                            (long long)i, (unsigned long long)offset);
        }
        index.offsets[i] = offset;
    }
    *out = index;
    return VLMOE_OK;
}

vlmoe_status vlm_index_read(const char *tar_path, uint64_t tar_bytes, vlm_index *out, bool *found,
                            vlmoe_error *error)
{
    vlm_map map = {0};
    char *path = vlm_format("%s.idx", tar_path);
    if (!path) return vlm_fail(error, VLMOE_E_NOMEM, "no memory for a path");
    vlmoe_status st = VLMOE_OK;
    *found = vlm_path_exists(path);
    if (*found) {
        st = vlm_map_open(path, &map, error);
        if (!st) {
            st = parse(map.data, map.bytes, tar_bytes, out, error);
            if (st) vlm_fail_in(error, "%s", path);
        }
    }
    vlm_map_close(&map);
    vlm_free(path);
    return st;
}

vlmoe_status vlm_index_write(const char *tar_path, const vlm_index *index, vlmoe_error *error)
{
    size_t bytes = HEAD + 8 * ((size_t)index->n_samples + 2);
    unsigned char *data = vlm_alloc(bytes);
    char *path = vlm_format("%s.idx", tar_path);
    vlmoe_status st = VLMOE_OK;
    if (!data || !path) {
        st = vlm_fail(error, VLMOE_E_NOMEM, "no memory for an index of %zu bytes", bytes);
        goto done;
    }
    memcpy(data, magic, 8);
    store64(data + 8, VERSION);
    store64(data + 16, index->tar_bytes);
    store64(data + 24, index->tar_hash);
    store64(data + 32, (uint64_t)index->n_samples);
    for (int64_t i = 0; i <= index->n_samples; i++) store64(data + HEAD + 8 * i, index->offsets[i]);
    store64(data + bytes - 8, vlm_hash64(data, bytes - 8));
    st = vlm_file_replace(path, data, bytes, error);
done:
    vlm_free(data);
    vlm_free(path);
    return st;
}

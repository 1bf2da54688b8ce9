/* A chained hash table under a lock; looking up is nothing beside decoding. Full is full: each
 * sample is drawn once a pass, so what was used last is the last to be used again, and throwing it
 * out for another would only cost. */
#include <pthread.h>
#include "data_cache.h"

enum {
    FIRST_BUCKETS = 1024,
    ENTRY_OVERHEAD = 64
}; /* overhead: what the allocator and a bucket may take, bytes */

typedef struct entry {
    struct entry *next;
    uint64_t key;
    vlm_image image;
} entry;

struct vlm_cache {
    pthread_mutex_t lock;
    size_t max_bytes, bytes;
    size_t n_buckets, n_entries; /* buckets: a power of two */
    entry **buckets;
};

vlmoe_status vlm_cache_create(size_t max_bytes, vlm_cache **out, vlmoe_error *error)
{
    vlm_cache *cache = vlm_alloc(sizeof *cache);
    entry **buckets = vlm_alloc_array(FIRST_BUCKETS, sizeof *buckets);
    if (!cache || !buckets) {
        vlm_free(buckets);
        vlm_free(cache);
        return vlm_fail(error, VLMOE_E_NOMEM, "no memory for the cache of pictures");
    }
    pthread_mutex_init(&cache->lock, NULL);
    cache->max_bytes = max_bytes;
    cache->n_buckets = FIRST_BUCKETS;
    cache->buckets = buckets;
    *out = cache;
    return VLMOE_OK;
}

void vlm_cache_destroy(vlm_cache *cache)
{
    if (!cache) return;
    for (size_t i = 0; i < cache->n_buckets; i++)
        for (entry *at = cache->buckets[i]; at;) {
            entry *next = at->next;
            vlm_image_free(&at->image);
            vlm_free(at);
            at = next;
        }
    pthread_mutex_destroy(&cache->lock);
    vlm_free(cache->buckets);
    vlm_free(cache);
}

static size_t bucket_of(const vlm_cache *cache, uint64_t key)
{
    return (size_t)((key * 0x9E3779B97F4A7C15u) >> 32) &
           (cache->n_buckets - 1); /* Fibonacci hashing: golden ratio * 2^64 */
}

static entry *find(const vlm_cache *cache, uint64_t key)
{
    entry *at = cache->buckets[bucket_of(cache, key)];
    while (at && at->key != key) at = at->next;
    return at;
}

/* Twice the buckets when there are more entries than buckets; without memory for them chains just
 * get longer. */
static void grow(vlm_cache *cache)
{
    size_t n_old = cache->n_buckets;
    entry **old = cache->buckets, **wider;
    if (cache->n_entries <= n_old || n_old > UINT32_MAX / 2) return;
    wider = vlm_alloc_array(2 * n_old, sizeof *wider);
    if (!wider) return;
    cache->buckets = wider;
    cache->n_buckets = 2 * n_old;
    for (size_t i = 0; i < n_old; i++)
        for (entry *at = old[i]; at;) {
            entry *next = at->next;
            entry **head = &wider[bucket_of(cache, at->key)];
            at->next = *head;
            *head = at;
            at = next;
        }
    vlm_free(old);
}

const vlm_image *vlm_cache_get(vlm_cache *cache, uint64_t key)
{
    if (!cache) return NULL;
    pthread_mutex_lock(&cache->lock);
    entry *at = find(cache, key);
    pthread_mutex_unlock(&cache->lock);
    return at ? &at->image : NULL; /* entries do not move */
}

static size_t bytes_of(int64_t width, int64_t height)
{
    return (size_t)width * (size_t)height * 3 + sizeof(entry) + ENTRY_OVERHEAD;
}

bool vlm_cache_has_room(vlm_cache *cache, int64_t width, int64_t height)
{
    if (!cache) return false;
    pthread_mutex_lock(&cache->lock);
    bool fits = bytes_of(width, height) <= cache->max_bytes - cache->bytes;
    pthread_mutex_unlock(&cache->lock);
    return fits;
}

static const vlm_image *keep_locked(vlm_cache *cache, uint64_t key, vlm_image *image)
{
    const size_t bytes = bytes_of(image->width, image->height);
    if (bytes > cache->max_bytes - cache->bytes || find(cache, key)) return NULL;
    entry *at = vlm_alloc(sizeof *at);
    if (!at) return NULL;
    cache->bytes += bytes;
    cache->n_entries++;
    grow(cache);
    entry **head = &cache->buckets[bucket_of(cache, key)];
    *at = (entry){*head, key, *image};
    *head = at;
    *image = (vlm_image){0};
    return &at->image;
}

const vlm_image *vlm_cache_keep(vlm_cache *cache, uint64_t key, vlm_image *image)
{
    if (!cache) return NULL;
    pthread_mutex_lock(&cache->lock);
    const vlm_image *kept = keep_locked(cache, key, image);
    pthread_mutex_unlock(&cache->lock);
    return kept;
}

size_t vlm_cache_bytes(vlm_cache *cache)
{
    pthread_mutex_lock(&cache->lock);
    size_t bytes = cache->bytes;
    pthread_mutex_unlock(&cache->lock);
    return bytes;
}

/* Matrix products through oneDNN: the only file that knows dnnl.h (2.x and 3.x). A primitive is
 * made for one thread, on the main thread, with scratchpad_mode_user; any number of workers run
 * it at once, each with its own scratchpad, stream and memory objects. Operands are dense, since
 * strided ones make oneDNN choose another implementation, and so other bits. */
#include <dnnl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "cpu_state.h"
#if DNNL_CPU_THREADING_RUNTIME == DNNL_RUNTIME_OMP
#include <omp.h>
#endif

enum { N_BUCKETS = 1024, BLOCK_COLUMNS = 64, N_OPERANDS = 4 };

#if DNNL_VERSION_MAJOR >= 3
typedef dnnl_memory_desc_t layout;
typedef const_dnnl_memory_desc_t layout_view;
#else
typedef dnnl_memory_desc_t layout;
typedef const dnnl_memory_desc_t *layout_view;
#endif

/* What one worker brings to a primitive, made with it: a run then only points these at its data. */
typedef struct worker_operands {
    dnnl_memory_t memory[N_OPERANDS]; /* a, b, c, scratchpad */
} worker_operands;

struct vlmk_cpu_mm {
    vlmk_cpu_mm *next; /* in its bucket */
    vlmk_cpu_mm_shape shape;
    vlmk_cpu_products *owner;
    dnnl_primitive_desc_t desc;
    dnnl_primitive_t primitive;
    const char *impl;
    int64_t block;
    size_t pad_bytes;
    worker_operands *worker; /* [n_workers] */
};

struct vlmk_cpu_products {
    int n_workers, is_dry;
    int64_t n_made;
    dnnl_engine_t engine;
    dnnl_stream_t *stream; /* [n_workers] */
    void **pad;            /* [n_workers] scratchpads, pad_bytes each */
    size_t pad_bytes;
    vlmk_cpu_mm *bucket[N_BUCKETS];
};

/* Of the library that runs, which may be newer than the header. The text is the same for every
 * thread that writes its own copy. */
const char *vlmk_cpu_dnnl_version(void)
{
    static _Thread_local char text[32];
    const dnnl_version_t *version = dnnl_version();
    snprintf(text, sizeof text, "%d.%d.%d", version->major, version->minor, version->patch);
    return text;
}

/* Hold OpenMP's team of the calling thread to one; returns what it was. */
static int one_thread(void)
{
#if DNNL_CPU_THREADING_RUNTIME == DNNL_RUNTIME_OMP
    int before = omp_get_max_threads();
    omp_set_num_threads(1);
    return before;
#else
    return 1;
#endif
}
static void restore_threads(int before)
{
#if DNNL_CPU_THREADING_RUNTIME == DNNL_RUNTIME_OMP
    omp_set_num_threads(before);
#else
    (void)before;
#endif
}

vlmk_cpu_products *vlmk_cpu_products_create(int n_workers)
{
    vlmk_cpu_products *products = calloc(1, sizeof *products);
    if (!products) return NULL;
    products->n_workers = n_workers;
    products->stream = calloc((size_t)n_workers, sizeof *products->stream);
    products->pad = calloc((size_t)n_workers, sizeof *products->pad);
    if (!products->stream || !products->pad ||
        dnnl_engine_create(&products->engine, dnnl_cpu, 0) != dnnl_success) {
        vlmk_cpu_products_destroy(products);
        return NULL;
    }
    for (int w = 0; w < n_workers; w++)
        if (dnnl_stream_create(&products->stream[w], products->engine, dnnl_stream_default_flags) !=
            dnnl_success) {
            vlmk_cpu_products_destroy(products);
            return NULL;
        }
    return products;
}

static void mm_destroy(vlmk_cpu_mm *mm)
{
    for (int w = 0; mm->worker && w < mm->owner->n_workers; w++)
        for (int i = 0; i < N_OPERANDS; i++)
            if (mm->worker[w].memory[i]) dnnl_memory_destroy(mm->worker[w].memory[i]);
    free(mm->worker);
    if (mm->primitive) dnnl_primitive_destroy(mm->primitive);
    if (mm->desc) dnnl_primitive_desc_destroy(mm->desc);
    free(mm);
}

void vlmk_cpu_products_destroy(vlmk_cpu_products *products)
{
    if (!products) return;
    for (int b = 0; b < N_BUCKETS; b++)
        while (products->bucket[b]) {
            vlmk_cpu_mm *mm = products->bucket[b];
            products->bucket[b] = mm->next;
            mm_destroy(mm);
        }
    for (int w = 0; w < products->n_workers; w++) {
        if (products->pad) free(products->pad[w]);
        if (products->stream && products->stream[w]) dnnl_stream_destroy(products->stream[w]);
    }
    if (products->engine) dnnl_engine_destroy(products->engine);
    free(products->pad);
    free(products->stream);
    free(products);
}

static dnnl_status_t matmul_desc(dnnl_primitive_desc_t *out, dnnl_engine_t engine,
                                 const vlmk_cpu_mm_shape *s, dnnl_format_tag_t b_tag,
                                 dnnl_primitive_attr_t attr)
{
    dnnl_data_type_t type = s->dtype == VLMOE_BF16 ? dnnl_bf16 : dnnl_f32;
    dnnl_dims_t a_dims = {s->m, s->k}, b_dims = {s->k, s->n}, c_dims = {s->m, s->n};
#if DNNL_VERSION_MAJOR >= 3
    layout a = NULL, b = NULL, c = NULL;
    dnnl_status_t status = dnnl_memory_desc_create_with_tag(&a, 2, a_dims, type, dnnl_ab);
    if (!status) status = dnnl_memory_desc_create_with_tag(&b, 2, b_dims, type, b_tag);
    if (!status) status = dnnl_memory_desc_create_with_tag(&c, 2, c_dims, dnnl_f32, dnnl_ab);
    if (!status) status = dnnl_matmul_primitive_desc_create(out, engine, a, b, NULL, c, attr);
    if (a) dnnl_memory_desc_destroy(a);
    if (b) dnnl_memory_desc_destroy(b);
    if (c) dnnl_memory_desc_destroy(c);
    return status;
#else
    layout a, b, c;
    dnnl_matmul_desc_t op;
    dnnl_status_t status = dnnl_memory_desc_init_by_tag(&a, 2, a_dims, type, dnnl_ab);
    if (!status) status = dnnl_memory_desc_init_by_tag(&b, 2, b_dims, type, b_tag);
    if (!status) status = dnnl_memory_desc_init_by_tag(&c, 2, c_dims, dnnl_f32, dnnl_ab);
    if (!status) status = dnnl_matmul_desc_init(&op, &a, &b, NULL, &c);
    if (!status) status = dnnl_primitive_desc_create(out, &op, attr, engine, NULL);
    return status;
#endif
}

static dnnl_status_t attributes(int add, dnnl_primitive_attr_t *out)
{
    dnnl_post_ops_t ops = NULL;
    dnnl_status_t status = dnnl_primitive_attr_create(out);
    if (!status) status = dnnl_primitive_attr_set_scratchpad_mode(*out, dnnl_scratchpad_mode_user);
    if (!status && add) {
        status = dnnl_post_ops_create(&ops);
#if DNNL_VERSION_MAJOR >= 3
        if (!status) status = dnnl_post_ops_append_sum(ops, 1.0f, 0, dnnl_data_type_undef);
#else
        if (!status) status = dnnl_post_ops_append_sum(ops, 1.0f);
#endif
        if (!status) status = dnnl_primitive_attr_set_post_ops(*out, ops);
        if (ops) dnnl_post_ops_destroy(ops);
    }
    return status;
}

static layout_view layout_of(const vlmk_cpu_mm *mm, int operand)
{
    static const dnnl_query_t query[N_OPERANDS] = {dnnl_query_src_md, dnnl_query_weights_md,
                                                   dnnl_query_dst_md, dnnl_query_scratchpad_md};
    return dnnl_primitive_desc_query_md(mm->desc, query[operand], 0);
}

/* Try one layout of b. A reference implementation is good enough for f32 in plain layout (where
 * nothing else exists), else not. */
static int try_layout(vlmk_cpu_mm *mm, dnnl_format_tag_t tag, int64_t block, int reference_allowed)
{
    dnnl_primitive_attr_t attr = NULL;
    dnnl_status_t status = attributes(mm->shape.add, &attr);
    if (!status) status = matmul_desc(&mm->desc, mm->owner->engine, &mm->shape, tag, attr);
    if (attr) dnnl_primitive_attr_destroy(attr);
    if (status) {
        mm->desc = NULL;
        return 0;
    }
    mm->impl = "";
    (void)dnnl_primitive_desc_query(mm->desc, dnnl_query_impl_info_str, 0, &mm->impl);
    if (!reference_allowed && strstr(mm->impl, "ref")) {
        dnnl_primitive_desc_destroy(mm->desc);
        mm->desc = NULL;
        return 0;
    }
    mm->block = block;
    return 1;
}

static int choose_layout(vlmk_cpu_mm *mm)
{
    if (mm->shape.dtype == VLMOE_BF16) return try_layout(mm, dnnl_BA16a64b2a, BLOCK_COLUMNS, 0);
    return try_layout(mm, dnnl_BA16a64b, BLOCK_COLUMNS, 0) ||
           try_layout(mm, dnnl_ab, mm->shape.n, 1);
}

/* Scratchpads grow here, on the main thread, while no worker runs. */
static int grow_pads(vlmk_cpu_products *products, size_t bytes)
{
    if (bytes <= products->pad_bytes) return 1;
    size_t size = (size_t)vlmk_cpu_round_up((int64_t)bytes, 4096);
    for (int w = 0; w < products->n_workers; w++) {
        void *pad = aligned_alloc(4096, size);
        if (!pad) return 0; /* the others are larger than they need be, no harm */
        free(products->pad[w]);
        products->pad[w] = pad;
    }
    products->pad_bytes = size;
    return 1;
}

static int make_operands(vlmk_cpu_mm *mm)
{
    for (int w = 0; w < mm->owner->n_workers; w++)
        for (int i = 0; i < N_OPERANDS; i++)
            if (dnnl_memory_create(&mm->worker[w].memory[i], layout_of(mm, i), mm->owner->engine,
                                   DNNL_MEMORY_NONE) != dnnl_success)
                return 0;
    return 1;
}

static vlmk_cpu_mm *mm_create(vlmk_cpu_products *products, vlmk_cpu_mm_shape shape)
{
    vlmk_cpu_mm *mm = calloc(1, sizeof *mm);
    if (!mm) return NULL;
    mm->shape = shape;
    mm->owner = products;
    mm->worker = calloc((size_t)products->n_workers, sizeof *mm->worker);
    mm->impl = "";
    mm->block = BLOCK_COLUMNS;
    if (products->is_dry && mm->worker) return mm;
    int threads = one_thread();
    int made = mm->worker && choose_layout(mm) &&
               dnnl_primitive_create(&mm->primitive, mm->desc) == dnnl_success;
    restore_threads(threads);
    if (made) mm->pad_bytes = dnnl_memory_desc_get_size(layout_of(mm, 3));
    if (made && make_operands(mm) && grow_pads(products, mm->pad_bytes)) return mm;
    mm_destroy(mm);
    return NULL;
}

static uint64_t shape_hash(const vlmk_cpu_mm_shape *s)
{
    uint64_t h = (uint64_t)s->m;
    h = h * 0x9E3779B97F4A7C15u + (uint64_t)s->n;
    h = h * 0x9E3779B97F4A7C15u + (uint64_t)s->k;
    h = h * 0x9E3779B97F4A7C15u + (uint64_t)(s->dtype * 2 + s->add);
    return (h ^ (h >> 32)) % N_BUCKETS;
}

static int shape_equal(const vlmk_cpu_mm_shape *x, const vlmk_cpu_mm_shape *y)
{
    return x->m == y->m && x->n == y->n && x->k == y->k && x->dtype == y->dtype && x->add == y->add;
}

vlmk_cpu_mm *vlmk_cpu_products_get(vlmk_cpu_products *products, vlmk_cpu_mm_shape shape)
{
    vlmk_cpu_mm **bucket = &products->bucket[shape_hash(&shape)];
    for (vlmk_cpu_mm *mm = *bucket; mm; mm = mm->next)
        if (shape_equal(&mm->shape, &shape)) return mm;
    vlmk_cpu_mm *mm = mm_create(products, shape);
    if (!mm) return NULL;
    products->n_made++;
    mm->next = *bucket;
    *bucket = mm;
    return mm;
}

void vlmk_cpu_products_dry(vlmk_cpu_products *products)
{
    products->is_dry = 1;
}

int64_t vlmk_cpu_products_count(const vlmk_cpu_products *products)
{
    return products->n_made;
}

int64_t vlmk_cpu_mm_block(const vlmk_cpu_mm *mm)
{
    return mm->block;
}

const char *vlmk_cpu_mm_impl(const vlmk_cpu_mm *mm)
{
    return mm->impl;
}

/* n and k are multiples of the blocks, so b has no padding for oneDNN to clear when a handle is
 * set. */
static dnnl_status_t point(vlmk_cpu_mm *mm, int worker, int operand, const void *data)
{
    union {
        const void *in;
        void *out;
    } handle = {.in = data}; /* oneDNN takes inputs without const and does not write them */
    return dnnl_memory_set_data_handle(mm->worker[worker].memory[operand], handle.out);
}

int vlmk_cpu_mm_run(vlmk_cpu_mm *mm, int worker, const void *a, const void *b, float *c)
{
    int threads = one_thread();
    dnnl_status_t status = point(mm, worker, 0, a);
    if (!status) status = point(mm, worker, 1, b);
    if (!status) status = point(mm, worker, 2, c);
    if (!status) status = point(mm, worker, 3, mm->owner->pad[worker]);
    const dnnl_memory_t *memory = mm->worker[worker].memory;
    const dnnl_exec_arg_t args[N_OPERANDS] = {{DNNL_ARG_SRC, memory[0]},
                                              {DNNL_ARG_WEIGHTS, memory[1]},
                                              {DNNL_ARG_DST, memory[2]},
                                              {DNNL_ARG_SCRATCHPAD, memory[3]}};
    if (!status)
        status = dnnl_primitive_execute(mm->primitive, mm->owner->stream[worker], N_OPERANDS, args);
    restore_threads(threads);
    return status == dnnl_success         ? VLMOE_OK
           : status == dnnl_out_of_memory ? VLMOE_E_NOMEM
                                          : VLMOE_E_INTERNAL;
}

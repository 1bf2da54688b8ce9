/* Pictures from shards to normalised f32 patch rows, for scripts/bench/loader.py: the whole path as training takes it, its
 * stages one by one, and libjpeg alone.
 *
 * usage: bench_loader CONFIG.json        commands, one a line: "ours N" (groups), "stages N", "decode N", "bare N" (pictures)
 * Each answer is a line of JSON with the pictures done and the processor's seconds that they took, of all threads. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "config.h"
#include "cpu.h"
#include "data_source.h"
#ifdef BENCH_HAS_JPEG
#include <jpeglib.h>
#endif

enum { STAGES = 5 };
static const char *const stage_names[STAGES] = {"read", "decode", "crop_resize_flip", "colour",
                                                "normalise"};

typedef struct bench {
    vlmoe_config *config;
    vlm_source *source;
    vlmk_cpu_state *state;
    vlmk_env env;
    const vlmk_table *kernels;
    float *rows;              /* [P, 3 patch patch] of a group */
    vlm_workspace *workspace; /* the source's, for its caller */
    uint8_t *pixels;          /* of one picture */
    int64_t next;             /* sample */
    vlmoe_error error;
} bench;

static double cpu_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void give_up(const bench *b, const char *what)
{
    fprintf(stderr, "bench_loader: %s: %s\n", what, b->error.text);
    exit(1);
}

/* u8 pictures to rows as the first layer reads them; the means are those of data.mean or any: the work is the same. */
static void normalise(bench *b, int64_t n, const uint8_t *pixels)
{
    const int64_t size = b->source->image_size;
    vlmk_patchify_args args = {.out_dtype = VLMOE_F32,
                               .B = n,
                               .height = size,
                               .width = size,
                               .patch = b->config->model.patch,
                               .pixels = pixels,
                               .mean = {0.485, 0.456, 0.406},
                               .deviation = {0.229, 0.224, 0.225},
                               .out = b->rows};
    if (b->kernels->patchify(&b->env, &args)) give_up(b, "patchify");
    vlmk_cpu_call_done(&b->env);
}

/* Groups are made ahead; wait until they are, so that a measurement holds exactly its own groups. */
static void settle(void)
{
    const struct timespec pause = {0, 50000000};
    for (double before = -1.0; cpu_now() - before > 0.002;) {
        before = cpu_now();
        nanosleep(&pause, NULL);
    }
}

static int64_t run_ours(bench *b, int64_t n)
{
    int64_t pictures = 0;
    for (int64_t i = 0; i < n; i++) {
        const vlm_group *group = NULL;
        if (vlm_source_next(b->source, &group, &b->error)) give_up(b, "next");
        normalise(b, group->n_images + group->n_pairs, group->pixels);
        pictures += group->n_images + group->n_pairs;
    }
    settle();
    return pictures;
}

static void next_sample(bench *b, vlm_sample *out)
{
    const vlm_sets *sets = &b->source->sets[VLM_PAIRS];
    uint64_t key = vlm_rng_key(1, VLM_STREAM_TEST, (uint64_t)(b->next / sets->samples), 0, 0);
    uint64_t at =
        vlm_rng_permute(key, (uint64_t)sets->samples, (uint64_t)(b->next % sets->samples));
    b->next++;
    if (vlm_sets_get(sets, (int64_t)at, out, &b->error)) give_up(b, "get");
}

static int64_t run_decode(bench *b, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        vlm_sample sample;
        vlm_picture picture;
        vlm_image image;
        next_sample(b, &sample);
        const vlm_picture_file file = {.file = sample.image};
        if (vlm_picture_open(b->source, &file, b->workspace, &picture, &b->error) ||
            vlm_picture_read(b->source, &picture, NULL, &image, &b->error))
            give_up(b, "decode");
    }
    return n;
}

/* One picture; seconds of each stage are added to spent. */
static void run_stage(bench *b, double *spent)
{
    const int64_t size = b->source->image_size;
    const vlm_augment *augment = &b->source->augment;
    vlm_rng rng = vlm_rng_at(2, VLM_STREAM_TEST, (uint64_t)b->next, 0, 0);
    vlm_sample sample;
    vlm_picture picture;
    vlm_image image;
    double at[STAGES + 1] = {cpu_now()};
    next_sample(b, &sample);
    at[1] = cpu_now();
    const vlm_picture_file file = {.file = sample.image};
    if (vlm_picture_open(b->source, &file, b->workspace, &picture, &b->error)) give_up(b, "decode");
    const vlm_box box = vlm_augment_box(augment, picture.size.width, picture.size.height, &rng);
    const vlm_box part = vlm_image_resize_reads(picture.size, box, (vlm_size){size, size});
    if (vlm_picture_read(b->source, &picture, &part, &image, &b->error)) give_up(b, "decode");
    at[2] = cpu_now();
    const vlm_image out = {size, size, b->pixels};
    if (vlm_image_resize(&image, box, &out, b->workspace, &b->error)) give_up(b, "resize");
    if (vlm_rng_unit(&rng) < augment->mirror) vlm_image_mirror(b->pixels, size, size);
    at[3] = cpu_now();
    vlm_augment_colour(augment, b->pixels, size * size, &rng);
    at[4] = cpu_now();
    normalise(b, 1, b->pixels);
    at[5] = cpu_now();
    for (int i = 0; i < STAGES; i++) spent[i] += at[i + 1] - at[i];
}

static int64_t run_stages(bench *b, int64_t n)
{
    double spent[STAGES] = {0};
    for (int64_t i = 0; i < n; i++) run_stage(b, spent);
    printf("{\"stages\": {");
    for (int i = 0; i < STAGES; i++)
        printf("%s\"%s\": %.9f", i ? ", " : "", stage_names[i], spent[i] / (double)n);
    printf("}, ");
    return n;
}

#ifdef BENCH_HAS_JPEG
/* The ceiling: libjpeg decodes to RGB rows and nothing else is done. */
static int64_t run_bare(bench *b, int64_t n)
{
    struct jpeg_decompress_struct info;
    struct jpeg_error_mgr errors;
    uint8_t *row = malloc(VLM_IMAGE_SIDE_MAX * 4);
    info.err = jpeg_std_error(&errors);
    jpeg_create_decompress(&info);
    for (int64_t i = 0; i < n; i++) {
        vlm_sample sample;
        next_sample(b, &sample);
        if (vlm_image_sniff(sample.image.data, sample.image.bytes) != VLM_IMAGE_JPEG) {
            n = 0; /* nothing to compare with */
            break;
        }
        jpeg_mem_src(&info, sample.image.data, sample.image.bytes);
        jpeg_read_header(&info, TRUE);
        jpeg_start_decompress(&info);
        while (info.output_scanline < info.output_height) jpeg_read_scanlines(&info, &row, 1);
        jpeg_finish_decompress(&info);
    }
    jpeg_destroy_decompress(&info);
    free(row);
    return n;
}
#else
static int64_t run_bare(bench *b, int64_t n)
{
    (void)b, (void)n;
    return 0;
}
#endif

static void open_bench(bench *b, const char *path)
{
    if (vlmoe_config_load(path, 0, NULL, &b->config, &b->error)) give_up(b, path);
    if (vlm_source_open(b->config, VLM_SOURCE_TRAIN, NULL, NULL, &b->source, &b->error))
        give_up(b, path);
    const vlm_cfg_data *data = &b->config->data;
    const int64_t bytes = b->source->image_size * b->source->image_size * 3;
    b->workspace = b->source->workspaces[b->source->n_workers];
    b->kernels = vlmk_cpu_select(NULL);
    b->state = vlmk_cpu_state_create(1);
    b->rows = malloc((size_t)((data->images_per_group + data->pairs_per_group) * bytes) *
                     sizeof *b->rows);
    b->pixels = malloc((size_t)bytes);
    if (!b->state || !b->rows || !b->pixels) give_up(b, "no memory");
    vlmk_cpu_env_init(&b->env, b->state, NULL, 1, NULL);
}

int main(int n_args, char **args)
{
    static const struct {
        const char *name;
        int64_t (*run)(bench *, int64_t);
    } commands[] = {
        {"ours", run_ours}, {"stages", run_stages}, {"decode", run_decode}, {"bare", run_bare}};
    bench b = {0};
    char name[16];
    long long n = 0;
    if (n_args != 2) return fprintf(stderr, "usage: bench_loader CONFIG.json\n"), 2;
    open_bench(&b, args[1]);
    settle();
    while (scanf("%15s %lld", name, &n) == 2) {
        for (int i = 0; i < VLM_COUNT(commands); i++) {
            if (strcmp(name, commands[i].name)) continue;
            double cpu = cpu_now();
            int64_t pictures = commands[i].run(&b, n);
            printf("%s\"pictures\": %lld, \"cpu\": %.6f}\n", i == 1 ? "" : "{", (long long)pictures,
                   cpu_now() - cpu);
            fflush(stdout);
        }
    }
    vlm_source_close(b.source);
    vlmoe_config_destroy(b.config);
    vlmk_cpu_state_destroy(b.state);
    free(b.rows);
    free(b.pixels);
    return 0;
}

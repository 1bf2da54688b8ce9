/* Comparing a device's kernels with the reference. A case makes its tensors in a kit, says how its
 * arguments look for a side, and kit_run calls reference and devices and checks every output
 * element against 4 (u_out |want| + terms u_acc size + error) + smallest normal f32, u the unit
 * roundoff of the output's type and of f32, size the sum of the absolute terms of a sum, error what
 * a case derives itself. The last term is gradual or flushed underflow. Each call is repeated with
 * 2 and 3 workers and must give the same bits. */
#ifndef TEST_COMPARE_H
#define TEST_COMPARE_H

#include "harness.h"
#include "ref.h"

#define COUNT_OF(array) ((int)(sizeof(array) / sizeof((array)[0])))
#define U_F32           0x1p-24

/* Whose numbers: the device's, the same widened to f64 for the reference, their absolute values. */
enum { GOT, WANT, SIZE, N_SIDES };

typedef struct tensor {
    const char *name;
    int64_t n;
    int dtype; /* on the device */
    int is_output, is_exact;
    double terms;          /* of each sum that makes an element */
    double *error;         /* [n] or NULL */
    void *data[N_SIDES];   /* [n] dtype, then f64 twice (integers: dtype on all sides) */
    unsigned char *before; /* the device's bytes before a call */
    unsigned char *after;  /* and after it, with one worker */
} tensor;

enum { KIT_TENSORS = 24 };
typedef struct kit {
    char label[200]; /* of the case, for messages */
    int n;
    int uses_size; /* run the reference on absolute values too */
    double flops;  /* counted by the reference; NAN = the device's count is not compared */
    tensor tensor[KIT_TENSORS];
} kit;

void kit_begin(kit *k, const char *format, ...) __attribute__((format(printf, 2, 3)));
void kit_end(kit *k);

/* Inputs: reals in [-scale, scale); whole numbers in [-limit, limit]; integers given. dtype is the
 * device's. */
tensor *kit_real(kit *k, const char *name, int64_t n, int dtype, double scale);
tensor *kit_whole(kit *k, const char *name, int64_t n, int dtype, int limit);
tensor *kit_ints(kit *k, const char *name, int64_t n, const int32_t *value);
/* Outputs, checked after the call. NaN before it, so that a read or an untouched element shows. */
tensor *kit_output(kit *k, const char *name, int64_t n, int dtype, double terms);
tensor *kit_int_output(kit *k, const char *name, int64_t n);
/* Make an input an output too: for accumulation, and for results written in place. */
tensor *kit_updated(tensor *t, double terms);
void kit_set(tensor *t, int64_t i, double value); /* on all sides, rounded to dtype */
double kit_get(const tensor *t, int side, int64_t i);
double kit_before(const tensor *t, int64_t i); /* an updated tensor's element before the call */
double *kit_error(tensor *t);                  /* t->error, zeroed at first */

void *at(const tensor *t, int side); /* NULL for a NULL tensor */
int type_at(const tensor *t, int side);

typedef int (*kit_call)(const vlmk_table *table, vlmk_env *env, void *arg, int side);
typedef void (*kit_bound)(void *arg); /* fills errors from the reference's numbers; NULL = none */
void kit_run(kit *k, kit_call call, kit_bound bound, void *arg);

/* The devices of this machine, each with its environments for 1, 2 and 3 workers. */
enum { WORKER_COUNTS = 3 };
int device_count(void);
const char *device_name(int device);
const vlmk_table *device_table(int device);
vlmk_env *device_env(int device, int n_workers);
void device_done(vlmk_env *env); /* after each call */
double device_flops(void);       /* of all devices since the last call of it */

#endif

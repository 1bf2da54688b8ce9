/* Steps on ranks against the same steps on one. */
#include "train_verify.h"
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include "train_digest.h"
#include "train_group.h"
#include "train_params.h"
#include "train_plan.h"

typedef struct verify {
    const vlmoe_config *config;
    const vlmoe_trainer_params *trainer;
    const vlm_verify_params *params;
    vlm_seat *seat;
    int64_t steps; /* that are compared */
    vlm_digest *
        digest; /* [1 + steps] of the layout: what it began from, then after each step; rank 0 alone */
    int64_t n_tensors;
    vlm_text found; /* what differs; empty = nothing */
} verify;

static void say(const verify *v, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void say(const verify *v, const char *format, ...)
{
    char line[512];
    va_list args;
    if (!v->params->say || v->seat->rank) return;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    v->params->say(v->params->user, line);
}

static double mib(size_t bytes)
{
    return (double)bytes / 1048576.0;
}

/* ---- steps of either side ---- */

static vlmoe_status go_on(const verify *v, vlmoe_trainer *t, vlmoe_error *error)
{
    const vlm_verify_params *p = v->params;
    if (!p->from) return VLMOE_OK;
    vlmoe_status st = vlmoe_trainer_resume(t, p->from, p->n_force, p->force);
    return st ? vlm_fail(error, st, "%s", vlmoe_trainer_error(t)) : VLMOE_OK;
}

typedef struct step_result {
    vlmoe_step_report report;
    vlm_digest digest;
} step_result;

static vlmoe_status one_step(vlmoe_trainer *t, step_result *out, vlmoe_error *error)
{
    vlm_tally tally = {0};
    out->report = (vlmoe_step_report){.struct_size = sizeof out->report};
    vlmoe_status st = vlm_trainer_step(t, &out->report, &tally);
    if (st) vlm_fail(error, st, "%s", vlmoe_trainer_error(t));
    else st = vlm_digest_take(t, &out->report, &tally, &out->digest, error);
    vlm_tally_free(&tally);
    return st;
}

/* ---- on ranks ---- */

/* Rank 0 will hold the whole model: known before any step. */
static vlmoe_status plan_alone(const verify *v, const vlmoe_trainer *t, vlmoe_error *error)
{
    vlm_plan plan = {0};
    vlmoe_error why = {VLMOE_OK, ""};
    vlmoe_config c = *t->config; /* lists and texts stay the trainer's */
    if (v->seat->rank) return VLMOE_OK;
    c.run.ranks = 1;
    vlmoe_status st =
        vlm_plan_make(&c, t->spm ? vlm_spm_special(t->spm).n : c.model.words, &plan, &why);
    if (st)
        return vlm_fail(error, st, "rank 0 runs the whole model alone to verify ranks: %.400s",
                        why.text);
    say(v,
        "%d ranks against one: rank 0 alone will hold %.0f MiB (parameters and copies %.0f, "
        "gradients %.0f, moments %.0f, activations of one group %.0f)",
        v->seat->size, mib(plan.total_bytes), mib(plan.master_bytes + plan.copy_bytes),
        mib(plan.grad_bytes), mib(plan.moment_bytes), mib(plan.step_bytes));
    return VLMOE_OK;
}

static vlmoe_status make_room(verify *v, const vlmoe_trainer *t, vlmoe_error *error)
{
    const int64_t left = t->config->run.steps - t->step;
    v->steps = VLM_MIN(v->params->steps, left);
    if (v->steps < 1)
        return vlm_fail(error, VLMOE_E_STATE,
                        "all %lld steps of this run are done: none is left "
                        "to verify",
                        (long long)t->step);
    v->digest = vlm_alloc_array((size_t)v->steps + 1, sizeof *v->digest);
    return v->digest ? VLMOE_OK : vlm_fail(error, VLMOE_E_NOMEM, "out of memory for digests");
}

/* All ranks have gathered a digest; one of them keeps it. */
static void keep(verify *v, int64_t i, vlm_digest *digest)
{
    if (v->seat->rank) vlm_digest_free(digest);
    else v->digest[i] = *digest;
}

static vlmoe_status ranks_steps(verify *v, vlmoe_trainer *t, vlmoe_error *error)
{
    step_result r = {0};
    VLM_TRY(vlm_digest_take(t, NULL, NULL, &r.digest, error));
    keep(v, 0, &r.digest);
    for (int64_t i = 1; i <= v->steps; i++) {
        VLM_TRY(one_step(t, &r, error));
        keep(v, i, &r.digest);
        say(v, "step %lld on %d ranks: loss %.6g, norm %.6g, %.1f s", (long long)t->step,
            v->seat->size, r.report.loss, r.report.grad_norm, r.report.seconds);
    }
    return VLMOE_OK;
}

static vlmoe_status compare_beginnings(const verify *v, const vlmoe_trainer *t, vlmoe_error *error)
{
    vlm_text facts = {0};
    vlm_facts_put(&facts, "the step that --verify begins from", "%lld", (long long)t->step);
    vlmoe_status st = vlm_facts_compare(v->seat, "where ranks go on from", &facts, error);
    vlm_text_free(&facts);
    return st;
}

static vlmoe_status on_ranks(verify *v, vlmoe_error *error)
{
    vlmoe_trainer *t = NULL;
    VLM_TRY(vlm_trainer_create(v->config, v->trainer, v->seat, v->params->from, &t, error));
    vlmoe_status st = go_on(v, t, error);
    if (!st) st = make_room(v, t, error);
    if (!st) st = plan_alone(v, t, error);
    st = vlm_ranks_agree(v->seat, "beginning of a verification", st, error);
    if (!st) st = compare_beginnings(v, t, error);
    if (!st) st = ranks_steps(v, t, error);
    vlmoe_trainer_destroy(t);
    return st;
}

/* ---- on rank 0 alone ---- */

typedef struct alone {
    verify *v;
    atomic_bool must_stop; /* nobody waits for it any more */
    pthread_mutex_t lock;
    pthread_cond_t ended;
    bool has_ended;
    vlmoe_error error;
} alone;

static vlmoe_status count_tensor(void *arg, const vlm_file_tensor *tensor)
{
    int64_t *n = arg;
    (void)tensor;
    (*n)++;
    return VLMOE_OK;
}

static vlmoe_status compare(verify *v, const vlmoe_trainer *t, int64_t i, vlm_digest *digest,
                            vlmoe_error *error)
{
    vlmoe_status st = vlm_digest_compare(t, &v->digest[i], digest, &v->found, error);
    vlm_digest_free(digest);
    if (!st && v->found.failed) st = vlm_fail(error, VLMOE_E_NOMEM, "out of memory for a text");
    return st;
}

static vlmoe_status alone_steps(alone *a, vlmoe_trainer *t)
{
    verify *v = a->v;
    step_result r = {0};
    VLM_TRY(go_on(v, t, &a->error));
    VLM_TRY(vlm_file_tensors_walk(t->ctx, false, count_tensor, &v->n_tensors, &a->error));
    VLM_TRY(vlm_digest_take(t, NULL, NULL, &r.digest, &a->error));
    VLM_TRY(compare(v, t, 0, &r.digest, &a->error));
    for (int64_t i = 1; i <= v->steps && !v->found.bytes && !a->must_stop; i++) {
        VLM_TRY(one_step(t, &r, &a->error));
        VLM_TRY(compare(v, t, i, &r.digest, &a->error));
        say(v, "step %lld on one rank: %s, %.1f s", (long long)t->step,
            v->found.bytes ? "differs" : "equal", r.report.seconds);
    }
    return VLMOE_OK;
}

static void *run_alone(void *arg)
{
    alone *a = arg;
    vlmoe_trainer *t = NULL;
    vlmoe_config c = *a->v->config; /* lists and texts stay the caller's */
    c.run.ranks = 1;
    vlmoe_status st =
        vlm_trainer_create(&c, a->v->trainer, NULL, a->v->params->from, &t, &a->error);
    if (!st) st = alone_steps(a, t);
    vlmoe_trainer_destroy(t);
    a->error.status = st;
    pthread_mutex_lock(&a->lock);
    a->has_ended = true;
    pthread_cond_signal(&a->ended);
    pthread_mutex_unlock(&a->lock);
    return NULL;
}

/* Waits a while for its end; returns whether it came. */
static bool await_end(alone *a, double seconds)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    const int64_t at = until.tv_nsec + (int64_t)(seconds * 1e9);
    until.tv_sec += (time_t)(at / 1000000000);
    until.tv_nsec = (long)(at % 1000000000);
    pthread_mutex_lock(&a->lock);
    for (int rc = 0; !a->has_ended && !rc;)
        rc = pthread_cond_timedwait(&a->ended, &a->lock, &until);
    const bool has_ended = a->has_ended;
    pthread_mutex_unlock(&a->lock);
    return has_ended;
}

/* Whoever waits for rank 0 hears from it well within the deadline, and it learns when one of them is gone. a: of rank 0, else NULL. */
static vlmoe_status keep_company(const verify *v, alone *a, vlmoe_error *error)
{
    const double deadline = (double)v->config->run.deadline;
    const double period = deadline > 0.0 ? VLM_MIN(deadline / 4.0, 1.0) : 1.0;
    bool *has_ended = vlm_alloc_array((size_t)v->seat->size, sizeof *has_ended);
    vlmoe_status st =
        has_ended ? VLMOE_OK : vlm_fail(error, VLMOE_E_NOMEM, "out of memory for ranks");
    while (!st && !has_ended[0]) {
        const bool mine = a && await_end(a, period);
        st = vlm_comm_share(v->seat->world, "verification: steps of rank 0 alone", &mine,
                            sizeof mine, has_ended, error);
    }
    vlm_free(has_ended);
    return st;
}

static vlmoe_status on_one(verify *v, vlmoe_error *error)
{
    pthread_t thread;
    alone a = {.v = v, .lock = PTHREAD_MUTEX_INITIALIZER, .ended = PTHREAD_COND_INITIALIZER};
    if (v->seat->rank) {
        VLM_TRY(keep_company(v, NULL, error));
        return vlm_ranks_agree(v->seat, "verification: end of rank 0 alone", VLMOE_OK, error);
    }
    if (pthread_create(&thread, NULL, run_alone, &a))
        return vlm_fail(error, VLMOE_E_NOMEM, "the system refuses a thread");
    vlmoe_status st = keep_company(v, &a, error);
    a.must_stop = st != VLMOE_OK;
    pthread_join(thread, NULL);
    if (st) return st;
    if (a.error.status) vlm_fail(error, a.error.status, "on one rank: %.480s", a.error.text);
    return vlm_ranks_agree(v->seat, "verification: end of rank 0 alone", a.error.status, error);
}

/* ---- the verdict ---- */

static void put_verdict(const verify *v, vlm_verify_result *out)
{
    out->differs = v->found.bytes > 0;
    if (out->differs) snprintf(out->text, sizeof out->text, "%s", v->found.data);
    else
        snprintf(out->text, sizeof out->text,
                 "layout of %d ranks equals one rank over %lld step%s: losses, drops, gradient "
                 "norm, %lld tensors and their moments",
                 v->seat->size, (long long)v->steps, v->steps == 1 ? "" : "s",
                 (long long)v->n_tensors);
}

vlmoe_status vlm_verify(const vlmoe_config *config, const vlmoe_trainer_params *trainer,
                        vlm_seat *seat, const vlm_verify_params *params, vlm_verify_result *out,
                        vlmoe_error *error)
{
    verify v = {.config = config, .trainer = trainer, .params = params, .seat = seat};
    vlm_verify_result result = {0};
    vlmoe_status st = on_ranks(&v, error);
    if (!st) st = on_one(&v, error);
    if (!st) {
        if (!seat->rank) put_verdict(&v, &result);
        st = vlm_comm_broadcast(seat->world, "verdict of a verification", 0, true, &result,
                                sizeof result, error);
    }
    for (int64_t i = 0; v.digest && i <= v.steps; i++) vlm_digest_free(&v.digest[i]);
    vlm_free(v.digest);
    vlm_text_free(&v.found);
    if (!st) *out = result;
    return st;
}

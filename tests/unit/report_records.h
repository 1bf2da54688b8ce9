/* Records of a run from text, for the tests of its page. */
#ifndef REPORT_RECORDS_H
#define REPORT_RECORDS_H

#include <string.h>
#include "base_file.h"
#include "harness.h"
#include "report_metrics.h"

/* lines as metrics.jsonl has them; free_metrics gives it back */
static inline vlm_metrics *read_metrics(const char *lines)
{
    char *path = vlm_path_join(test_tmp_dir(), "metrics.jsonl");
    vlm_metrics *m = vlm_alloc(sizeof *m);
    CHECK_STATUS(vlm_file_replace(path, lines, strlen(lines), NULL), VLMOE_OK);
    CHECK_STATUS(vlm_metrics_read(path, m, NULL), VLMOE_OK);
    vlm_free(path);
    return m;
}

static inline void free_metrics(vlm_metrics *m)
{
    vlm_metrics_free(m);
    vlm_free(m);
}

#endif

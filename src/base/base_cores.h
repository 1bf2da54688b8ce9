/* The part of counting cores that can be tested without a control group. */
#ifndef VLM_BASE_CORES_H
#define VLM_BASE_CORES_H

/* Cores allowed by the text of a cpu.max file ("QUOTA PERIOD" or "max PERIOD"), at most cores;
 * rounded up, so at least 1. */
int vlm_cores_from_quota(const char *text, int cores);

#endif

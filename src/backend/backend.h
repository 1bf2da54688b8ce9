/* A device: memory, copies, order, and a table of kernels. Every copy and launch takes effect on the device's queue and may return
 * before it is done; failures of such work surface at sync. Neither this nor the kernels know a tensor's history. */
#ifndef VLM_BACKEND_H
#define VLM_BACKEND_H

#include "base.h"
#include "vlmk.h"

typedef struct vlm_device vlm_device; /* one open device; defined by its backend */

enum { VLM_BACKEND_ABI = 1 };
typedef enum vlm_memory_kind { VLM_MEMORY_DEVICE = 0, VLM_MEMORY_PINNED = 1 } vlm_memory_kind;

typedef struct vlm_device_params {
    int index;
    int n_threads; /* CPU workers; 0 = the cores this process may use */
    const vlm_log *log;
} vlm_device_params;

/* What a device must do for the rest of the library. Every entry is required; meta answers without data. */
typedef struct vlm_backend {
    uint32_t abi;     /* VLM_BACKEND_ABI */
    const char *name; /* "cpu" */
    bool has_data;    /* false on meta: addresses are fake, copies do nothing, downloads are UNSUPPORTED */
    bool is_host;     /* its memory is the host's, and work is done when a call returns: the host may read and write it */
    vlmoe_dtype wide; /* F32; F64 on ref */
    vlmoe_status (*open)(const vlm_device_params *params, vlm_device **out, vlmoe_error *error);
    void (*close)(vlm_device *dev);
    /* 256-byte aligned, zeroed. Large blocks are reserved lazily where the system can. */
    vlmoe_status (*alloc)(vlm_device *dev, vlm_memory_kind kind, size_t bytes, void **out, vlmoe_error *error);
    void (*release)(vlm_device *dev, void *ptr);
    vlmoe_status (*upload)(vlm_device *dev, void *dst, const void *host, size_t bytes);
    vlmoe_status (*download)(vlm_device *dev, void *host, const void *src, size_t bytes); /* waits */
    vlmoe_status (*copy)(vlm_device *dev, void *dst, const void *src, size_t bytes);      /* on the device; may overlap (memmove) */
    vlmoe_status (*zero)(vlm_device *dev, void *dst, size_t bytes);
    vlmoe_status (*sync)(vlm_device *dev, vlmoe_error *error); /* reports failures of earlier work */
    vlmk_env *(*env)(vlm_device *dev);                         /* what to hand to kernels */
    void (*call_done)(vlm_device *dev);                        /* after each kernel call: its scratch may be reused */
    const vlmk_table *(*kernels)(vlm_device *dev);
    void (*describe)(vlm_device *dev, char *text, size_t bytes); /* instruction set and product library, e.g. "avx512_bf16, oneDNN 2.6.3" */
    double (*flops)(vlm_device *dev);                          /* counted since open (meta and cpu) */
    size_t (*scratch_peak)(vlm_device *dev);                   /* bytes that kernels hold; on meta, will hold on the cpu */
    size_t (*products_bytes)(vlm_device *dev);                 /* of prepared products, about; likewise */
    void (*reserve)(vlm_device *dev, size_t scratch_bytes);    /* kernels will need this much scratch: take it now; a hint */
} vlm_backend;

/* Explicit list, no constructors. NULL when the name is unknown or not built. "cpu", "meta". */
const vlm_backend *vlm_backend_find(const char *name);

#endif

/* Registers the parameters of layers in a context, with the roles that decide decay and compute
 * copies. No data is touched. */
#include <stdio.h>
#include "nn.h"

enum { NAME_TEXT = 192 };

/* Weight decay by role: matrices, word tables and routers decay, nothing else does. */
static bool role_decays(vlm_role role)
{
    return role == VLM_ROLE_MATRIX || role == VLM_ROLE_EMBEDDING || role == VLM_ROLE_ROUTER;
}

vlmoe_tensor *vlm_builder_add(vlm_builder *b, const vlm_param *spec, int rank, const int64_t *dim)
{
    if (b->status) return NULL;
    vlm_param full = *spec;
    full.trained = b->trained;
    full.decays = role_decays(spec->role);
    full.lr_scale = 1.0;
    full.has_copy = spec->has_copy || spec->role == VLM_ROLE_MATRIX;
    vlmoe_tensor *out = NULL;
    b->status = vlm_param_add(b->ctx, &full, rank, dim, &out);
    return b->status ? NULL : out;
}

/* name + suffix; a name that does not fit stops the builder. */
static void put_name(vlm_builder *b, char text[NAME_TEXT], const char *name, const char *suffix)
{
    int n = snprintf(text, NAME_TEXT, "%s%s", name, suffix);
    if (n < 0 || n >= NAME_TEXT) b->status = b->status ? b->status : VLMOE_E_ARG;
}

vlmoe_tensor *vlm_vector_make(vlm_builder *b, const char *name, vlm_role role, int rank,
                              const int64_t *dim, double std, double value)
{
    vlm_param spec = {.name = (char *)name, .role = role, .init_std = std, .init_value = value};
    return vlm_builder_add(b, &spec, rank, dim);
}

void vlm_linear_make(vlm_builder *b, const char *name, int64_t out, int64_t in, bool has_bias,
                     double scale, vlm_linear_layer *layer)
{
    char text[NAME_TEXT];
    put_name(b, text, name, ".weight");
    layer->weight =
        vlm_vector_make(b, text, VLM_ROLE_MATRIX, 2, (int64_t[]){out, in}, b->std * scale, 0.0);
    layer->bias = NULL;
    if (!has_bias) return;
    put_name(b, text, name, ".bias");
    layer->bias = vlm_vector_make(b, text, VLM_ROLE_BIAS, 1, &out, 0.0, 0.0);
}

void vlm_norm_make(vlm_builder *b, const char *name, int64_t width, double eps,
                   vlm_norm_layer *layer)
{
    char text[NAME_TEXT];
    put_name(b, text, name, ".weight");
    layer->gain = vlm_vector_make(b, text, VLM_ROLE_NORM, 1, &width, 0.0, 1.0);
    put_name(b, text, name, ".bias");
    layer->bias = vlm_vector_make(b, text, VLM_ROLE_NORM, 1, &width, 0.0, 0.0);
    layer->eps = eps;
}

void vlm_attention_make(vlm_builder *b, const char *name, int64_t width, int64_t heads,
                        double out_scale, vlm_attention_layer *layer)
{
    char text[NAME_TEXT];
    layer->heads = heads;
    put_name(b, text, name, ".qkv.weight");
    layer->qkv_weight =
        vlm_vector_make(b, text, VLM_ROLE_MATRIX, 2, (int64_t[]){3 * width, width}, b->std, 0.0);
    put_name(b, text, name, ".qkv.bias");
    layer->qkv_bias = vlm_vector_make(b, text, VLM_ROLE_BIAS, 2, (int64_t[]){2, width}, 0.0, 0.0);
    put_name(b, text, name, ".proj");
    vlm_linear_make(b, text, width, width, true, out_scale, &layer->proj);
}

void vlm_ffn_make(vlm_builder *b, const char *name, int64_t width, int64_t hidden, double out_scale,
                  vlm_ffn_layer *layer)
{
    char text[NAME_TEXT];
    put_name(b, text, name, ".fc1");
    vlm_linear_make(b, text, hidden, width, true, 1.0, &layer->fc1);
    put_name(b, text, name, ".fc2");
    vlm_linear_make(b, text, width, hidden, true, out_scale, &layer->fc2);
}

/* One tensor holds the weights of all experts, its first axis the global expert id. */
static void expert_linear_make(vlm_builder *b, const char *name, const int64_t dim[3], double std,
                               bool distinct, vlm_linear_layer *layer)
{
    char text[NAME_TEXT];
    put_name(b, text, name, ".weight");
    vlm_param spec = {.name = text,
                      .role = VLM_ROLE_MATRIX,
                      .n_experts = dim[0],
                      .init_std = std,
                      .init_equal = !distinct};
    layer->weight = vlm_builder_add(b, &spec, 3, dim);
    put_name(b, text, name, ".bias");
    spec.role = VLM_ROLE_BIAS;
    spec.init_std = 0.0;
    layer->bias = vlm_builder_add(b, &spec, 2, dim);
}

void vlm_moe_make(vlm_builder *b, const char *name, int64_t width, int64_t hidden, double out_scale,
                  bool distinct, vlm_moe_layer *layer)
{
    int64_t E = layer->policy.E;
    layer->policy.site = 2 * (uint64_t)layer->block + (layer->modality == 't');
    char text[NAME_TEXT];
    put_name(b, text, name, ".router.weight");
    layer->router =
        vlm_vector_make(b, text, VLM_ROLE_ROUTER, 2, (int64_t[]){E, width}, b->std, 0.0);
    put_name(b, text, name, ".experts.{e}.fc1");
    expert_linear_make(b, text, (int64_t[]){E, hidden, width}, b->std, distinct, &layer->fc1);
    put_name(b, text, name, ".experts.{e}.fc2");
    expert_linear_make(b, text, (int64_t[]){E, width, hidden}, b->std * out_scale, distinct,
                       &layer->fc2);
}

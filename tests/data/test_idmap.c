/* Names to numbers: what was put in is found, through all growths; what was not is not. */
#include <stdio.h>
#include <string.h>
#include "data_idmap.h"
#include "harness.h"

TEST(what_was_added_is_found)
{
    enum { N = 20000 };
    vlm_idmap map = {0};
    vlmoe_error error = {0};
    char name[32];
    CHECK(vlm_idmap_find(&map, "1", 1) == NULL);
    for (int64_t i = 0; i < N; i++) {
        bool is_new = false;
        snprintf(name, sizeof name, "%d", (int)i);
        CHECK_STATUS_E(vlm_idmap_add(&map, name, strlen(name), i, NULL, &is_new, &error), VLMOE_OK,
                       &error);
        CHECK(is_new);
    }
    CHECK_INT(map.n, N);
    for (int64_t i = 0; i < 2 * N; i++) {
        snprintf(name, sizeof name, "%d", (int)i);
        const int64_t *value = vlm_idmap_find(&map, name, strlen(name));
        CHECK((value != NULL) == (i < N));
        if (value) CHECK_INT(*value, i);
    }
    vlm_idmap_free(&map);
}

TEST(the_first_value_stays_until_it_is_written)
{
    vlm_idmap map = {0};
    vlmoe_error error = {0};
    int64_t *value = NULL;
    bool is_new = false;
    CHECK_STATUS_E(vlm_idmap_add(&map, "a", 1, 5, &value, &is_new, &error), VLMOE_OK, &error);
    CHECK_STATUS_E(vlm_idmap_add(&map, "a", 1, 6, &value, &is_new, &error), VLMOE_OK, &error);
    CHECK(!is_new);
    CHECK_INT(*value, 5);
    *value = 7;
    CHECK_INT(*vlm_idmap_find(&map, "a", 1), 7);
    vlm_idmap_free(&map);
}

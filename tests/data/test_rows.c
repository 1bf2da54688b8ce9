/* The field's other labelled sets: what their rows say, and how each names what is wrong with them. */
#include "rows_fixture.h"

static const char *walk(const char *format, const char *text, bool goes_on)
{
    vlm_rows_options options = {.format = format, .in = rows_save("set.json", text)};
    if (vlm_rows_read_images(format)) options.images = "img";
    if (!strcmp(format, "karpathy")) options.split = "train";
    return rows_walk(&options, goes_on);
}

TEST(statements_over_two_pictures)
{
    const char *text = "{\"identifier\":\"dev-1-0-1\",\"sentence\":\"Both.\",\"label\":\"False\"}\n"
                       "{\"identifier\":\"train-12-3-0\",\"sentence\":\"One.\",\"label\":\"True\","
                       "\"directory\":41}\n"
                       "{\"identifier\":\"test1-0-0-0\",\"sentence\":\"None.\"}\n";
    vlm_rows_options options = {.format = "nlvr2", .in = rows_save("set.json", text)};
    options.images = rows_path("nl");
    rows_save("nl/dev-1-0-img0.png", "");
    rows_save("nl/images/train/41/train-12-3-img1.png", "");
    rows_save("nl/test1/test1-0-0-img0.png", "");
    CHECK_TEXT(
        rows_walk(&options, false),
        "\"dev-1-0-1\" <nl/dev-1-0-img0.png> <nl/images/dev/dev-1-0-img1.png> \"Both.\" "
        "0:1,\"identifier\":\"dev-1-0-1\"\n"
        "\"train-12-3-0\" <nl/images/train/41/train-12-3-img0.png> "
        "<nl/images/train/41/train-12-3-img1.png> \"One.\" 1:1,\"identifier\":\"train-12-3-0\"\n"
        "\"test1-0-0-0\" <nl/test1/test1-0-0-img0.png> <nl/images/test1/test1-0-0-img1.png> "
        "\"None.\",\"identifier\":\"test1-0-0-0\"\n");
}

TEST(crooked_statements_are_named)
{
    const char *maybe = "{\"identifier\":\"dev-1-0-1\",\"sentence\":\"x\",\"label\":\"Maybe\"}\n";
    CHECK_HAS(walk("nlvr2", maybe, false), "\"dev-1-0-1\": a label that is no class: Maybe");
    CHECK_TEXT(walk("nlvr2", maybe, true), "");
    CHECK_TEXT(rows_noted(VLM_NOTE_LABEL_UNKNOWN), "1 \"dev-1-0-1\" (Maybe)");
    CHECK_HAS(walk("nlvr2", "{\"identifier\":\"dev\",\"sentence\":\"x\"}", true),
              "set.json byte 0: identifier \"dev\": expected SPLIT-...-NUMBER");
    CHECK_HAS(walk("nlvr2", "{\"identifier\":\"d-0\",\"sentence\":\"x\",\"label\":1}", true),
              "\"label\" is a number, expected \"True\" or \"False\"");
    CHECK_HAS(
        walk("nlvr2", "{\"identifier\":\"d-0\",\"sentence\":\"x\",\"directory\":\"a\"}", true),
        "\"directory\" is no number");
    CHECK_HAS(walk("nlvr2", "{\"identifier\":\"d-0\"}", true), "\"sentence\" is missing");
}

#define IMAGE(id, split, sentences)                                                                \
    "{\"filename\":\"" id ".jpg\",\"imgid\":" id ",\"split\":\"" split                             \
    "\",\"sentences\":[" sentences "]}"
#define RAW(text) "{\"raw\":\"" text "\",\"tokens\":[]}"

TEST(captions_of_a_split)
{
    vlm_rows_options options = {.format = "karpathy", .images = "img", .split = "train,restval"};
    options.in = rows_save("set.json", "{\"dataset\":\"flickr30k\",\"images\":[" IMAGE(
                                           "1", "train", RAW("A.") "," RAW("B.")) "," //
                           IMAGE("2", "val", RAW("C.")) ","                           //
                           IMAGE("3", "restval", RAW("D.")) "]}");
    CHECK_TEXT(rows_walk(&options, false), "1 <img/1.jpg> \"A.\" \"B.\" own,\"image_id\":1\n"
                                           "3 <img/3.jpg> \"D.\" own,\"image_id\":3\n");
    CHECK_TEXT(rows_noted(VLM_NOTE_OTHER_SPLIT), "1 2 (val)");
    CHECK_TEXT(walk("karpathy",
                    "{\"images\":[{\"filepath\":\"val2014\",\"filename\":\"x.jpg\",\"imgid\":0,"
                    "\"cocoid\":9,\"split\":\"train\",\"sentences\":[" RAW("A red ball.") "]}]}",
                    false),
               "9 <img/val2014/x.jpg> \"A red ball.\" own,\"image_id\":9\n");
    CHECK_HAS(walk("karpathy",
                   "{\"images\":[{\"filename\":\"x.jpg\",\"imgid\":0,\"split\":\"train\","
                   "\"sentences\":{\"a\":{\"raw\":\"A.\"}}}]}",
                   true),
              "set.json byte 11: \"sentences\" is an object, expected an array");
}

TEST(splits_that_no_picture_is_of_are_named)
{
    vlm_rows_options options = {.format = "karpathy", .split = "train,rest"};
    options.in = rows_save("set.json", "{\"images\":[" IMAGE("1", "train", RAW("A.")) "]}");
    CHECK_HAS(rows_walk(&options, true), "\n! ");
    CHECK_HAS(rows_walk(&options, true), "set.json: no picture is of the split 'rest'");
    CHECK_INT(rows_error.status, VLMOE_E_FORMAT);
    options.split = "train,";
    CHECK_HAS(rows_walk(&options, true), "splits 'train,': expected 1 to 16 names");
    CHECK_INT(rows_error.status, VLMOE_E_ARG);
}

TEST(pictures_without_captions_are_named)
{
    const char *text =
        "{\"images\":[" IMAGE("1", "train", "") "," IMAGE("4", "train", RAW(" ")) "]}";
    CHECK_HAS(walk("karpathy", text, false), "1: a text is missing, empty or not UTF-8");
    CHECK_TEXT(walk("karpathy", text, true), "");
    CHECK_TEXT(rows_noted(VLM_NOTE_NO_TEXT), "2 1");
    CHECK_HAS(walk("karpathy", "{\"images\":[{\"imgid\":1}]}", true), "\"split\" is missing");
    vlm_rows_options options = {.format = "karpathy", .in = rows_save("set.json", text)};
    CHECK_HAS(rows_walk(&options, true), "format karpathy needs a split");
}

TEST(folders_are_classes_in_the_order_of_names)
{
    vlm_rows_options options = {.format = "imagenet", .in = rows_path("val")};
    rows_save("val/n02/b.JPEG", "");
    rows_save("val/n02/a.png", "");
    rows_save("val/n10/c", "");
    rows_save("val/n01/.hidden", "");
    rows_save("val/readme", "");
    CHECK_TEXT(rows_walk(&options, false), "\"n02/a.png\" <val/n02/a.png> 1:1 own\n"
                                           "\"n02/b.JPEG\" <val/n02/b.JPEG> 1:1 own\n"
                                           "\"n10/c\" <val/n10/c> 2:1 own\n");
    CHECK_TEXT(rows_noted(VLM_NOTE_CLASS_EMPTY), "1 n01");
    CHECK_HAS(rows_noted(VLM_NOTE_PICTURE_UNUSED), "1 /");
    CHECK_HAS(rows_noted(VLM_NOTE_PICTURE_UNUSED), "/val/readme");
    options.labels = rows_save("names.txt", "n10\nn02\nn11\n");
    CHECK_HAS(rows_walk(&options, false), "\"n10/c\" <val/n10/c> 0:1 own\n");
    CHECK_TEXT(rows_noted(VLM_NOTE_CLASS_EMPTY), "2 n11"); /* and the empty folder n01 */
    options.labels = rows_save("names.txt", "n02\n");
    CHECK_HAS(rows_walk(&options, false), "\"n10/c\": a label that is no class: n10");
    options.in = rows_path("val/n02");
    CHECK_HAS(rows_walk(&options, false), "holds no folders");
}

TEST(folders_that_are_no_line_of_labels_txt_are_refused)
{
    vlm_rows_options options = {.format = "imagenet", .in = rows_path("odd")};
    rows_save("odd/a\nb/x.JPEG", "");
    CHECK_HAS(rows_walk(&options, true), "class 0 is called \"a\\nb\", expected UTF-8");
    CHECK_INT(rows_error.status, VLMOE_E_FORMAT);
    options.in = rows_path("latin");
    rows_save("latin/a/x.JPEG", "");
    rows_save("latin/caf\xe9/x.JPEG", "");
    CHECK_HAS(rows_walk(&options, true), "class 1 is called \"caf\xef\xbf\xbd\", expected UTF-8");
}

TEST(pairs_of_sentences_by_lines)
{
    const char *text =
        "{\"gold_label\":\"neutral\",\"genre\":\"fiction\",\"pairID\":\"1n\",\"sentence1\":\"A "
        "man.\","
        "\"sentence2\":\"He.\"}\n"
        "{\"gold_label\":\"-\",\"pairID\":\"2e\",\"sentence1\":\"x\",\"sentence2\":\"y\"}\n"
        "{\"gold_label\":\"hidden\",\"pairID\":\"3e\",\"sentence1\":\"x\",\"sentence2\":\"y\"}\n";
    CHECK_TEXT(walk("mnli", text, false),
               "\"1n\" \"A man.\" \"He.\" 1:1,\"genre\":\"fiction\"\n\"3e\" \"x\" \"y\"\n");
    CHECK_TEXT(rows_noted(VLM_NOTE_UNLABELLED), "1 \"3e\"");
    CHECK_TEXT(rows_noted(VLM_NOTE_NO_GOLD), "1 \"2e\"");
    vlm_rows_options options = {.format = "mnli"};
    options.in = rows_save("multinli_1.0_dev_mismatched.jsonl", text);
    CHECK_HAS(rows_walk(&options, false), ",\"genre\":\"fiction\",\"split\":\"mismatched\"\n");
    options.in = rows_save("mismatched/dev_matched.jsonl", text);
    CHECK_HAS(rows_walk(&options, false), ",\"genre\":\"fiction\",\"split\":\"matched\"\n");
    options.split = "train";
    CHECK_HAS(rows_walk(&options, false), ",\"split\":\"train\"\n");
    CHECK_HAS(
        walk("mnli",
             "{\"gold_label\":\"so\",\"pairID\":\"9\",\"sentence1\":\"x\",\"sentence2\":\"y\"}",
             false),
        "\"9\": a label that is no class: so");
    CHECK_HAS(walk("mnli",
                   "{\"gold_label\":1,\"pairID\":\"9\",\"sentence1\":\"x\",\"sentence2\":\"y\"}",
                   true),
              "\"gold_label\" is a number");
}

TEST(pairs_of_sentences_in_a_table)
{
    CHECK_TEXT(walk("glue",
                    "index\tpairID\tgenre\tsentence2\tsentence1\tlabel1\tgold_label\r\n"
                    "0\t63735n\tslate\tHe said \"no.\tA \"b\t\tcontradiction\r\n\n"
                    "1\tx\tslate\ty\tz\tneutral\t-\n",
                    false),
               "\"63735n\" \"A \"b\" \"He said \"no.\" 2:1,\"genre\":\"slate\"\n");
    CHECK_TEXT(rows_noted(VLM_NOTE_NO_GOLD), "1 \"x\"");
    CHECK_TEXT(walk("glue", "index\tsentence1\tsentence2\n7\ta\tb", false), "\"7\" \"a\" \"b\"\n");
    CHECK_TEXT(walk("glue", "\xef\xbb\xbfindex\tsentence1\tsentence2\n7\ta\tb\n", false),
               "\"7\" \"a\" \"b\"\n"); /* a byte order mark */
    CHECK_HAS(walk("glue", "index\tsentence1\tsentence2\n7\ta", true),
              "set.json line 2: 2 columns, the first line names 3");
    CHECK_HAS(walk("glue", "index\tsentence1\n", true), "line 1 names no column \"sentence2\"");
    CHECK_HAS(walk("glue", "index\tsentence1\tsentence2\tsentence1\n7\ta\tb\tc\n", true),
              "set.json line 1 names the column \"sentence1\" twice");
    CHECK_HAS(walk("glue", "sentence2\tsentence1\n", true), "no column \"pairID\" or \"index\"");
    CHECK_HAS(walk("glue", "", true), "is empty");
    CHECK_TEXT(walk("glue", "index\tsentence1\tsentence2\n7\ta\t\xff\n8\ta\tb\n", true),
               "\"8\" \"a\" \"b\"\n");
    CHECK_TEXT(rows_noted(VLM_NOTE_NO_TEXT), "1 \"7\"");
}

/* ---- MNIST's files ---- */

static const char *save_bytes(const char *name, const void *data, size_t bytes)
{
    vlmoe_error error = {0};
    const char *path = rows_path(name);
    CHECK_STATUS_E(vlm_file_replace(path, data, bytes, &error), VLMOE_OK, &error);
    return path;
}

TEST(pictures_and_labels_of_bytes)
{
    const unsigned char images[] = {0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 1,
                                    0, 0, 0, 3, 1, 2, 3, 4, 5, 6, 7};
    const unsigned char labels[] = {0, 0, 8, 1, 0, 0, 0, 2, 9, 11};
    vlm_rows_options options = {.format = "idx"};
    options.in = save_bytes("images", images, sizeof images - 1);
    options.annotations = save_bytes("labels", labels, sizeof labels);
    CHECK_HAS(rows_walk(&options, false),
              "0 <14 bytes> 9:1 own\n! 1: a label that is no class: 11");
    CHECK_TEXT(rows_walk(&options, true), "0 <14 bytes> 9:1 own\n");
    options.annotations = NULL;
    CHECK_TEXT(rows_walk(&options, true), "0 <14 bytes> own\n1 <14 bytes> own\n");
    options.in = save_bytes("images", images, sizeof images);
    CHECK_HAS(rows_walk(&options, true), "/images goes on behind the 2 that its head says");
    options.in = save_bytes("images", images, sizeof images - 2);
    CHECK_HAS(rows_walk(&options, true), "images ends at byte 21, 1 bytes too early");
    options.in = save_bytes("images", images, sizeof images - 4);
    CHECK_HAS(rows_walk(&options, true), "/images ends after 1 of the 2 that its head says");
    options.in = save_bytes("images", images, sizeof images - 1);
    options.annotations = save_bytes("labels", labels, sizeof labels - 1);
    CHECK_HAS(rows_walk(&options, true), "/labels ends after 1 of the 2 that its head says");
    options.annotations = NULL;
    options.in = save_bytes("images", labels, sizeof labels);
    CHECK_HAS(rows_walk(&options, true), "images ends at byte 10, 6 bytes too early");
    options.in = save_bytes("images", images + 1, sizeof images - 1);
    CHECK_HAS(rows_walk(&options, true), "not an idx file of bytes with 3 dimensions");
}

TEST(numbers_of_pictures_and_labels_agree)
{
    const unsigned char images[] = {0, 0, 8, 3, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 1};
    const unsigned char labels[] = {0, 0, 8, 1, 0, 0, 0, 2, 1, 1};
    vlm_rows_options options = {.format = "idx", .in = save_bytes("images", images, sizeof images)};
    options.annotations = save_bytes("labels", labels, sizeof labels);
    CHECK_HAS(rows_walk(&options, true), "labels has 2 labels, ");
}

/* ---- What all share ---- */

TEST(formats_are_known_by_name)
{
    vlm_rows_options options = {.format = "nlvr3", .in = "x"};
    CHECK_HAS(rows_walk(&options, false), "no format is called 'nlvr3'");
    options = (vlm_rows_options){.format = "nlvr2", .in = "x", .labels = "names.txt"};
    CHECK_HAS(rows_walk(&options, false),
              "format nlvr2 has no use for a file of classes (names.txt)");
    CHECK_INT(rows_error.status, VLMOE_E_ARG);
    options = (vlm_rows_options){.format = "imagenet", .in = "x", .split = "val"};
    CHECK_HAS(rows_walk(&options, false), "format imagenet has no use for a split (val)");
    options = (vlm_rows_options){.format = "mnli", .in = "x", .annotations = "a.json"};
    CHECK_HAS(rows_walk(&options, false), "no use for a file of annotations");
    options = (vlm_rows_options){.format = "idx", .in = "x", .picture = "{id}"};
    CHECK_HAS(rows_walk(&options, false), "no use for names of pictures");
    options = (vlm_rows_options){.format = "vqav2", .in = "x", .text_model = "m"};
    CHECK_HAS(rows_walk(&options, false), "no use for a text model");
    options = (vlm_rows_options){.format = "imagenet", .in = "x", .images = "root"};
    CHECK_HAS(rows_walk(&options, false), "no use for a folder of pictures (root)");
    options = (vlm_rows_options){.format = "nlvr2"};
    CHECK_HAS(rows_walk(&options, false), "needs a file or folder to read");
    options.in = rows_path("nowhere.json");
    CHECK_HAS(rows_walk(&options, false), "cannot open");
    CHECK_INT(rows_error.status, VLMOE_E_IO);
    int n = 0;
    while (vlm_rows_format(n, NULL)) n++;
    CHECK_INT(n, 8);
}

/* VQAv2's files: questions joined with annotations in any order, soft labels, and every way in which
 * the two files do not fit. */
#include "rows_fixture.h"

#define ANSWERS9(a)                                                                                \
    "{\"answer\":\"" a "\"},{\"answer\":\"" a "\"},{\"answer\":\"" a "\"},{\"answer\":\"" a        \
    "\"},{\"answer\":\"" a "\"},{\"answer\":\"" a "\"},{\"answer\":\"" a "\"},{\"answer\":\"" a    \
    "\"},{\"answer\":\"" a "\"}"
#define ANNOTATION(id, a, b)                                                                       \
    "{\"question_id\":" id ",\"multiple_choice_answer\":\"" a                                      \
    "\",\"answer_type\":\"other\",\"question_type\":\"what\",\"answers\":[" ANSWERS9(              \
        a) ",{\"answer\":\"" b "\"}]}"
#define QUESTION(id, image, text)                                                                  \
    "{\"image_id\":" image ",\"question\":\"" text "\",\"question_id\":" id "}"
#define QUESTIONS(list)   "{\"data_subtype\":\"val2014\",\"questions\":[" list "],\"license\":{}}"
#define ANNOTATIONS(list) "{\"info\":{},\"annotations\":[" list "]}"

#define Q1 QUESTION("71", "7", "What?")
#define Q2 QUESTION("72", "7", "Which?")
#define Q3 QUESTION("\"x3\"", "9", "How many?")
#define A1 ANNOTATION("71", "cat", "dog")
#define A2 ANNOTATION("72", "dog", "bird")
#define A3 ANNOTATION("\"x3\"", "2", "2")
#define TEN9(a)                                                                                    \
    "\"" a "\",\"" a "\",\"" a "\",\"" a "\",\"" a "\",\"" a "\",\"" a "\",\"" a "\",\"" a "\""
#define KINDS ",\"question_type\":\"what\",\"answer_type\":\"other\"\n"
#define ROW1                                                                                       \
    "71 <img/COCO_val2014_000000000007.jpg> \"What?\" 1:1 "                                        \
    "0:0.3,\"image_id\":7,\"answers\":[" TEN9("cat") ",\"dog\"]" KINDS
#define ROW2                                                                                       \
    "72 <img/COCO_val2014_000000000007.jpg> \"Which?\" 0:1,\"image_id\":7,\"answers\":[" TEN9(     \
        "dog") ",\"bird\"]" KINDS
#define ROW3                                                                                       \
    "\"x3\" <img/COCO_val2014_000000000009.png> \"How many?\" unlabelled,\"image_id\":9,"          \
    "\"answers\":[" TEN9("2") ",\"2\"]" KINDS

static const char *walk(const char *questions, const char *annotations, bool goes_on)
{
    vlm_rows_options options = {.format = "vqav2", .in = rows_save("q.json", questions)};
    if (annotations) options.annotations = rows_save("a.json", annotations);
    options.labels = rows_save("answers.txt", "dog\ncat\n");
    options.images = rows_path("img");
    rows_save("img/COCO_val2014_000000000007.jpg", "here");
    rows_save("img/COCO_val2014_000000000009.png", "here");
    return rows_walk(&options, goes_on);
}

TEST(questions_and_annotations_are_joined)
{
    CHECK_TEXT(walk(QUESTIONS(Q1 "," Q2 "," Q3), ANNOTATIONS(A1 "," A2 "," A3), false),
               ROW1 ROW2 ROW3);
    CHECK_TEXT(rows_noted(VLM_NOTE_NO_LABEL), "1 \"x3\"");
    CHECK_INT(rows_ledger.n_read, 3);
}

TEST(annotations_may_have_another_order)
{
    CHECK_TEXT(walk(QUESTIONS(Q1 "," Q2 "," Q3), ANNOTATIONS(A3 "," A2 "," A1), false),
               ROW1 ROW2 ROW3);
    CHECK_TEXT(walk(QUESTIONS(Q1 "," Q2 "," Q3), ANNOTATIONS(A1 "," A3 "," A2), false),
               ROW1 ROW2 ROW3);
    CHECK_TEXT(walk(QUESTIONS(Q3 "," Q1), ANNOTATIONS(A1 "," A3), false), ROW3 ROW1);
}

TEST(a_test_set_has_no_labels)
{
    CHECK_TEXT(walk(QUESTIONS(Q1), NULL, false),
               "71 <img/COCO_val2014_000000000007.jpg> \"What?\",\"image_id\":7\n");
    /* pictures of test-dev2015 are test2015's */
    CHECK_HAS(walk("{\"data_subtype\":\"test-dev2015\",\"questions\":[" Q1 "]}", NULL, false),
              "COCO_test2015_000000000007.jpg");
}

TEST(questions_without_annotation_are_named)
{
    CHECK_HAS(walk(QUESTIONS(Q1 "," Q2), ANNOTATIONS(A1), false),
              "72: a question without annotation");
    CHECK_TEXT(walk(QUESTIONS(Q2 "," Q1 "," Q3), ANNOTATIONS(A1), true), ROW1);
    CHECK_TEXT(rows_noted(VLM_NOTE_NO_ANNOTATION), "2 72");
}

TEST(annotations_without_question_are_named)
{
    CHECK_HAS(walk(QUESTIONS(Q1), ANNOTATIONS(A1 "," A2), false),
              "72: an annotation without question");
    CHECK_TEXT(walk(QUESTIONS(Q1), ANNOTATIONS(A1 "," A2 "," A3), true), ROW1);
    CHECK_TEXT(rows_noted(VLM_NOTE_NO_QUESTION), "2 72");
    CHECK_TEXT(walk(QUESTIONS(Q1), ANNOTATIONS(A2 "," A1), true), ROW1); /* through the index */
    CHECK_TEXT(rows_noted(VLM_NOTE_NO_QUESTION), "1 72");
}

TEST(ids_are_had_once)
{
    CHECK_HAS(walk(QUESTIONS(Q1), ANNOTATIONS(A1 "," A1), false),
              "71: a second annotation of a question");
    CHECK_HAS(walk(QUESTIONS(Q1 "," Q1), ANNOTATIONS(A1 "," A1), false),
              "71: an id that was there before");
    CHECK_TEXT(walk(QUESTIONS(Q1 "," Q1), ANNOTATIONS(A1 "," A1), true), ROW1);
    CHECK_TEXT(rows_noted(VLM_NOTE_DUPLICATE), "1 71");
    CHECK_TEXT(walk(QUESTIONS(Q2 "," Q1), ANNOTATIONS(A1 "," A2 "," A1), true), ROW2 ROW1);
    CHECK_TEXT(rows_noted(VLM_NOTE_ANNOTATION_AGAIN), "1 71");
}

TEST(empty_questions_are_named)
{
    CHECK_HAS(walk(QUESTIONS(QUESTION("71", "7", " ")), ANNOTATIONS(A1), false),
              "71: a text is missing, empty or not UTF-8");
    CHECK_TEXT(walk(QUESTIONS(QUESTION("71", "7", "") "," Q2), ANNOTATIONS(A1 "," A2), true), ROW2);
    CHECK_TEXT(rows_noted(VLM_NOTE_NO_TEXT), "1 71");
}

TEST(a_vocabulary_of_another_set_is_refused)
{
    CHECK_HAS(walk(QUESTIONS(Q3), ANNOTATIONS(A3), false),
              "a.json: none of 1 questions has an answer among the 2 classes");
}

TEST(crooked_rows_are_refused_by_byte)
{
    CHECK_HAS(walk(QUESTIONS("{\"question_id\":71}"), NULL, false),
              "q.json byte 39: \"image_id\" is missing, expected a whole number");
    CHECK_HAS(walk(QUESTIONS("7"), NULL, false),
              "q.json byte 39: expected an object, found a number");
    CHECK_HAS(
        walk(QUESTIONS("{\"question_id\":1.5}"), NULL, false),
        "\"question_id\" is a number with a fraction or from 2^53 on, expected a whole number");
    CHECK_HAS(walk(QUESTIONS("{\"question_id\":9007199254740993}"), NULL, false),
              "\"question_id\" is a number with a fraction or from 2^53 on");
    CHECK_HAS(walk(QUESTIONS(Q1), ANNOTATIONS("{\"question_id\":71,\"answers\":[]}"), false),
              "a.json byte 26: \"answers\" is no array of 1 to 32");
    CHECK_HAS(walk(QUESTIONS(Q1), ANNOTATIONS("{\"question_id\":71,\"answers\":[{}]}"), false),
              "\"answer\" is missing, expected a string");
    CHECK_HAS(walk("{\"questions\":[" Q1 "]}", NULL, false),
              "no \"data_subtype\" before its questions");
    CHECK_HAS(walk("{\"images\":[]}", NULL, false), "no member \"questions\"; there is \"images\"");
}

TEST(pictures_are_named_as_asked)
{
    vlm_rows_options options = {.format = "vqav2", .picture = "{split}/p{id:3}-{id}.gif"};
    options.in = rows_save("q.json", QUESTIONS(Q1));
    options.labels = rows_save("answers.txt", "dog\n");
    options.images = rows_path("none");
    CHECK_HAS(rows_walk(&options, false), "71 <none/val2014/p007-7.gif>");
    options.split = "train";
    CHECK_HAS(rows_walk(&options, false), "71 <none/train/p007-7.gif>");
    options.picture = "x.png";
    CHECK_HAS(rows_walk(&options, false), "have no {id} in them");
    options.picture = "{split}_{id:ab}.jpg";
    CHECK_HAS(rows_walk(&options, false), "expected {split}, {id} or {id:12} at '{id:ab}.jpg'");
    CHECK_INT(rows_error.status, VLMOE_E_ARG);
    options.picture = "{id}_{id:40}";
    CHECK_HAS(rows_walk(&options, false), "at '{id:40}'");
    options.picture = NULL;
    options.labels = NULL;
    CHECK_HAS(rows_walk(&options, false), "needs the classes");
    CHECK_INT(rows_error.status, VLMOE_E_ARG);
}

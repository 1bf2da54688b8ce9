/* vlmoe-data: makes, looks at and checks data sets. The commands stand in cli_data_*.c. */
#include "cli_common.h"
#include "cli_data.h"

int main(int argc, char **argv)
{
    static const vlm_cli_command commands[] = {
        {"pack", "a list of pictures and texts, or a labelled set, to shards", vlm_cli_data_pack},
        {"answers", "the classes of VQA: frequent answers of annotation files",
         vlm_cli_data_answers},
        {"inspect", "what is in a set: counts, sizes, first samples", vlm_cli_data_inspect},
        {"verify", "read every byte of a set and name what is damaged", vlm_cli_data_verify},
        {"vocab", "train the vocabulary of a text model", vlm_cli_data_vocab},
    };
    return vlm_cli_dispatch("Data sets for vlmoe-train.", commands, VLM_COUNT(commands), argc,
                            argv);
}

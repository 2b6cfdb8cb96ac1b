/* What the outputs of a run say, by the model's task, for people and for machines. */
#ifndef SG_TOOLS_PREDICTIONS_H
#define SG_TOOLS_PREDICTIONS_H

#include "cli.h"

typedef struct predictions {
    const sg_model *model;
    const cli_rows *rows; /* of tokens; n 0: none */
    bool pad_left;
    int top;               /* are told: 1 to 64 */
    int n_texts, n_images; /* whose texts and names follow; 0: rows of ids, fed pixels */
    const char *const *texts, *const *images;
    const sg_tensor *value; /* of predictions_value */
} predictions;

/* The value that is read: logits where there are some. NULL: the model has none that says anything by itself. */
sg_value *predictions_value(const sg_model *m, const sg_graph *g, bool has_rows, bool has_images);

void predictions_print(const predictions *p);
/* "top": by row and position [{"token", "p"}]; "labels": by row, or by row and position, [{"label", "name", "p"}];
 * "match": by image the probability of each text. */
void predictions_json(const predictions *p, json_t *root);

#endif

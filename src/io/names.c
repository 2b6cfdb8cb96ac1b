/* The named values of a graph, as JSON. */
#include "io/names.h"

json_t *sg_names_json(const sg_graph *g)
{
    char shape[SG_SHAPE_TEXT];
    json_t *names = json_array();

    for (int i = 0; i < sg_graph_n_names(g); i++) {
        const sg_value *v = sg_graph_named(g, i);
        json_t *dims = json_array();
        for (int k = 0; k < sg_value_n_dims(v); k++)
            json_array_append_new(dims, sg_value_dim(v, k) >= 0
                                            ? json_integer(sg_value_dim(v, k))
                                            : json_string(sg_dim_text(g, sg_value_dim(v, k), shape)));
        json_array_append_new(names, json_pack("{s:s, s:s, s:o, s:s, s:s}", "name", sg_value_name(v), "dtype",
                                               sg_dtype_name(sg_value_dtype(v)), "shape", dims, "axes",
                                               sg_value_axes(v), "kind", sg_value_op(v)));
    }
    return names;
}

/* Two features in one dimension, importances 1 and r: the three candidates whose loss is known, and the exact loss of
 * any weights. Feature x_i is 0 with probability 1 - p, else uniform on [0,1]. */
#ifndef SG_STUDIES_TOY_CLOSED_FORM_H
#define SG_STUDIES_TOY_CLOSED_FORM_H

typedef enum toy_winner { TOY_NEITHER, TOY_FIRST, TOY_SECOND, TOY_ANTIPODAL } toy_winner;

/* Keep one and let the bias hold the other's mean: I (p/3 - p^2/4) for the one ignored. Antipodal, w = (1, -1), b = 0:
 * exact unless both are active, (1 + r) p^2 / 6. */
double toy_closed_loss(toy_winner w, double p, double r);
toy_winner toy_closed_winner(double p, double r);
/* The p below which antipodal wins: 2r / (1 + 2.5 r) for r <= 1, 2 / (2.5 + r) above. */
double toy_boundary(double r);

/* Expected loss of y = relu(w'(w x) + b), by the midpoint rule on a grid of 256 (and 256 x 256) points. */
double toy_exact_loss(const float w[2], const float b[2], double p, double r);
/* What the weights do: a feature counts where w_i^2 > 1/4. */
toy_winner toy_kind(const float w[2]);

#endif

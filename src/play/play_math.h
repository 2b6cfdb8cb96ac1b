/* The mathematics of the original, to the last bit: what browsers computed it with is fdlibm (Sun Microsystems, 1993),
 * and a net on a spiral magnifies one wrong last digit to the third decimal of its loss within 300 epochs. So these are
 * fdlibm's reductions and polynomials, operation by operation, and every build of ours gives what the original gave. */
#ifndef SG_PLAY_MATH_H
#define SG_PLAY_MATH_H

double play_sin(double x); /* beyond 800,000 less exactly than fdlibm */
double play_cos(double x);
double play_log(double x); /* of positive normal numbers */
double play_exp(double x);

#endif

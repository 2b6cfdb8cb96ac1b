#include "toy_closed_form.h"

#include "sightglass/superposition.h"

double toy_closed_loss(toy_winner w, double p, double r)
{
    const double ignored = p / 3 - p * p / 4;
    switch (w) {
    case TOY_FIRST:
        return r * ignored;
    case TOY_SECOND:
        return ignored;
    case TOY_ANTIPODAL:
        return (1 + r) * p * p / 6;
    case TOY_NEITHER:
        break;
    }
    return (1 + r) * ignored;
}

toy_winner toy_closed_winner(double p, double r)
{
    toy_winner best = TOY_FIRST;
    for (toy_winner w = TOY_SECOND; w <= TOY_ANTIPODAL; w++)
        if (toy_closed_loss(w, p, r) < toy_closed_loss(best, p, r))
            best = w;
    return best;
}

double toy_boundary(double r)
{
    return r <= 1 ? 2 * r / (1 + 2.5 * r) : 2 / (2.5 + r);
}

static double relu(double x)
{
    return x > 0 ? x : 0;
}

static double loss_at(const float w[2], const float b[2], double r, double x0, double x1)
{
    const double w0 = (double)w[0], w1 = (double)w[1], h = w0 * x0 + w1 * x1;
    const double e0 = x0 - relu(w0 * h + (double)b[0]), e1 = x1 - relu(w1 * h + (double)b[1]);
    return e0 * e0 + r * e1 * e1;
}

double toy_exact_loss(const float w[2], const float b[2], double p, double r)
{
    enum { N = 256 };
    double first = 0, second = 0, both = 0;
    for (int i = 0; i < N; i++) {
        const double x = (i + 0.5) / N;
        first += loss_at(w, b, r, x, 0);
        second += loss_at(w, b, r, 0, x);
        for (int k = 0; k < N; k++)
            both += loss_at(w, b, r, x, (k + 0.5) / N);
    }
    return (1 - p) * (1 - p) * loss_at(w, b, r, 0, 0) + p * (1 - p) * (first + second) / N + p * p * both / (N * N);
}

toy_winner toy_kind(const float w[2])
{
    const int first = (double)w[0] * (double)w[0] > SG_SUPERPOSITION_REPRESENTED;
    const int second = (double)w[1] * (double)w[1] > SG_SUPERPOSITION_REPRESENTED;
    return (toy_winner)(first + 2 * second);
}

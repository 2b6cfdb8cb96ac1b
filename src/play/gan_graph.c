/* Two networks and what they want of each other, as one graph. D is built twice over the same parameters, for real
 * points and for fakes; `fake` may be fed with any points, so its branch is D for whoever asks. Both losses and both
 * rules are there: a plan takes what is fetched, so those not asked for cost nothing.
 *
 * The log losses are computed from what goes into D's sigmoid: ln s(a) = -softplus(-a), ln(1 - s(a)) = -softplus(a). In
 * f32 the sigmoid rounds to 1 from a = 17 on, where the logarithm of 1 - D and its gradient would no longer be finite.
 */
#include <math.h>
#include <stdio.h>

#include "play/gan_internal.h"

static const char net_letter[SG_N_GAN_NETS] = {'d', 'g'};

/* Adds a dense layer's parameters, named as files have them: weight, bias, weight, bias ... */
static void parameters(gan_values *v, sg_graph *g, sg_gan_net net, sg_dim n_in, sg_dim n_out, double deviation)
{
    char name[16];
    const int i = v->n_params[net];
    snprintf(name, sizeof name, "%c-%d", net_letter[net], i);
    v->param[net][i] = sg_variable(g, name, SG_F32, 2, (sg_dim[]){n_in, n_out}, sg_init_normal(deviation));
    snprintf(name, sizeof name, "%c-%d", net_letter[net], i + 1);
    v->param[net][i + 1] = sg_variable(g, name, SG_F32, 1, &n_out, sg_init_constant(0));
    v->n_params[net] += 2;
}

static void all_parameters(gan_values *v, sg_graph *g, sg_gan_net net, sg_dim n_in, sg_dim n_out,
                           const sg_gan_net_opts *o)
{
    const double later = 1 / sqrt((double)o->n_units);
    parameters(v, g, net, n_in, o->n_units, 1 / sqrt(2.0));
    for (int i = 0; i < o->n_layers; i++)
        parameters(v, g, net, o->n_units, o->n_units, later);
    parameters(v, g, net, o->n_units, n_out, later);
}

/* The last layer's sums, before tanh or sigmoid; hidden layers are named NAME.hidden.0 ... */
static sg_value *layers(const gan_values *v, sg_graph *g, sg_gan_net net, sg_value *x, const char *name)
{
    char hidden[40];
    const int last = v->n_params[net] - 2;
    sg_value *const *p = v->param[net];
    for (int i = 0; i < last; i += 2) {
        x = sg_relu(g, sg_add(g, sg_matmul(g, x, p[i], false, false), p[i + 1]));
        snprintf(hidden, sizeof hidden, "%s.hidden.%d", name, i / 2);
        x = sg_name(g, x, hidden, "bd");
    }
    return sg_add(g, sg_matmul(g, x, p[last], false, false), p[last + 1]);
}

static sg_value *minus_mean(sg_graph *g, sg_value *x)
{
    return sg_neg(g, sg_mean_all(g, x));
}

/* mean((x - c)^2) */
static sg_value *mean_square(sg_graph *g, sg_value *x, double c)
{
    return sg_mean_all(g, sg_square(g, sg_add_scalar(g, x, -c)));
}

static void losses(gan_values *v, sg_graph *g, sg_value *a_real, sg_value *a_fake)
{
    sg_value *log_real = sg_neg(g, sg_softplus(g, sg_neg(g, a_real))); /* ln D(x) */
    sg_value *log_fake = sg_neg(g, sg_softplus(g, sg_neg(g, a_fake))); /* ln D(G(z)) */
    sg_value *log_not_fake = sg_neg(g, sg_softplus(g, a_fake));        /* ln(1 - D(G(z))) */
    v->loss[SG_GAN_D][SG_GAN_LOG] = sg_name(
        g, sg_add(g, sg_mul_scalar(g, minus_mean(g, log_real), 0.95), minus_mean(g, log_not_fake)), "loss.d.log", NULL);
    v->loss[SG_GAN_G][SG_GAN_LOG] = sg_name(g, minus_mean(g, log_fake), "loss.g.log", NULL);
    v->loss[SG_GAN_D][SG_GAN_SQUARES] =
        sg_name(g, sg_add(g, mean_square(g, v->d_real, 1), mean_square(g, v->d_fake, 0)), "loss.d.squares", NULL);
    v->loss[SG_GAN_G][SG_GAN_SQUARES] = sg_name(g, mean_square(g, v->d_fake, 1), "loss.g.squares", NULL);
}

/* The parameters of one network after a step by one loss and each rule. */
static void updates(gan_values *v, sg_graph *g, sg_gan_net net, sg_gan_loss loss)
{
    static const char *const loss_word[SG_N_GAN_LOSSES] = {"log", "squares"};
    sg_value *grads[GAN_MOST_PARAMS], *sum = NULL;
    sg_adam_opts adam = sg_adam_defaults();
    char name[40];
    adam.eps = 1e-7;
    sg_gradients(g, v->loss[net][loss], NULL, v->n_params[net], v->param[net], grads);
    for (int i = 0; i < v->n_params[net]; i++) {
        sg_value *w = v->param[net][i], *part = sg_sum_all(g, sg_square(g, grads[i]));
        snprintf(name, sizeof name, "grad.%s.%s", loss_word[loss], sg_value_name(w));
        grads[i] = sg_name(g, grads[i], name, NULL);
        v->update[net][loss][SG_GAN_SGD][i] = sg_sgd(g, w, grads[i], v->rate[net]);
        v->update[net][loss][SG_GAN_ADAM][i] =
            sg_adam(g, w, v->moment[net][0][i], v->moment[net][1][i], grads[i], v->rate[net], v->step[net], adam);
        sum = sum ? sg_add(g, sum, part) : part;
    }
    snprintf(name, sizeof name, "norm.%c.%s", net_letter[net], loss_word[loss]);
    v->norm[net][loss] = sg_name(g, sg_sqrt(g, sum), name, NULL);
}

static void moments(gan_values *v, sg_graph *g, sg_gan_net net)
{
    static const char *const which[2] = {"m", "v"};
    char name[40];
    for (int i = 0; i < v->n_params[net]; i++) {
        const sg_value *w = v->param[net][i];
        for (int k = 0; k < 2; k++) {
            snprintf(name, sizeof name, "adam.%s.%s", which[k], sg_value_name(w));
            v->moment[net][k][i] =
                sg_variable(g, name, SG_F32, sg_value_n_dims(w), sg_value_dims(w), sg_init_constant(0));
        }
    }
}

sg_status gan_build(gan_values *v, sg_graph *g, const sg_gan_opts *opts, sg_error *err)
{
    const sg_dim batch = sg_extent(g, "batch"), noise_dims = sg_gan_noise_dims(opts->noise);
    *v = (gan_values){0};
    v->noise = sg_name(g, sg_input(g, "noise", SG_F32, 2, (sg_dim[]){batch, noise_dims}), "noise", "bd");
    v->real = sg_name(g, sg_input(g, "real", SG_F32, 2, (sg_dim[]){batch, 2}), "real", "bd");
    v->rate[SG_GAN_D] = sg_input(g, "rate.d", SG_F32, 0, NULL);
    v->rate[SG_GAN_G] = sg_input(g, "rate.g", SG_F32, 0, NULL);
    v->step[SG_GAN_D] = sg_input(g, "step.d", SG_F32, 0, NULL);
    v->step[SG_GAN_G] = sg_input(g, "step.g", SG_F32, 0, NULL);
    all_parameters(v, g, SG_GAN_D, 2, 1, &opts->net[SG_GAN_D]);
    all_parameters(v, g, SG_GAN_G, noise_dims, 2, &opts->net[SG_GAN_G]);
    v->fake = sg_name(g, sg_tanh(g, layers(v, g, SG_GAN_G, v->noise, "g")), "fake", "bd");
    sg_value *a_real = layers(v, g, SG_GAN_D, v->real, "d.real"), *a_fake = layers(v, g, SG_GAN_D, v->fake, "d.fake");
    v->d_real = sg_name(g, sg_sigmoid(g, a_real), "d.real", "bd");
    v->d_fake = sg_name(g, sg_sigmoid(g, a_fake), "d.fake", "bd");
    /* Rows do not mix, so the gradient of the sum over rows has each row's own. */
    sg_gradients(g, v->d_fake, NULL, 1, &v->fake, &v->arrows);
    v->arrows = sg_name(g, v->arrows, "arrows", "bd");
    losses(v, g, a_real, a_fake);
    for (int net = 0; net < SG_N_GAN_NETS; net++) {
        moments(v, g, (sg_gan_net)net);
        for (int loss = 0; loss < SG_N_GAN_LOSSES; loss++)
            updates(v, g, (sg_gan_net)net, (sg_gan_loss)loss);
    }
    return sg_graph_status(g, err);
}

/* What is counted, and how Prometheus reads it. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "serve/events.h"
#include "serve/http.h"
#include "serve/jobs.h"
#include "serve/server.h"

static const double bounds[SERVE_LATENCIES] = {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10};

static const struct {
    const char *text, *help;
} counters[SERVE_N_COUNTERS] = {
#define SERVE_COUNTER(name, text, help) [SERVE_COUNT_##name] = {text, help},
#include "serve/metrics.def"
#undef SERVE_COUNTER
};

void serve_count(serve *s, serve_counter c, double n)
{
    atomic_fetch_add(&s->counter[c], (unsigned long long)(n * 1e6));
}

void serve_observe(serve_slot *slot, int code, double seconds)
{
    for (int i = 0; i < SERVE_CODES; i++) {
        int free_code = 0;
        if (atomic_load(&slot->codes[i].code) == code ||
            atomic_compare_exchange_strong(&slot->codes[i].code, &free_code, code) || free_code == code ||
            i == SERVE_CODES - 1) {
            atomic_fetch_add(&slot->codes[i].n, 1);
            break;
        }
    }
    int i = 0;
    while (i < SERVE_LATENCIES && seconds > bounds[i])
        i++;
    atomic_fetch_add(&slot->latency[i], 1);
    atomic_fetch_add(&slot->nanoseconds, (unsigned long long)(seconds * 1e9));
}

size_t serve_resident(void)
{
    unsigned long all, resident = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    if (!f)
        return 0;
    if (fscanf(f, "%lu %lu", &all, &resident) != 2)
        resident = 0;
    fclose(f);
    return resident * (size_t)sysconf(_SC_PAGESIZE);
}

static void put_route(sg_str *out, const serve_slot *slot)
{
    sg_str_printf(out, "route=\"%s %s\"", slot->route ? slot->route->method : "-",
                  slot->route ? slot->route->path : "other");
}

static void head(sg_str *out, const char *name, const char *type, const char *help)
{
    sg_str_printf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void gauge(sg_str *out, const char *name, const char *help, double value)
{
    head(out, name, "gauge", help);
    sg_str_printf(out, "%s %.17g\n", name, value);
}

sg_status serve_metrics_text(serve *s, sg_str *out)
{
    head(out, "sightglass_requests_total", "counter", "Requests answered, by route and code.");
    for (int k = 0; k <= s->n_slots; k++) {
        for (int i = 0; i < SERVE_CODES && s->slot[k].codes[i].code; i++) {
            sg_str_puts(out, "sightglass_requests_total{");
            put_route(out, &s->slot[k]);
            sg_str_printf(out, ",code=\"%d\"} %llu\n", s->slot[k].codes[i].code, s->slot[k].codes[i].n);
        }
    }
    head(out, "sightglass_request_seconds", "histogram", "From the head of a request to the end of its answer.");
    for (int k = 0; k <= s->n_slots; k++) {
        serve_slot *slot = &s->slot[k];
        unsigned long long n = 0;
        if (!slot->codes[0].code)
            continue;
        for (int i = 0; i <= SERVE_LATENCIES; i++) {
            n += slot->latency[i];
            sg_str_puts(out, "sightglass_request_seconds_bucket{");
            put_route(out, slot);
            if (i < SERVE_LATENCIES)
                sg_str_printf(out, ",le=\"%g\"} %llu\n", bounds[i], n);
            else
                sg_str_printf(out, ",le=\"+Inf\"} %llu\n", n);
        }
        sg_str_puts(out, "sightglass_request_seconds_sum{");
        put_route(out, slot);
        sg_str_printf(out, "} %.9f\nsightglass_request_seconds_count{", (double)slot->nanoseconds * 1e-9);
        put_route(out, slot);
        sg_str_printf(out, "} %llu\n", n);
    }
    for (int i = 0; i < SERVE_N_COUNTERS; i++) {
        head(out, counters[i].text, "counter", counters[i].help);
        sg_str_printf(out, "%s %.6f\n", counters[i].text, (double)s->counter[i] * 1e-6);
    }
    head(out, "sightglass_bytes_received_total", "counter", "Bytes of bodies received.");
    sg_str_printf(out, "sightglass_bytes_received_total %llu\n", s->bytes_in);
    head(out, "sightglass_bytes_sent_total", "counter", "Bytes of bodies sent.");
    sg_str_printf(out, "sightglass_bytes_sent_total %llu\n", s->bytes_out);
    gauge(out, "sightglass_requests_waiting", "Requests that wait for a thread.", serve_n_waiting(s));
    gauge(out, "sightglass_requests_in_flight", "Handlers that run.", serve_n_answering(s));
    gauge(out, "sightglass_event_clients", "Clients of GET /api/v1/events.", serve_events_n_readers(s->events));
    gauge(out, "sightglass_connections", "Open connections.", s->http ? serve_http_n_connections(s->http) : 0);
    head(out, "sightglass_jobs", "gauge", "Jobs in the workspace, by state.");
    json_t *count = serve_jobs_count(s->jobs), *n;
    const char *state;
    json_object_foreach(count, state, n)
    {
        sg_str_printf(out, "sightglass_jobs{state=\"%s\"} %lld\n", state, (long long)json_integer_value(n));
    }
    json_decref(count);
    gauge(out, "process_resident_memory_bytes", "Memory of this process.", (double)serve_resident());
    gauge(out, "sightglass_uptime_seconds", "Since the server began.", sg_now() - s->began);
    return SG_OK;
}

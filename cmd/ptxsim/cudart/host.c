// go:build cudart

// What needs no device: which context a thread has, streams, events, names of errors.
// Work is done at once, so a stream is only a handle, and an event a time.
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "sim.h"

int sim_initialized;
char sim_primary_context;

static __thread void *contexts[32];
static __thread int depth;

void *sim_context(void) { return depth ? contexts[depth - 1] : NULL; }
void sim_context_set(void *context) {
    if (!depth) depth = 1;
    contexts[depth - 1] = context;
}
int sim_context_push(void *context) {
    if (depth == 32) return SIM_INVALID_VALUE;
    contexts[depth++] = context;
    return SIM_OK;
}
int sim_context_pop(void **context) {
    if (!depth) return SIM_INVALID_CONTEXT;
    void *c = contexts[--depth];
    if (context) *context = c;
    return SIM_OK;
}

enum { STREAM = 0x53545245, EVENT = 0x4556454e };

struct stream {
    int magic;
    unsigned flags;
    int priority;
};

int sim_stream_create(void **stream, unsigned flags, int priority) {
    if (!stream || flags > 1) return SIM_INVALID_VALUE;
    struct stream *s = malloc(sizeof *s);
    if (!s) return SIM_OUT_OF_MEMORY;
    *s = (struct stream){STREAM, flags, priority < -5 ? -5 : priority > 0 ? 0 : priority};
    *stream = s;
    return SIM_OK;
}

// The default streams are 0, 1 (legacy) and 2 (of the thread).
int sim_stream_get(void *stream, unsigned *flags, int *priority) {
    struct stream *s = stream, none = {STREAM, 0, 0};
    if ((uintptr_t)stream <= 2) s = &none;
    if (s->magic != STREAM) return SIM_INVALID_HANDLE;
    if (flags) *flags = s->flags;
    if (priority) *priority = s->priority;
    return SIM_OK;
}

int sim_stream_destroy(void *stream) {
    if ((uintptr_t)stream <= 2) return SIM_INVALID_HANDLE;
    struct stream *s = stream;
    if (s->magic != STREAM) return SIM_INVALID_HANDLE;
    s->magic = 0;
    free(s);
    return SIM_OK;
}

struct event {
    int magic;
    unsigned flags;
    int recorded;
    struct timespec at;
};

int sim_event_create(void **event, unsigned flags) {
    if (!event) return SIM_INVALID_VALUE;
    struct event *e = calloc(1, sizeof *e);
    if (!e) return SIM_OUT_OF_MEMORY;
    e->magic = EVENT;
    e->flags = flags;
    *event = e;
    return SIM_OK;
}

static struct event *event_of(void *event) {
    struct event *e = event;
    return e && e->magic == EVENT ? e : NULL;
}

int sim_event_destroy(void *event) {
    struct event *e = event_of(event);
    if (!e) return SIM_INVALID_HANDLE;
    e->magic = 0;
    free(e);
    return SIM_OK;
}

int sim_event_record(void *event) {
    struct event *e = event_of(event);
    if (!e) return SIM_INVALID_HANDLE;
    e->recorded = 1;
    clock_gettime(CLOCK_MONOTONIC, &e->at);
    return SIM_OK;
}

int sim_event_wait(void *event) { return event_of(event) ? SIM_OK : SIM_INVALID_HANDLE; }

int sim_event_elapsed(float *ms, void *start, void *end) {
    struct event *a = event_of(start), *b = event_of(end);
    const unsigned no_timing = 2;
    if (!a || !b || !a->recorded || !b->recorded || (a->flags | b->flags) & no_timing)
        return SIM_INVALID_HANDLE;
    if (!ms) return SIM_INVALID_VALUE;
    *ms =
        (float)((double)(b->at.tv_sec - a->at.tv_sec) * 1e3 + (double)(b->at.tv_nsec - a->at.tv_nsec) * 1e-6);
    return SIM_OK;
}

static const struct {
    int code;
    const char *runtime, *driver, *text;
} errors[] = {
#define ERROR(code, runtime, driver, text) {code, runtime, driver, text},
#include "errors.h"
#undef ERROR
};

const char *sim_error_name(int code, int driver) {
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++)
        if (errors[i].code == code) return driver ? errors[i].driver : errors[i].runtime;
    return NULL;
}

const char *sim_error_text(int code) {
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++)
        if (errors[i].code == code) return errors[i].text;
    return NULL;
}

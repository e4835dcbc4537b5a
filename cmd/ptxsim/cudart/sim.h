// What libptxsim offers to the stand-in libraries in api: the simulated device, in calls
// that both the runtime and the driver are made of. An int is a CUresult or cudaError_t;
// the two agree in the values that are used here.
#ifndef PTXSIM_SIM_H
#define PTXSIM_SIM_H
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum {
    SIM_OK = 0,
    SIM_INVALID_VALUE = 1,
    SIM_OUT_OF_MEMORY = 2,
    SIM_NOT_INITIALIZED = 3,
    SIM_INVALID_CONFIGURATION = 9,  // of the runtime; the driver says INVALID_VALUE
    SIM_INVALID_SYMBOL = 13,        // of the runtime
    SIM_INVALID_FUNCTION = 98,      // of the runtime
    SIM_INVALID_DEVICE = 101,
    SIM_INVALID_CONTEXT = 201,
    SIM_INVALID_HANDLE = 400,
    SIM_NOT_FOUND = 500,
    SIM_NOT_READY = 600,
    SIM_NOT_SUPPORTED = 801,
};

// A launch. A function is a handle of simFunction, or the address of a runtime's stub.
typedef struct {
    uint64_t function;
    uint32_t grid[3], block[3], cluster[3];  // a cluster of zeros: the kernel's own
    size_t shared;                           // dynamic, bytes
    void **args;                             // one pointer for each parameter,
    void *packed;                            // or all of them, laid out
    size_t packed_bytes;
    int dependent, cooperative;
} sim_launch;

// An attribute of a launch, as CUlaunchAttribute and cudaLaunchAttribute are laid out.
typedef struct {
    int id;
    char pad[4];
    union {
        char bytes[64];
        int flag;
        unsigned dim[3];
    } value;
} sim_launch_attribute;

enum { SIM_COOPERATIVE = 2, SIM_CLUSTER = 4, SIM_DEPENDENT = 6 };

static inline void sim_launch_set(sim_launch *l, const sim_launch_attribute *a, unsigned count) {
    for (; count--; a++) {
        if (a->id == SIM_CLUSTER) memcpy(l->cluster, a->value.dim, sizeof l->cluster);
        if (a->id == SIM_DEPENDENT) l->dependent = a->value.flag;
        if (a->id == SIM_COOPERATIVE) l->cooperative = a->value.flag;
    }
}

typedef struct {
    int max_threads, registers, max_dynamic;
    int capability, ptx;  // of the device, and of the PTX that it was made of
    size_t shared, local;
} sim_attributes;

// Go: the device. NULL is answered where a name says nothing.
int simLoad(char *call, void *image, uint64_t *module, char *log, size_t log_bytes);
int simUnload(uint64_t module);
int simFunction(uint64_t module, char *name, uint64_t *function);
int simGlobal(uint64_t module, char *name, uint64_t *at, size_t *bytes);
uint64_t simRegister(void *image);
void simRegisterFunction(uint64_t module, uint64_t host, char *name);
void simRegisterVariable(uint64_t module, uint64_t host, char *name, size_t bytes, void **managed);
void simManaged(uint64_t module);
int simSymbol(uint64_t host, uint64_t *at, size_t *bytes);
char *simFunctionName(uint64_t function);
int simFunctionAttributes(uint64_t function, sim_attributes *a);
int simSetDynamic(uint64_t function, int bytes);
int simLaunch(char *call, sim_launch *l);
int simOccupancy(uint64_t function, int threads, size_t shared, int *blocks);
int simDeferred(void);
int simAttribute(int attribute, int *value);
char *simDeviceName(void);
void simMemInfo(size_t *free, size_t *total);
int simMalloc(char *call, size_t bytes, uint64_t *at);
int simMallocShared(char *call, size_t bytes, uint64_t *at);
int simFree(char *call, uint64_t at);
int simHostRegister(uint64_t host, size_t bytes);
int simHostUnregister(uint64_t host);
uint64_t simDevicePointer(uint64_t host);
int simRange(uint64_t at, uint64_t *base, size_t *bytes, int *shared);  // shared: 1 managed, 2 of the host
int simCopy(char *call, uint64_t dst, uint64_t src, size_t bytes, int kind);
int simSet(char *call, uint64_t at, uint32_t value, int size, size_t count);
int simTensorMap(void *map, int type, uint32_t rank, uint64_t base, uint64_t *dims, uint64_t *strides,
                 uint32_t *box, uint32_t *steps, int interleave, int swizzle, int nan);
int simUnsupported(char *call);
void simSay(char *text);

// C: threads, streams, events (host.c).
extern int sim_initialized;  // cuInit was called
void *sim_context(void);     // current to the thread, or NULL
void sim_context_set(void *context);
int sim_context_push(void *context);
int sim_context_pop(void **context);
extern char sim_primary_context;  // its address is the handle

int sim_stream_create(void **stream, unsigned flags, int priority);
int sim_stream_destroy(void *stream);
int sim_stream_get(void *stream, unsigned *flags, int *priority);  // INVALID_HANDLE, or what it is
int sim_event_create(void **event, unsigned flags);
int sim_event_destroy(void *event);
int sim_event_record(void *event);
int sim_event_wait(void *event);
int sim_event_elapsed(float *ms, void *start, void *end);
const char *sim_error_name(int code, int driver);  // NULL for a code that CUDA has not
const char *sim_error_text(int code);
#endif

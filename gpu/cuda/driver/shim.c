//go:build linux && (amd64 || arm64)

// The stand-in for libcuda. Every driver symbol (stubs.S) jumps through the table
// of the thread that calls it: NVIDIA's library, where there is one, or the
// simulated driver. So one binary starts anywhere, and both work side by side.
#include <dlfcn.h>
#include <pthread.h>
#include <stddef.h>
#include <stdlib.h>

#include "shim.h"

static int no_device(void) { return 100; }      // CUDA_ERROR_NO_DEVICE
static int not_supported(void) { return 801; }  // CUDA_ERROR_NOT_SUPPORTED

// The simulated driver's functions, exported by simulated.go as sim_NAME.
#define SIMULATED(name) extern int sim_##name();
#define NATIVE(name)
#include "symbols.h"
#undef SIMULATED
#undef NATIVE

// The tables have the order of symbols.h, as the jumps do.
static const char *const names[] = {
#define SIMULATED(name) #name,
#define NATIVE SIMULATED
#include "symbols.h"
#undef SIMULATED
#undef NATIVE
};

static void *native[] = {
#define SIMULATED(name) (void *)no_device,
#define NATIVE SIMULATED
#include "symbols.h"
#undef SIMULATED
#undef NATIVE
};

static void *simulated[] = {
#define SIMULATED(name) (void *)sim_##name,
#define NATIVE(name) (void *)not_supported,
#include "symbols.h"
};

// A thread starts with NVIDIA's library. The jumps find the pointer at a fixed
// distance from the thread's own, so it must be of the program itself.
__attribute__((visibility("hidden"), tls_model("initial-exec"))) __thread void **driver_table = native;

// The handle of the thread's simulated driver, which simulated.go gets back.
static __thread uintptr_t used;

static int (*native_init)(unsigned);

__attribute__((constructor)) static void load(void) {
    const char *path = getenv("STYLIZE_LIBCUDA");
    void *lib = dlopen(path ? path : "libcuda.so.1", RTLD_NOW | RTLD_GLOBAL);
    if (!lib) return;
    native_init = (int (*)(unsigned))dlsym(lib, "cuInit");
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        void *f = dlsym(lib, names[i]);
        if (f) native[i] = f;
    }
}

// driver_use leads this thread's calls to a simulated driver, or with 0 to
// NVIDIA's library.
void driver_use(uintptr_t handle) {
    used = handle;
    driver_table = handle ? simulated : native;
}

uintptr_t driver_used(void) { return used; }

int driver_loaded(void) { return native_init != NULL; }

static int init_result = 100;

static void init(void) {
    if (native_init) init_result = native_init(0);
}

int driver_init(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, init);
    return init_result;
}

// gorgonia.org/cu calls cuInit when its package is initialised, and ends the
// process when that fails. It always succeeds here; driver_init tells the truth.
int cuInit(unsigned flags) {
    (void)flags;
    driver_init();
    return 0;
}

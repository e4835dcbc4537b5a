//go:build linux && (amd64 || arm64)

// The stand-in for libcuda. Every driver symbol is a jump through a slot; a
// constructor fills the slots from NVIDIA's library where there is one. So one
// binary starts anywhere, and a slot can lead to the simulated driver instead.
#include <dlfcn.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "shim.h"

static int no_device(void) { return 100; }      // CUDA_ERROR_NO_DEVICE
static int not_supported(void) { return 801; }  // CUDA_ERROR_NOT_SUPPORTED

#if defined(__x86_64__)
#define JUMP(name) "jmp *slot_" #name "(%rip)\n"
#elif defined(__aarch64__)
#define JUMP(name) "adrp x16, slot_" #name "\nldr x16, [x16, :lo12:slot_" #name "]\nbr x16\n"
#endif

// One slot and one jump for each symbol.
#define SYMBOL(name)                       \
    void *slot_##name = (void *)no_device; \
    __asm__(".pushsection .text\n.globl " #name "\n.type " #name ", %function\n" #name ":\n" JUMP(name) ".popsection\n");
#define SIMULATED SYMBOL
#define NATIVE SYMBOL
#include "symbols.h"
#undef SIMULATED
#undef NATIVE

// The simulated driver's functions, exported by simulated.go as sim_NAME.
#define SIMULATED(name) extern int sim_##name();
#define NATIVE(name)
#include "symbols.h"
#undef SIMULATED
#undef NATIVE

static struct entry {
    const char *name;
    void **slot;
    void *native, *simulated;
} table[] = {
#define SIMULATED(name) {#name, &slot_##name, NULL, (void *)sim_##name},
#define NATIVE(name) {#name, &slot_##name, NULL, (void *)not_supported},
#include "symbols.h"
};

static int (*native_init)(unsigned);
static int init_result = 100, init_done;

__attribute__((constructor)) static void load(void) {
    const char *path = getenv("STYLIZE_LIBCUDA");
    void *lib = dlopen(path ? path : "libcuda.so.1", RTLD_NOW | RTLD_GLOBAL);
    if (!lib) return;
    native_init = (int (*)(unsigned))dlsym(lib, "cuInit");
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) table[i].native = dlsym(lib, table[i].name);
    driver_use(0);
}

// driver_use points every slot at NVIDIA's library (0) or the simulated driver (1).
void driver_use(int simulated) {
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        void *f = simulated ? table[i].simulated : table[i].native;
        *table[i].slot = f ? f : (void *)no_device;
    }
}

// gorgonia.org/cu calls cuInit when its package is initialised, and ends the
// process when that fails. It always succeeds here; driver_init tells the truth.
int cuInit(unsigned flags) {
    if (native_init && !init_done) {
        init_result = native_init(flags);
        init_done = 1;
    }
    return 0;
}

int driver_loaded(void) { return native_init != NULL; }

int driver_init(void) {
    cuInit(0);
    return init_result;
}

// Every symbol that NVIDIA's library exports and that its file here does not define: it
// says its name once and answers "not supported". All are weak, so what is defined wins.
#include "../sim.h"

#define STUB(name)                                               \
    __attribute__((weak, visibility("default"))) int name(void); \
    int name(void) { return simUnsupported(#name); }

// The forms for a thread's own default stream are the same here: they jump.
#if defined(__x86_64__)
#define JUMP "jmp "
#define PLT "@PLT"
#elif defined(__aarch64__)
#define JUMP "b "
#define PLT ""
#else
#error "only for x86-64 and arm64"
#endif
#define ALIAS(name, to)                                                                       \
    __asm__(".text\n.weak " #name "\n.type " #name ", %function\n" #name ":\n\t" JUMP #to PLT \
            "\n.size " #name ", . - " #name "\n");
#define RENAMED(name, to)

#include SYMBOLS

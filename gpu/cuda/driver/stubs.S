//go:build linux && (amd64 || arm64)

// Every driver symbol, as a jump through the calling thread's table (shim.c):
// one load of the thread's pointer, one of the entry. Only registers that a call
// may destroy on its way are used, so that arguments of any number and kind
// arrive untouched.

    .text
    .set offset, 0

    .macro stub name
    .globl \name
    .type \name, %function
    .p2align 4
\name:
    .cfi_startproc
#if defined(__x86_64__)
    movq driver_table@gottpoff(%rip), %r11
    movq %fs:(%r11), %r11
    jmp *offset(%r11)
#elif defined(__aarch64__)
    mrs x17, tpidr_el0
    adrp x16, :gottprel:driver_table
    ldr x16, [x16, :gottprel_lo12:driver_table]
    ldr x16, [x17, x16]
    ldr x16, [x16, offset]
    br x16
#endif
    .cfi_endproc
    .size \name, . - \name
    .set offset, offset + 8
    .endm

#define SIMULATED(name) stub name
#define NATIVE(name) stub name
#include "symbols.h"

    .section .note.GNU-stack, "", %progbits

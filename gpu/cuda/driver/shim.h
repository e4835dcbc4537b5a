#ifndef STYLIZE_DRIVER_SHIM_H
#define STYLIZE_DRIVER_SHIM_H

#include <stdint.h>

void driver_use(uintptr_t handle);
uintptr_t driver_used(void);
int driver_loaded(void);
int driver_init(void);

#endif

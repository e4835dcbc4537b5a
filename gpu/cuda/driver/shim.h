#ifndef STYLIZE_DRIVER_SHIM_H
#define STYLIZE_DRIVER_SHIM_H

void driver_use(int simulated);
int driver_loaded(void);
int driver_init(void);

#endif

// Words in a parameter list that the compiler passes over and tools/ptx reads, which writes args_gen.go.
#pragma once

#ifndef MAYBE_NULL
#define MAYBE_NULL   // a pointer that a launch may leave out
#endif

using flag = int;   // 0 or 1

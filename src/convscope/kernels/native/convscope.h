/* The whole C surface of the native kernels.
 *
 * The caller allocates everything and passes the number of threads. A function returns 0
 * or a negative CONVSCOPE_E_*; it never allocates, prints, throws or keeps state. Tensors
 * are contiguous in the order that is given with them. */
#ifndef CONVSCOPE_H
#define CONVSCOPE_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define CONVSCOPE_API __attribute__((visibility("default")))

/* Rises with every change of this file: a library and the Python beside it must agree. */
#define CONVSCOPE_SURFACE 1

#define CONVSCOPE_E_ARGUMENT (-1) /* a size or a choice that is not supported */
#define CONVSCOPE_E_SPACE (-2)    /* a buffer is smaller than was asked for */

CONVSCOPE_API int convscope_surface(void);

/* 1 where this machine runs the instruction set of that name ("avx2"), 0 where not. */
CONVSCOPE_API int convscope_runs(const char *instruction_set);

#ifdef __cplusplus
}
#endif
#endif

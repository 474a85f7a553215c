// What this library is, and what the machine that it was loaded on can run.
#include <string.h>

#include "convscope.h"

extern "C" int convscope_surface(void) {
  return CONVSCOPE_SURFACE;
}

extern "C" int convscope_runs(const char *instruction_set) {
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (!strcmp(instruction_set, "sse2")) return 1;
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  if (!strcmp(instruction_set, "avx2")) return avx2;
  if (!strcmp(instruction_set, "avx512"))
    return avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  return 0;
#elif defined(__aarch64__)
  return !strcmp(instruction_set, "neon");
#else
  return !strcmp(instruction_set, "generic");
#endif
}

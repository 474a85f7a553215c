// Vectors of the machine's width. One lane holds one image in the kernels that say so, and
// one of several neighboring numbers in the others.
#pragma once
#include <stdint.h>

namespace convscope {

#if defined(__AVX512F__)
constexpr int LANES = 16;
#elif defined(__AVX__)
constexpr int LANES = 8;
#else
constexpr int LANES = 4;
#endif

constexpr int IMAGES = 16;  // of one block, whatever the machine: LANES divides it

typedef float Lanes __attribute__((vector_size(4 * LANES)));
typedef int32_t Whole __attribute__((vector_size(4 * LANES)));
typedef uint8_t Bytes __attribute__((vector_size(LANES)));

// The same, anywhere in memory.
typedef float LooseLanes __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef int32_t LooseWhole __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef uint8_t LooseBytes __attribute__((vector_size(LANES), aligned(1), may_alias));

inline Lanes load(const float *from) { return *reinterpret_cast<const LooseLanes *>(from); }
inline void store(float *to, Lanes value) { *reinterpret_cast<LooseLanes *>(to) = value; }
inline Lanes all(float value) { return value - Lanes{}; }  // -0.0 stays -0.0
inline Whole all(int32_t value) { return value + Whole{}; }

inline Whole load_bytes(const uint8_t *from) {
  return __builtin_convertvector(Bytes(*reinterpret_cast<const LooseBytes *>(from)), Whole);
}
inline void store_bytes(uint8_t *to, Whole value) {
  *reinterpret_cast<LooseBytes *>(to) = __builtin_convertvector(value, Bytes);
}

inline Whole bits(Lanes value) { return (Whole)value; }
inline Lanes floats(Whole value) { return (Lanes)value; }

inline float sum(Lanes value) {
  float total = 0;
  for (int lane = 0; lane < LANES; ++lane) total += value[lane];
  return total;
}

}  // namespace convscope

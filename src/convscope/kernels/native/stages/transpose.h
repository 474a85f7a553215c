// Between one image after the other and sixteen images side by side.
#pragma once
#include <stddef.h>
#include <string.h>

#include <utility>

#include "stages/vector.h"

namespace convscope {

// Swaps the blocks of D x D that stand off the diagonal, in rows a and b that are D apart.
template <int D, size_t... J>
inline void swap_blocks(Lanes &a, Lanes &b, std::index_sequence<J...>) {
#if defined(__clang__) || __GNUC__ >= 12
  const Lanes low = __builtin_shufflevector(a, b, ((J & D) ? LANES + J - D : J)...);
  const Lanes high = __builtin_shufflevector(a, b, ((J & D) ? LANES + J : J + D)...);
#else
  const Lanes low = __builtin_shuffle(a, b, Whole{((J & D) ? int(LANES + J - D) : int(J))...});
  const Lanes high = __builtin_shuffle(a, b, Whole{((J & D) ? int(LANES + J) : int(J + D))...});
#endif
  a = low;
  b = high;
}

template <int D>
inline void swap_all(Lanes (&rows)[LANES]) {
  for (int i = 0; i < LANES; ++i)
    if (!(i & D)) swap_blocks<D>(rows[i], rows[i + D], std::make_index_sequence<LANES>());
  if constexpr (D > 1) swap_all<D / 2>(rows);
}

inline void transpose(Lanes (&rows)[LANES]) {
  swap_all<LANES / 2>(rows);
}

// to[n][q] = from[table[q] + n] for n < images. Rows of `to` are `step` apart.
inline void to_images(const float *from, const int32_t *table, int64_t count, float *to,
                      int64_t step, int images) {
  for (int first = 0; first < images; first += LANES)
    for (int64_t q = 0; q < count; q += LANES) {
      const int64_t width = count - q < LANES ? count - q : LANES;
      Lanes tile[LANES];
      for (int i = 0; i < LANES; ++i) tile[i] = load(from + table[i < width ? q + i : q] + first);
      transpose(tile);
      const int rows = images - first < LANES ? images - first : LANES;
      float *corner = to + first * step + q;
      if (width == LANES)
        for (int i = 0; i < rows; ++i) store(corner + i * step, tile[i]);
      else
        for (int i = 0; i < rows; ++i) memcpy(corner + i * step, &tile[i], size_t(width) * 4);
    }
}

// to[table[q] + n] = from[n][q] for n < images, and 0 for the lanes above.
inline void to_lanes(const float *from, int64_t step, int images, int64_t count, float *to,
                     const int32_t *table) {
  for (int first = 0; first < IMAGES; first += LANES)
    for (int64_t q = 0; q < count; q += LANES) {
      const int64_t width = count - q < LANES ? count - q : LANES;
      Lanes tile[LANES];
      for (int i = 0; i < LANES; ++i) {
        tile[i] = Lanes{};
        const float *row = from + (first + i) * step + q;
        if (first + i >= images) continue;
        if (width == LANES)
          tile[i] = load(row);
        else
          memcpy(&tile[i], row, size_t(width) * 4);
      }
      transpose(tile);
      for (int i = 0; i < width; ++i) store(to + table[q + i] + first, tile[i]);
    }
}

}  // namespace convscope

// Backward through max pooling: only winners have a gradient.
//
// For one row of windows and one output channel, the live winners of all 16 images are
// listed without branches: their gradient, and where the patch under them begins in the
// images [n][y][x][c]. A patch's rows are kernel_width * in_channels numbers in a row, so
// that a winner costs a few vector multiply-adds with the sums (or the weights) in
// registers. Neighbors in the list are of different images and do not wait for each other.
#pragma once
#include <string.h>

#include "stages/plan.h"

namespace convscope {

struct Winners {
  float *gradient;
  int32_t *patch;
  int64_t count;

  // Appends those with a gradient; the others are overwritten by the next.
  void append(Lanes g, Whole where) {
    const Whole live = g != 0.f;  // also where g is NaN
#if defined(__AVX512F__)
    const __mmask16 mask = _mm512_movepi32_mask(reinterpret_cast<__m512i>(live));
    store(gradient + count, Lanes(_mm512_maskz_compress_ps(mask, reinterpret_cast<__m512>(g))));
    *reinterpret_cast<LooseWhole *>(patch + count) =
        Whole(_mm512_maskz_compress_epi32(mask, reinterpret_cast<__m512i>(where)));
    count += __builtin_popcount(mask);
#else
    for (int lane = 0; lane < LANES; ++lane) {
      gradient[count] = g[lane];
      patch[count] = where[lane];
      count -= live[lane];
    }
#endif
  }
};

// Of one row of windows, the list of every output channel.
struct Lists {
  float *gradients;
  int32_t *patches;
  int64_t *counts;
  int64_t step;  // from channel to channel

  Winners of(int64_t o) const { return {gradients + o * step, patches + o * step, counts[o]}; }
};

// Lists row `row` of channel o, and adds its gradients to bias_sum, lane by lane. Returns
// how many there are.
inline int64_t list_winners(const Stage &stage, int64_t o, int64_t row, const uint8_t *winners,
                            const float *gradient, Winners list, float *bias_sum) {
  const convscope_stage &s = stage.given;
  const int32_t right = int32_t(s.stride_width * s.in_channels);
  const int32_t down = int32_t(s.stride_height * stage.padded_width * s.in_channels);
  Whole lanes;
  for (int lane = 0; lane < LANES; ++lane) lanes[lane] = lane * int32_t(stage.image);
  list.count = 0;
  for (int lane = 0; lane < IMAGES; lane += LANES) {
    Lanes total = load(bias_sum + lane);
    const Whole images = lanes + int32_t(lane * stage.image);
    for (int64_t column = 0; column < stage.out_width; ++column) {
      const int64_t place =
          ((o * stage.out_height + row) * stage.out_width + column) * IMAGES + lane;
      const Lanes g = load(gradient + place);
      const Whole code = load_bytes(winners + place);
      const int32_t corner = int32_t(row * s.pool_stride_height) * down +
                             int32_t(column * s.pool_stride_width) * right;
      total += g;
      list.append(g, images + corner + (code >> 4) * down + (code & 15) * right);
    }
    store(bias_sum + lane, total);
  }
  return list.count;
}

// sums[i][v] += sum over winners of gradient * images[patch + i * row_step + v], in vectors
// of type V: of half the width where a row is that short, since fewer cross a cache line.
template <int ROWS, int VECTORS, class V>
inline void add_to_weights(const Winners &list, const float *images, int64_t row_step, float *sums,
                           int64_t sum_step) {
  constexpr int WIDTH = sizeof(V) / 4, WAYS = ROWS * VECTORS <= 4 ? 2 : 1;
  const auto at = [](const float *from) {
    V value;
    memcpy(&value, from, sizeof value);
    return value;
  };
  V total[WAYS][ROWS][VECTORS] = {};  // two ways hide the latency of few sums
  const auto add = [&](int64_t n, V(&to)[ROWS][VECTORS]) {
    const float *patch = images + list.patch[n];
    const V g = list.gradient[n] - V{};
    for (int i = 0; i < ROWS; ++i)
      for (int v = 0; v < VECTORS; ++v) to[i][v] += g * at(patch + i * row_step + v * WIDTH);
  };
  int64_t n = 0;
  for (; n + WAYS <= list.count; n += WAYS)
    for (int way = 0; way < WAYS; ++way) add(n + way, total[way]);
  if (n < list.count) add(n, total[0]);
  for (int i = 0; i < ROWS; ++i)
    for (int v = 0; v < VECTORS; ++v) {
      float *to = sums + i * sum_step + v * WIDTH;
      V sum_of_ways = at(to) + total[0][i][v];
      if (WAYS > 1) sum_of_ways += total[WAYS - 1][i][v];
      memcpy(to, &sum_of_ways, sizeof sum_of_ways);
    }
}

// images[patch + i * row_step + v] += gradient * weights[i][v], winner by winner
template <int ROWS, int VECTORS>
inline void add_to_images(const Winners &list, float *images, int64_t row_step,
                          const float *weights, int64_t weight_step) {
  Lanes weight[ROWS][VECTORS];
  for (int i = 0; i < ROWS; ++i)
    for (int v = 0; v < VECTORS; ++v) weight[i][v] = load(weights + i * weight_step + v * LANES);
  for (int64_t n = 0; n < list.count; ++n) {
    float *patch = images + list.patch[n];
    const Lanes g = all(list.gradient[n]);
    for (int i = 0; i < ROWS; ++i)
      for (int v = 0; v < VECTORS; ++v) {
        float *to = patch + i * row_step + v * LANES;
        store(to, load(to) + g * weight[i][v]);
      }
  }
}

// Walks the list once for each part of the patch that fits into the registers.
template <class Walk>
inline void for_parts_of_patch(int64_t rows, int64_t vectors, const Walk &walk) {
  constexpr int64_t FITS = LANES == 16 ? 12 : 10;
  const int64_t wide = ceil_div(vectors, ceil_div(vectors, 4));
  for (int64_t v = 0; v < vectors; v += wide) {
    const int64_t width = least(wide, vectors - v);
    const int64_t high = most(1, least(FITS / width, 6));
    for (int64_t i = 0; i < rows; i += high) walk(i, least(high, rows - i), v, width);
  }
}

// Calls the function for ROWS x VECTORS that are known only now.
template <template <int, int> class Function, class... Arguments>
inline void with_sizes(int64_t rows, int64_t vectors, const Arguments &...arguments) {
  switch (rows * 8 + vectors) {
    // clang-format off
#define CONVSCOPE_CASE(R, V) \
  case R * 8 + V: return Function<R, V>::call(arguments...);
#define CONVSCOPE_CASES(V) \
  CONVSCOPE_CASE(1, V) CONVSCOPE_CASE(2, V) CONVSCOPE_CASE(3, V)
    CONVSCOPE_CASES(1) CONVSCOPE_CASE(4, 1) CONVSCOPE_CASE(5, 1) CONVSCOPE_CASE(6, 1)
    CONVSCOPE_CASES(2) CONVSCOPE_CASE(4, 2) CONVSCOPE_CASE(5, 2) CONVSCOPE_CASE(6, 2)
    CONVSCOPE_CASES(3) CONVSCOPE_CASE(4, 3)
    CONVSCOPE_CASES(4)
#undef CONVSCOPE_CASES
#undef CONVSCOPE_CASE
    default: return;
    // clang-format on
  }
}

template <int ROWS, int VECTORS>
struct ToWeights {
  static void call(const Winners &list, const float *images, int64_t row_step, float *sums,
                   int64_t sum_step) {
    add_to_weights<ROWS, VECTORS, Lanes>(list, images, row_step, sums, sum_step);
  }
};

template <int ROWS, int VECTORS>
struct ToShortWeights {
  static void call(const Winners &list, const float *images, int64_t row_step, float *sums,
                   int64_t sum_step) {
    if constexpr (VECTORS == 1)
      add_to_weights<ROWS, 1, HalfLanes>(list, images, row_step, sums, sum_step);
  }
};

template <int ROWS, int VECTORS>
struct ToImages {
  static void call(const Winners &list, float *images, int64_t row_step, const float *weights,
                   int64_t weight_step) {
    add_to_images<ROWS, VECTORS>(list, images, row_step, weights, weight_step);
  }
};

// The gradients of weight and bias (into sums), and of the input (into image_gradients,
// which start at zero; NULL: not wanted), for one block. `gradient` is that of the pooled
// map before its activation.
inline void backward_by_winners(const Stage &stage, const uint8_t *winners, const float *gradient,
                                const float *images, float *image_gradients, const float *turned,
                                float *weight_sum, float *bias_sum, const Lists &lists) {
  const convscope_stage &s = stage.given;
  const int64_t row_step = stage.padded_width * s.in_channels;
  const int64_t vectors = ceil_div(s.kernel_width * s.in_channels, LANES);
  const bool is_short = s.kernel_width * s.in_channels <= LANES / 2;
  const auto for_parts = [&](const auto &walk) {
    for (int64_t o = 0; o < s.out_channels; ++o)
      for_parts_of_patch(s.kernel_height, vectors,
                         [&](int64_t i, int64_t rows, int64_t v, int64_t width) {
                           walk(lists.of(o), o * stage.patch + i * stage.patch_row + v * LANES,
                                i * row_step + v * LANES, rows, width);
                         });
  };
  // A row of windows at a time: the input rows under it, and the sums, stay in the cache.
  for (int64_t row = 0; row < stage.out_height; ++row) {
    for (int64_t o = 0; o < s.out_channels; ++o)
      lists.counts[o] =
          list_winners(stage, o, row, winners, gradient, lists.of(o), bias_sum + o * IMAGES);
    for_parts([&](const Winners &list, int64_t part, int64_t under, int64_t rows, int64_t width) {
      if (is_short)
        with_sizes<ToShortWeights>(rows, width, list, images + under, row_step, weight_sum + part,
                                   stage.patch_row);
      else
        with_sizes<ToWeights>(rows, width, list, images + under, row_step, weight_sum + part,
                              stage.patch_row);
    });
    if (!image_gradients) continue;
    for_parts([&](const Winners &list, int64_t part, int64_t under, int64_t rows, int64_t width) {
      with_sizes<ToImages>(rows, width, list, image_gradients + under, row_step, turned + part,
                           stage.patch_row);
    });
  }
}

// Weights as they lie under a patch: turned[o][i][j][c], each row padded with zeros.
inline void turn_for_winners(const Stage &stage, const float *weight, float *turned) {
  const convscope_stage &s = stage.given;
  for (int64_t o = 0; o < s.out_channels; ++o)
    for (int64_t i = 0; i < s.kernel_height; ++i) {
      float *row = turned + o * stage.patch + i * stage.patch_row;
      const float *from = weight + o * stage.tap_count() + i * s.kernel_width;
      for (int64_t k = 0; k < stage.patch_row; ++k) {
        const int64_t c = k % s.in_channels, j = k / s.in_channels;
        row[k] = j < s.kernel_width ? from[c * s.kernel_height * s.kernel_width + j] : 0.f;
      }
    }
}

}  // namespace convscope

// The gradient of the input behind windows of 2x2, with few inputs: the winners of all
// channels in one window of one image meet in registers.
//
// Four windows' inputs overlap in a patch of (kernel_height + 1) rows. Adding winner by
// winner to memory (winners.h) reads and writes a kernel's size each time; here the patch
// is read and written once per window, and a winner costs multiply-adds alone. Its column
// is in the choice of the weights, of which there are two copies, its row in which of two
// lists it stands.
#pragma once
#include "stages/transpose.h"
#include "stages/winners.h"

namespace convscope {

// Whether a stage's windows and inputs are of that kind, and its patch fits.
inline bool meets_in_patches(const Stage &stage) {
  const convscope_stage &s = stage.given;
  const int64_t vectors = ceil_div((s.kernel_width + 1) * s.in_channels, LANES);
  return LANES == 16 && stage.max_pooled && s.pool_height == 2 && s.pool_width == 2 &&
         s.stride_height == 1 && s.stride_width == 1 && s.out_channels % LANES == 0 &&
         (s.kernel_height == 3 || s.kernel_height == 5) && vectors <= 4;
}

struct Patches {
  const Stage &stage;
  const float *gradients;  // [n][place][o]
  const float *codes;      // the same, the bits of whole numbers
  const float *turned;     // [column of the winner][o][i][vectors]
  float *to;               // [n][y][x][c]
  Winners lists[2];        // by the row of the winner

  // Lists the live winners of one window of one image.
  void list(const float *gradient, const float *code, int32_t weights) {
    const convscope_stage &s = stage.given;
    lists[0].count = lists[1].count = 0;
    Whole channel;
    for (int lane = 0; lane < LANES; ++lane) channel[lane] = lane * weights;
    for (int64_t o = 0; o < s.out_channels; o += LANES) {
      const Lanes g = load(gradient + o);
      const Whole at = bits(load(code + o));
      const Whole weight =
          channel + int32_t(o) * weights + (at & 15) * int32_t(s.out_channels * weights);
      const Whole below = (at >> 4) != 0;
      lists[0].append(below ? Lanes{} : g, weight);
      lists[1].append(below ? g : Lanes{}, weight);
    }
  }

  template <int ROWS, int VECTORS>
  void window(float *patch, int64_t row_step) const {
    Lanes sum[ROWS + 1][VECTORS];
    for (int i = 0; i <= ROWS; ++i)
      for (int v = 0; v < VECTORS; ++v) sum[i][v] = load(patch + i * row_step + v * LANES);
    for (int64_t n = 0; n < lists[0].count; ++n) {
      const float *weight = turned + lists[0].patch[n];
      const Lanes g = all(lists[0].gradient[n]);
      for (int i = 0; i < ROWS; ++i)
        for (int v = 0; v < VECTORS; ++v) sum[i][v] += g * load(weight + (i * VECTORS + v) * LANES);
    }
    for (int64_t n = 0; n < lists[1].count; ++n) {
      const float *weight = turned + lists[1].patch[n];
      const Lanes g = all(lists[1].gradient[n]);
      for (int i = 0; i < ROWS; ++i)
        for (int v = 0; v < VECTORS; ++v)
          sum[i + 1][v] += g * load(weight + (i * VECTORS + v) * LANES);
    }
    for (int i = 0; i <= ROWS; ++i)
      for (int v = 0; v < VECTORS; ++v) store(patch + i * row_step + v * LANES, sum[i][v]);
  }

  // Four images in turn: neighboring windows overlap, and a store takes a while.
  template <int ROWS, int VECTORS>
  void all_windows() {
    const convscope_stage &s = stage.given;
    const int64_t row_step = stage.padded_width * s.in_channels;
    for (int64_t first = 0; first < IMAGES; first += 4)
      for (int64_t place = 0; place < stage.out_area(); ++place) {
        const int64_t y = place / stage.out_width * s.pool_stride_height;
        const int64_t x = place % stage.out_width * s.pool_stride_width;
        for (int64_t n = first; n < first + 4; ++n) {
          const int64_t from = n * stage.out_size() + place * s.out_channels;
          list(gradients + from, codes + from, ROWS * VECTORS * LANES);
          window<ROWS, VECTORS>(to + n * stage.image + y * row_step + x * s.in_channels, row_step);
        }
      }
  }

  void run() {
    const convscope_stage &s = stage.given;
    switch (s.kernel_height * 8 + ceil_div((s.kernel_width + 1) * s.in_channels, LANES)) {
      case 25: return all_windows<3, 1>();
      case 26: return all_windows<3, 2>();
      case 27: return all_windows<3, 3>();
      case 28: return all_windows<3, 4>();
      case 41: return all_windows<5, 1>();
      case 42: return all_windows<5, 2>();
      case 43: return all_windows<5, 3>();
      case 44: return all_windows<5, 4>();
      default: return;
    }
  }
};

// turned[column][o][i][...]: the kernel's row i, moved right by `column` inputs.
inline void turn_for_patches(const Stage &stage, const float *weight, float *turned) {
  const convscope_stage &s = stage.given;
  const int64_t width = ceil_div((s.kernel_width + 1) * s.in_channels, LANES) * LANES;
  for (int64_t column = 0; column < 2; ++column)
    for (int64_t o = 0; o < s.out_channels; ++o)
      for (int64_t i = 0; i < s.kernel_height; ++i)
        for (int64_t k = 0; k < width; ++k) {
          const int64_t c = k % s.in_channels, j = k / s.in_channels - column;
          const bool inside = j >= 0 && j < s.kernel_width;
          *turned++ =
              inside ? weight[((o * s.in_channels + c) * s.kernel_height + i) * s.kernel_width + j]
                     : 0.f;
        }
}

// Like backward_by_winners, for the gradient of the input; `spare` holds 3 maps of the
// stage's output, 16 images each, and 4 lists of its channels.
inline void backward_by_patches(const Stage &stage, const int32_t *by_place, const uint8_t *winners,
                                const float *gradient, const float *turned, float *image_gradients,
                                float *spare) {
  const int64_t map = stage.out_size() * IMAGES;
  float *const codes = spare, *const code_images = spare + map;
  float *const gradient_images = spare + 2 * map;
  for (int64_t at = 0; at < map; at += LANES) store(codes + at, floats(load_bytes(winners + at)));
  to_images(codes, by_place, stage.out_size(), code_images, stage.out_size(), IMAGES);
  to_images(gradient, by_place, stage.out_size(), gradient_images, stage.out_size(), IMAGES);
  float *const lists = spare + 3 * map;
  const int64_t most_listed = stage.given.out_channels + LANES;
  const auto list = [&](int64_t n) {
    return Winners{lists + 2 * n * most_listed,
                   reinterpret_cast<int32_t *>(lists + (2 * n + 1) * most_listed), 0};
  };
  Patches{stage, gradient_images, code_images, turned, image_gradients, {list(0), list(1)}}.run();
}

}  // namespace convscope
